package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/evidence"
)

func (e *env) contractVerb() *cobra.Command {
	cmd := group("contract", "Record contracts from live traffic, and verify them on both sides")
	cmd.AddCommand(e.recordVerb(), e.contractVerifyVerb())
	return cmd
}

func (e *env) recordVerb() *cobra.Command {
	var out string
	var length time.Duration
	cmd := verb("record CAPABILITY", "Record live traffic and distil a contract from it",
		"record listens to the monolith's answers to a capability's routes. Secrets, mail addresses,\ncard numbers and the fields that redact: names are replaced before anything reaches the disk.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			if out == "" {
				out = args[0] + ".pact.json"
			}
			if _, err := os.Stat(out); err == nil {
				return &api.Error{Text: out + " exists already", Hint: "name another file with --out, or move that one away", Code: api.ExitNo}
			}
			client, _, err := e.client()
			if err != nil {
				return err
			}
			var r api.Recorded
			show := newMeter(e)
			err = client.Watch(cmd.Context(), "/v1/record", api.RecordRequest{Capability: args[0], For: length}, show.event, &r)
			show.end()
			if err != nil {
				return err
			}
			c, err := contract.Read(strings.NewReader(string(r.Contract)))
			if err != nil {
				return fmt.Errorf("the distilled contract: %w", err)
			}
			if err := c.Save(out); err != nil {
				return err
			}
			if e.json {
				e.print(map[string]any{"exchanges": r.Exchanges, "dropped": r.Dropped, "interactions": len(c.Interactions), "contract": out, "tape": r.Tape})
				return nil
			}
			fmt.Fprintf(e.out, "%s: %d interactions from %d exchanges (%d dropped)\nthe redacted tape is %s\n", out, len(c.Interactions), r.Exchanges, r.Dropped, r.Tape)
			return nil
		})
	cmd.Flags().StringVar(&out, "out", "", "the contract file to write; default CAPABILITY.pact.json")
	cmd.Flags().DurationVar(&length, "for", 10*time.Second, "how long to record")
	return cmd
}

// verifyFlags are the flags of contract verify.
type verifyFlags struct {
	contract, target string
	headers          []string
	unsafe, states   bool
	teardown         bool
	statesURL        []string
	strict           bool
	concurrency      int
	rates            []string
	seed             uint64
}

func (e *env) contractVerifyVerb() *cobra.Command {
	var f verifyFlags
	cmd := verb("verify CAPABILITY", "Check the contract on the monolith and on the service",
		`verify replays the contract against both sides and tells a service's bug from a
contract that is wrong or stale. The result is filed as evidence.

Without --unsafe only requests that read are sent. That is evidence enough for moving
reads; a cutover also asks that the others were exercised. Interactions that write belong on a pair of applications set up for
that, with databases of their own:

  strangler contract verify billing --unsafe --states \
      --target monolith=http://127.0.0.1:9900,service=http://127.0.0.1:9901`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error { return e.verifyContract(cmd.Context(), args[0], f) })
	cmd.Flags().StringVar(&f.contract, "contract", "", "the contract file; default the one in strangler.yaml")
	cmd.Flags().StringVar(&f.target, "target", "monolith,service", "the sides to ask, each NAME or NAME=URL")
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "a header for every request, \"Name: value\" or \"TARGET/Name: value\"; ${NAME} is taken from the environment")
	cmd.Flags().BoolVar(&f.unsafe, "unsafe", false, "send requests that write as well")
	cmd.Flags().BoolVar(&f.states, "states", false, "set up provider states by POST /_states")
	cmd.Flags().StringSliceVar(&f.statesURL, "states-url", nil, "where states are set up instead: a path, a URL, or TARGET=URL; implies --states")
	cmd.Flags().BoolVar(&f.teardown, "teardown", false, "undo provider states afterwards; implies --states")
	cmd.Flags().IntVar(&f.concurrency, "concurrency", 0, "interactions at a time, default 4; with --unsafe or --states always 1")
	cmd.Flags().StringSliceVar(&f.rates, "rate", nil, "requests a second at most, for each side or as TARGET=N")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "draw the generators' values as an earlier run did; default at random")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "compare the two sides without the contract's rules")
	return cmd
}

func (e *env) verifyContract(ctx context.Context, capability string, f verifyFlags) error {
	cfg, err := e.load()
	if err != nil {
		return err
	}
	p, ok := cfg.Capability(capability)
	if !ok {
		return &api.Error{Text: fmt.Sprintf("no capability is called %q", capability), Hint: "declared are: " + strings.Join(cfg.Names(), ", "), Code: api.ExitNo}
	}
	path := f.contract
	if path == "" {
		path = p.Contract
	}
	if path == "" {
		return &api.Error{Text: capability + " declares no contract", Hint: fmt.Sprintf("strangler contract record %s --out %s.pact.json, then set capabilities.%s.contract", capability, capability, capability), Code: api.ExitNotEnough}
	}
	c, err := contract.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		return &api.Error{Text: "the contract " + path + " does not exist", Hint: fmt.Sprintf("strangler contract record %s --out %s", capability, path), Code: api.ExitNotEnough}
	}
	if err != nil {
		return &api.Error{Text: err.Error(), Hint: "repair the file; nothing was sent", Code: api.ExitNo}
	}
	targets, err := f.complete(cfg, p)
	if err != nil {
		return err
	}
	report, err := verify.Run(ctx, verify.Options{Contract: c, Targets: targets, Unsafe: f.unsafe, States: f.states, Teardown: f.teardown,
		Strict: f.strict, Concurrency: f.concurrency, Seed: f.seed})
	if err != nil {
		return err
	}
	filed, err := e.fileContract(ctx, cfg, p, path, targets, report)
	if err != nil {
		return err
	}
	if e.json {
		e.print(struct {
			verify.Report
			Filed string `json:"filed"`
		}{report, filed})
	} else {
		if err := report.Text(e.out); err != nil {
			return err
		}
		fmt.Fprintln(e.out, filed)
	}
	if code := report.ExitCode(); code != 0 {
		if unauthorized(report) && !e.json {
			fmt.Fprintln(e.err, "hint: the sides ask for credentials: -H 'Authorization: Bearer ${TOKEN}'")
		}
		return codeError{code}
	}
	return nil
}

// unauthorized reports whether a side turned a request away for want of
// credentials.
func unauthorized(r verify.Report) bool {
	for _, i := range r.Interactions {
		for _, result := range i.Results {
			if i.Verdict != verify.Evidence && (result.Status == http.StatusUnauthorized || result.Status == http.StatusForbidden) {
				return true
			}
		}
	}
	return false
}

// fileContract files the result as evidence, if it is evidence: about the
// declared contract, with both sides asked.
func (e *env) fileContract(ctx context.Context, cfg *config.Config, p *config.Capability, path string, targets []verify.Target, r verify.Report) (string, error) {
	if p.Contract == "" || !sameFile(path, p.Contract) {
		return "not filed as evidence: this is not the contract that strangler.yaml declares", nil
	}
	if len(targets) != 2 {
		return "not filed as evidence: both sides have to be asked", nil
	}
	if r.Unreachable > 0 {
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
	for _, t := range targets {
		side, into := cfg.Monolith, &q.MonolithBuild
		if t.Name == "service" {
			side, into = p.Service, &q.ServiceBuild
		}
		if *into, err = buildAt(ctx, t.BaseURL, side.Build); err != nil {
			return "", err
		}
	}
	return "filed as evidence: " + q.Summary, e.file(ctx, q)
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
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
