package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/evidence"
)

func (e *env) contractVerb() *cobra.Command {
	cmd := group("contract", "Record contracts from live traffic, and verify them on both sides")
	cmd.AddCommand(e.recordVerb(), e.distillVerb(), e.contractVerifyVerb(), e.contractImportVerb(), e.contractExportVerb(), e.contractReportVerb(), e.contractDiffVerb())
	return cmd
}

// fileContract files the result as evidence, if it is evidence: about the
// declared contract, with both sides asked. That a run could not judge is filed
// as well, and takes nothing back; one that reached nobody has nothing to be
// bound to.
func (e *env) fileContract(ctx context.Context, cfg *config.Config, p *config.Capability, path string, targets []verify.Target, r verify.Report) (string, error) {
	if p.Contract == "" || !config.SameFile(path, p.Contract) {
		return "not filed as evidence: this is not the contract that strangler.yaml declares", nil
	}
	if len(targets) != 2 {
		return "not filed as evidence: both sides have to be asked", nil
	}
	if r.Unreachable > 0 && r.Verdict != verify.Fail {
		return "not filed as evidence: a side could not be reached", nil
	}
	digest, err := control.ContractDigest(path)
	if err != nil {
		return "", err
	}
	clean, err := cleaner(cfg)
	if err != nil {
		return "", err
	}
	details, err := evidence.ContractDetails(r, clean)
	if err != nil {
		return "", err
	}
	q := api.EvidenceRequest{
		Capability: p.Name, Kind: "contract", Verdict: r.Verdict, Contract: digest, Config: p.Digest(), By: who(),
		Summary: fmt.Sprintf("%d of %d interactions hold on both sides", r.Passed, len(r.Interactions)), Details: details,
	}
	said := "filed as evidence: "
	if r.Verdict == verify.Insufficient {
		q.Summary = r.Lacks()
		said = "filed as a run that could not judge, beside the evidence that counts: "
	}
	for _, t := range targets {
		side, into := cfg.Monolith, &q.MonolithBuild
		if t.Name == "service" {
			side, into = p.Service, &q.ServiceBuild
		}
		switch *into, err = buildAt(ctx, t.BaseURL, side.Build); {
		case err != nil && r.Unreachable > 0:
			return "not filed as evidence: a side could not be reached: " + err.Error(), nil
		case err != nil:
			return "", err
		}
	}
	return said + q.Summary, e.file(ctx, q)
}

// buildAt asks a target for its build identity.
func buildAt(ctx context.Context, base, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for the build: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("ask for the build: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", &api.Error{Text: fmt.Sprintf("%s answers %d, so the evidence could not be bound to a build", base+path, res.StatusCode), Hint: "set build: \"\" where a side has no such path", Code: api.ExitFailed}
	}
	return strings.TrimSpace(string(body)), nil
}

// file hands evidence to the running strangler, or writes it into the ledger
// where none is running.
func (e *env) file(ctx context.Context, q api.EvidenceRequest) error {
	client, _, err := e.client()
	if err == nil {
		err = client.Post(ctx, "/v1/evidence", q, nil)
	}
	if !errors.Is(err, api.ErrNotRunning) {
		return err
	}
	cfg, err := e.load()
	if err != nil {
		return err
	}
	l, err := ledger.Open(cfg.Resolve(cfg.State), time.Now)
	if err != nil {
		return err
	}
	_, err = l.AddEvidence(ctx, control.Evidence(q, time.Now()))
	return errors.Join(err, l.Close())
}
