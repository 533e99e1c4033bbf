package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

// cutoverGates are what a write cutover needs.
var cutoverGates = []string{"health", "contract", "data", "verify", "rehearsal"}

// gatesOf lists what a route needs to have its owner.
func gatesOf(r route.Route, data bool) []string {
	gates := map[route.Stage][]string{
		route.Shadow:  {"health"},
		route.Canary:  {"health", "contract"},
		route.Service: {"health", "contract"},
	}[r.Owner.Stage]
	if data && r.Owner.Stage >= route.Canary {
		gates = append(gates, "data")
	}
	if r.Owner.Stage == route.Service && !r.Writes {
		gates = append(gates, "shadow")
	}
	return gates
}

// findings asks gates. routeID names the route for gates that are per route. Where
// writes are to move, what an isolated store ends otherwise is told as well.
func (c *Control) findings(ctx context.Context, p *config.Capability, routeID string, gates []string) []api.Finding {
	var all []api.Finding
	for _, gate := range gates {
		f := c.finding(ctx, p, routeID, gate)
		if gate == "shadow" {
			f.Route = routeID
		}
		all = append(all, orWaived(p, f))
	}
	if slices.Contains(gates, "contract") && c.writes(routeID) { // which has first forgotten what was about another build
		all = append(all, c.isolatedFindings(p, routeID)...)
	}
	return all
}

// orWaived is a finding, or the waiver of its gate where that is closed.
func orWaived(p *config.Capability, f api.Finding) api.Finding {
	if !f.Open() {
		if w, ok := p.Waiver(f.Gate, time.Now()); ok {
			return waived(f, f.Gate, w)
		}
	}
	return f
}

// waived is a closed gate, or the part of it that was closed, opened by a waiver.
func waived(f api.Finding, what string, w config.Waiver) api.Finding {
	return api.Finding{Gate: f.Gate, Route: f.Route, Verdict: api.Waived, Text: fmt.Sprintf("%s waived by %s until %s: %s (it was: %s)", what, w.By, w.Until.Add(-time.Nanosecond).Format(time.DateOnly), w.Reason, f.Text)}
}

func (c *Control) finding(ctx context.Context, p *config.Capability, routeID, gate string) api.Finding {
	switch gate {
	case "health":
		return c.healthGate(ctx, p)
	case "contract":
		return c.contractGate(ctx, p, routeID)
	case "data":
		return c.dataGate(ctx, p)
	case "verify":
		return c.verifyGate(ctx, p)
	case "rehearsal":
		return c.rehearsalGate(ctx, p)
	case "shadow":
		return c.shadowGate(ctx, p, routeID)
	}
	panic("unknown gate " + gate)
}

func (c *Control) healthGate(ctx context.Context, p *config.Capability) api.Finding {
	f := api.Finding{Gate: "health", Verdict: api.Pass, Text: "the service answers"}
	if err := c.health(ctx, p); err != nil {
		f.Verdict, f.Text, f.Command = api.Fail, err.Error(), "start the service at "+p.Service.URL
	}
	return f
}

// writes reports whether a gate is asked for writes: for a cutover, which has no
// route, or for a write route.
func (c *Control) writes(routeID string) bool {
	r, ok := c.config().Route(routeID)
	return !ok || r.Writes
}

// filed finds the latest evidence of a gate's kind and says what it is worth
// for what there is now.
func (c *Control) filed(ctx context.Context, p *config.Capability, f api.Finding, now ledger.Subject) (api.Finding, ledger.Evidence) {
	all, err := c.ledger.Evidence(ctx, p.Name, f.Gate)
	if err != nil {
		f.Text = err.Error()
		return f, ledger.Evidence{}
	}
	at := slices.IndexFunc(all, func(e ledger.Evidence) bool { return e.Subject.Route == now.Route })
	if at < 0 {
		f.Text = "no " + f.Gate + " evidence is on file"
		return f, ledger.Evidence{}
	}
	return c.worth(f, all[at], now), all[at]
}

