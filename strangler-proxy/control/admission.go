package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// errUnserved is the state of every move while no strangler serves.
var errUnserved = errors.New("no strangler is serving, so nothing is followed")

// CanCutOver asks the gates whether a route, or a capability's writes and data,
// may belong to the service now. It changes nothing.
func (c *Control) CanCutOver(ctx context.Context, what string) (api.Admission, error) {
	cfg := c.config()
	c.probes.forget() // what was true a moment ago is not enough here
	if p, ok := cfg.Capability(what); ok {
		return c.admission(ctx, p, ""), nil
	}
	r, ok := cfg.Route(what)
	if !ok {
		return api.Admission{}, &api.Error{
			Text: fmt.Sprintf("%q is neither a declared route nor a capability", what),
			Hint: "strangler routes lists the routes; capabilities are: " + strings.Join(cfg.Names(), ", "), Code: api.ExitNo,
		}
	}
	p, _ := cfg.Capability(r.Capability)
	return c.admission(ctx, p, r.ID), nil
}

// admission asks the gates of a route, or without one those of the whole
// capability.
func (c *Control) admission(ctx context.Context, p *config.Capability, routeID string) api.Admission {
	a := api.Admission{Capability: p.Name, Route: routeID, Owner: c.ownerOf(p, routeID)}
	r, known := c.config().Route(routeID)
	switch {
	case p.Data != nil && (!known || r.Writes):
		a.Findings = c.findings(ctx, p, "", cutoverGates)
	case known:
		r.Owner = ownerWord(change.Service)
		a.Findings = c.findings(ctx, p, r.ID, gatesOf(r, p.Data != nil))
	default:
		a.Findings = c.everyRoute(ctx, p)
	}
	a.Answer = answer(a.Findings)
	return a
}

// everyRoute asks the gates of all routes of a capability whose data does not
// move: such a capability is cut over by its words. What is said of the whole
// capability is said once.
func (c *Control) everyRoute(ctx context.Context, p *config.Capability) []api.Finding {
	var all []api.Finding
	seen := map[api.Finding]bool{}
	for _, r := range p.Routes {
		r.Owner = ownerWord(change.Service)
		for _, f := range c.findings(ctx, p, r.ID, gatesOf(r, false)) {
			if !seen[f] {
				seen[f] = true
				all = append(all, f)
			}
		}
	}
	return all
}

// ownerOf names who owns a route, or a capability's writes, now.
func (c *Control) ownerOf(p *config.Capability, routeID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	owner := ""
	for _, r := range p.Routes {
		if r.ID == routeID || routeID == "" && (r.Writes || owner == "") {
			owner = c.actual[r.ID].String()
		}
	}
	return owner
}

// answer is no where something is known to be wrong, and not enough where
// nobody has looked.
func answer(found []api.Finding) string {
	said := api.AnswerYes
	for _, f := range found {
		switch {
		case f.Open():
		case f.Verdict == api.Fail:
			return api.AnswerNo
		default:
			said = api.AnswerNotEnough
		}
	}
	return said
}

// Consult answers as [Control.CanCutOver] does where no strangler serves: from
// the file, what the state's folder has on record, and the backends themselves.
// Of moves it can only say that nothing is followed meanwhile.
func Consult(ctx context.Context, path, what string) (api.Admission, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return api.Admission{}, err
	}
	led, err := ledger.OpenReadOnly(cfg.Resolve(cfg.State))
	if errors.Is(err, fs.ErrNotExist) {
		return api.Admission{}, &api.Error{Text: "nothing has been served from the state in " + cfg.State + " yet, so there is no evidence", Hint: "strangler serve -c " + path, Code: api.ExitNotEnough}
	}
	if err != nil {
		return api.Admission{}, err
	}
	defer led.Close()
	c := newControl(Options{Config: path, Log: slog.New(slog.DiscardHandler)}, led)
	c.cfg = cfg
	c.shadow = c.newShadow(cfg, true)
	defer c.shadow.Close()
	if err := c.rememberAll(ctx, cfg); err != nil {
		return api.Admission{}, err
	}
	if err := c.connect(cfg); err != nil {
		return api.Admission{}, err
	}
	c.enforce(cfg)
	defer func() {
		for _, b := range c.backends {
			b.Close()
		}
	}()
	return c.CanCutOver(ctx, what)
}

// moveOf returns where a capability's move stands.
func (c *Control) moveOf(ctx context.Context, p *config.Capability) (engine.Status, error) {
	if c.engine == nil {
		return engine.Status{}, errUnserved
	}
	return c.engine.Status(ctx, p.Name)
}

// AdmissionKind marks the ledger's entries about what admitted a cutover.
const AdmissionKind = "admitted"

// noteAdmission journals what every gate of a cutover said, on what, right
// before the engine is told to switch, and keeps a copy of the contract: files
// change, and an audit asks what there was.
func (c *Control) noteAdmission(ctx context.Context, p *config.Capability, found []api.Finding) error {
	a := api.Admitted{Admission: api.Admission{
		Capability: p.Name, Answer: answer(found), Owner: c.ownerOf(p, ""), Findings: found,
	}, Shadow: c.shadows(p.Name)}
	subject, err := c.subject(ctx, p)
	if err == nil && p.Contract != "" {
		subject.Contract, err = c.keepContract(p.Contract)
	}
	if err != nil {
		// A waived gate may be why something cannot be told; the rest is kept.
		a.Problem = err.Error()
	}
	a.Contract, a.Config = subject.Contract, subject.Config
	a.MonolithBuild, a.ServiceBuild = subject.MonolithBuild, subject.ServiceBuild
	detail, err := json.Marshal(a)
	if err != nil {
		return err
	}
	gates := make([]string, len(found))
	for i, f := range found {
		gates[i] = f.Gate + " " + string(f.Verdict)
	}
	_, err = c.ledger.Append(ctx, ledger.Entry{
		At: time.Now(), Capability: p.Name, Kind: AdmissionKind, Actor: firstOf(engine.Actor(ctx), "control"), Text: "cutover admitted: " + strings.Join(gates, ", "), Detail: detail,
	})
	return err
}

// keepContract copies a contract into the state's folder under its digest.
func (c *Control) keepContract(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("keep the contract: %w", err)
	}
	digest := digestOf(raw)
	kept := KeptContract(c.config(), digest)
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return digest, fmt.Errorf("keep the contract: %w", err)
	}
	if err := os.WriteFile(kept, raw, 0o600); err != nil {
		return digest, fmt.Errorf("keep the contract: %w", err)
	}
	return digest, nil
}

// KeptContract is where the contract of a digest is kept once a cutover was
// admitted by it.
func KeptContract(cfg *config.Config, digest string) string {
	return filepath.Join(cfg.Resolve(cfg.State), "contracts", digest+".pact.json")
}