// worth says what evidence is worth for what there is now.
func (c *Control) worth(f api.Finding, e ledger.Evidence, now ledger.Subject) api.Finding {
	changed := e.Subject.Changed(now)
	tooOld := c.tooOld(e.At)
	switch {
	case changed != "":
		f.Text = fmt.Sprintf("the %s evidence of %s is void: %s changed since", f.Gate, e.At.Local().Format(time.DateTime), changed)
	case tooOld != "":
		f.Text = "the " + f.Gate + " evidence is " + tooOld
	case e.Verdict == "pass":
		f.Verdict, f.Text, f.Command = api.Pass, e.Summary, ""
	case e.Verdict == "fail":
		f.Verdict, f.Text = api.Fail, e.Summary
	default:
		f.Text = e.Summary
	}
	return f
}

// skew is how far in the future evidence may be dated: two machines' clocks
// differ.
const skew = time.Minute

// tooOld says why something of that moment does not count any more, "" where it
// does. What is dated in the future was filed while the clock was wrong, and
// would count for longer than it should.
func (c *Control) tooOld(at time.Time) string {
	age, limit := time.Since(at), c.config().Evidence.MaxAge
	switch {
	case age > limit:
		return fmt.Sprintf("%s old; %s is the limit", age.Round(time.Minute), limit)
	case age < -skew:
		return fmt.Sprintf("dated %s in the future: a clock was set back", (-age).Round(time.Minute))
	}
	return ""
}

func (c *Control) dataGate(ctx context.Context, p *config.Capability) api.Finding {
	f := api.Finding{Gate: "data", Verdict: api.Pass, Text: "no data moves"}
	if p.Data == nil {
		return f
	}
	st, err := c.moveOf(ctx, p)
	switch {
	case errors.Is(err, errUnserved):
		f.Verdict, f.Text, f.Command = api.Missing, err.Error(), "strangler serve"
	case err != nil:
		f.Verdict, f.Text = api.Missing, err.Error()
	case st.State == "complete":
		f.Text = "the move is complete"
	case !st.Rest():
		f.Verdict, f.Text, f.Command = api.Missing, "the data is "+st.State+", not ready", nextDataCommand(p.Name, st.State)
	case !st.Live():
		f.Verdict, f.Text, f.Command = api.Fail, "a stream is down: "+firstOf(st.Forward.Problem, st.Reverse.Problem, "it has just started"), "strangler status "+p.Name
	default:
		f.Text = "the data is " + st.State + ", both streams are live"
	}
	return f
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// nextDataCommand names the command that brings a move on.
func nextDataCommand(name, state string) string {
	verb := map[string]string{
		"planned": "prepare", "cancelled": "prepare", "preparing": "prepare", "prepared": "copy", "copying": "copy", "catching-up": "verify", "paused": "resume",
	}[state]
	if verb == "" {
		return "strangler data status " + name
	}
	return "strangler data " + verb + " " + name
}

func (c *Control) verifyGate(ctx context.Context, p *config.Capability) api.Finding {
	f := api.Finding{Gate: "verify", Verdict: api.Missing, Command: "strangler data verify " + p.Name}
	st, err := c.moveOf(ctx, p)
	switch {
	case errors.Is(err, errUnserved):
		f.Text, f.Command = err.Error(), "strangler serve"
	case err != nil:
		f.Text = err.Error()
	case !st.Rest() || st.Verified.IsZero():
		f.Text = "the two sides have not been proven equal"
		if cmd := nextDataCommand(p.Name, st.State); cmd != "" && !st.Rest() {
			f.Command = cmd
		}
	case c.tooOld(st.Verified) != "":
		f.Text = "the last clean verification is " + c.tooOld(st.Verified)
	default:
		f.Verdict, f.Command = api.Pass, ""
		f.Text = "both sides were equal at " + st.Verified.Local().Format(time.TimeOnly)
	}
	return f
}

func (c *Control) rehearsalGate(ctx context.Context, p *config.Capability) api.Finding {
	f := api.Finding{Gate: "rehearsal", Verdict: api.Missing, Command: "strangler data rehearse " + p.Name}
	now, err := c.subject(ctx, p)
	if err != nil {
		return untold(f, err)
	}
	f, e := c.filed(ctx, p, f, now)
	return comparedRows(p, f, e)
}

// fileRehearsal files how a rehearsal went.
func (c *Control) fileRehearsal(ctx context.Context, p *config.Capability, to change.Side, verdict, summary string, detail any) error {
	now, err := c.subject(ctx, p)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	kind := "rehearsal"
	if to == change.Monolith {
		kind = "rollback-rehearsal" // which says nothing about the way to the service
	}
	_, err = c.ledger.AddEvidence(ctx, ledger.Evidence{
		Capability: p.Name, Kind: kind, Verdict: verdict, Summary: summary, Details: raw, Subject: now, By: "engine", At: time.Now(),
	})
	return err
}

// closedGates returns the findings that do not let one pass.
func closedGates(all []api.Finding) []api.Finding {
	var closed []api.Finding
	for _, f := range all {
		if !f.Open() {
			closed = append(closed, f)
		}
	}
	return closed
}

// refusal is closed gates in one line.
func refusal(closed []api.Finding) string {
	parts := make([]string, len(closed))
	for i, f := range closed {
		parts[i] = f.Gate + ": " + f.Text
		if f.Command != "" {
			parts[i] += " (run: " + f.Command + ")"
		}
	}
	return strings.Join(parts, "; ")
}

// closedError refuses a step: no where something is known to be wrong, not
// enough evidence where nobody has looked.
func closedError(what string, closed []api.Finding) error {
	e := &api.Error{Text: what + " is refused", Code: api.ExitNotEnough}
	var hints []string
	for _, f := range closed {
		e.Text += "\n  " + f.Gate + ": " + f.Text
		if f.Verdict == api.Fail {
			e.Code = api.ExitNo
		}
		if f.Command != "" && !slices.Contains(hints, f.Command) {
			hints = append(hints, f.Command)
		}
	}
	e.Hint = strings.Join(hints, "\nhint: ")
	return e
}

// buildOf returns the side's build identity, "" where it declares none.
func (c *Control) buildOf(ctx context.Context, p *config.Capability, side change.Side) (string, error) {
	monolith, service := c.sides(p.Name)
	backend := monolith
	if side == change.Service {
		backend = service
	}
	declared := sideConfig(c.config(), p, side)
	path := declared.Build
	if backend == nil {
		return "", fmt.Errorf("the %s of %s is not known to the proxy yet", side, p.Name)
	}
	if path == "" {
		return "", nil
	}
	build, err := c.probes.ask(ctx, "build "+path+" "+declared.Key(), func(ctx context.Context) (string, error) {
		body, err := backend.Get(ctx, path)
		return strings.TrimSpace(string(body)), err
	})
	if err != nil {
		return "", &api.Error{
			Text: fmt.Sprintf("the build of %s cannot be told: %v", backend.Name, err),
			Hint: "start it, or set build: \"\" for it in the config if it has no such path", Code: api.ExitNotEnough,
		}
	}
	return build, nil
}

// untold is a finding of which nobody can tell what it would be about, with what
// settles that where it is known.
func untold(f api.Finding, err error) api.Finding {
	f.Text = err.Error()
	var told *api.Error
	if errors.As(err, &told) && told.Hint != "" {
		f.Command = told.Hint
	}
	return f
}

// health asks whether a capability's service is well.
func (c *Control) health(ctx context.Context, p *config.Capability) error {
	_, service := c.sides(p.Name)
	if service == nil {
		return fmt.Errorf("%s is not known to the proxy yet", p.Service.URL)
	}
	_, err := c.probes.ask(ctx, "health "+p.Service.Health+" "+p.Service.Key(), func(ctx context.Context) (string, error) {
		return "", service.Check(ctx, p.Service.Health)
	})
	return err
}

// subject is what evidence about a capability is bound to now, the contract
// aside, which only its own evidence is about.
func (c *Control) subject(ctx context.Context, p *config.Capability) (ledger.Subject, error) {
	s := ledger.Subject{Config: p.Digest()}
	var err error
	if s.MonolithBuild, err = c.buildOf(ctx, p, change.Monolith); err != nil {
		return s, err
	}
	if s.ServiceBuild, err = c.buildOf(ctx, p, change.Service); err != nil {
		return s, err
	}
	c.bindShadow(p.Name, s)
	return s, nil
}
