package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/verify"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

// operation is one verb on a capability whose data moves.
type operation func(c *Control, ctx context.Context, p *config.Capability, q api.OperateRequest, out *lines) (any, error)

var operations = map[string]operation{
	"prepare":  (*Control).prepare,
	"copy":     (*Control).copy,
	"resume":   (*Control).resume,
	"observe":  (*Control).observe,
	"writers":  (*Control).writers,
	"verify":   (*Control).verify,
	"rehearse": (*Control).rehearse,
	"cancel":   (*Control).cancel,
	"complete": (*Control).complete,
	"cutover":  (*Control).cutover,
	"rollback": (*Control).rollback,
}

// postOperation runs a verb and answers with its events. The operation goes on
// when the client hangs up: nothing is left half done because of that.
func (c *Control) postOperation(x echo.Context) error {
	var q api.OperateRequest
	if err := x.Bind(&q); err != nil {
		return err
	}
	run, ok := operations[x.Param("verb")]
	if !ok {
		return echo.ErrNotFound
	}
	p, err := c.movable(x.Param("capability"))
	if err != nil {
		return err
	}
	return stream(x, func(ctx context.Context, out *lines) (any, error) {
		defer c.wake()
		return run(c, engine.WithActor(ctx, q.By), p, q, out)
	})
}

// wake has the gates asked again soon: something has changed.
func (c *Control) wake() {
	select {
	case c.nudge <- struct{}{}:
	default: // it has been said already
	}
}

func (c *Control) prepare(ctx context.Context, p *config.Capability, q api.OperateRequest, _ *lines) (any, error) {
	if q.DryRun {
		return c.engine.Preflight(ctx, p.Name)
	}
	if err := c.engine.Prepare(ctx, p.Name); err != nil {
		return nil, err
	}
	return c.dataStatus(ctx, p)
}

func (c *Control) dataStatus(ctx context.Context, p *config.Capability) (any, error) {
	return c.engine.Status(ctx, p.Name)
}

func (c *Control) copy(ctx context.Context, p *config.Capability, _ api.OperateRequest, out *lines) (any, error) {
	if err := c.engine.Copy(ctx, p.Name, out.progress()); err != nil {
		return nil, err
	}
	return c.dataStatus(ctx, p)
}

func (c *Control) resume(ctx context.Context, p *config.Capability, _ api.OperateRequest, out *lines) (any, error) {
	if err := c.engine.Resume(ctx, p.Name, out.progress()); err != nil {
		return nil, err
	}
	return c.dataStatus(ctx, p)
}

func (c *Control) observe(ctx context.Context, p *config.Capability, q api.OperateRequest, _ *lines) (any, error) {
	if err := c.engine.Observe(ctx, p.Name, !q.Stop); err != nil {
		return nil, err
	}
	return c.dataStatus(ctx, p)
}

func (c *Control) writers(ctx context.Context, p *config.Capability, _ api.OperateRequest, _ *lines) (any, error) {
	seen, err := c.engine.Writers(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	writers := map[change.Side][]api.Writer{}
	for side, all := range seen {
		writers[side] = []api.Writer{}
		for _, s := range all {
			writers[side] = append(writers[side], api.Writer{Sighting: s, Known: slices.Contains(p.Writers, s.Application)})
		}
	}
	return writers, nil
}

// progress passes a long operation's progress on.
func (l *lines) progress() engine.Watch {
	return func(p change.Progress) { l.send(api.Event{Progress: &p}) }
}

func (l *lines) steps() func(engine.StepTime) {
	return func(s engine.StepTime) { l.send(api.Event{Step: &api.StepTime{Name: s.Name, MS: s.MS}}) }
}

func (c *Control) verify(ctx context.Context, p *config.Capability, q api.OperateRequest, out *lines) (any, error) {
	report, err := c.engine.Verify(ctx, p.Name, engine.VerifyRequest{Repair: q.Repair, Anew: q.Anew, Listed: out.differences(q.All)}, out.progress())
	if err == nil && !report.Clean {
		err = &api.Error{
			Text: fmt.Sprintf("%s: %d rows compared, %d differences", p.Name, report.Rows, int64(len(report.Differences))+report.Dropped),
			Hint: "strangler data verify " + p.Name + " --repair makes the follower equal to the owner", Code: api.ExitNo,
		}
	}
	return report, err
}

// differences passes every difference on to a client that asked for all of them,
// and waits for it: a verification is for whoever asked.
func (l *lines) differences(all bool) func(verify.Difference) {
	if !all {
		return nil
	}
	return func(d verify.Difference) {
		if raw, err := json.Marshal(d); err == nil { // texts can always be written
			l.events <- api.Event{Difference: raw}
		}
	}
}

// strangers says who was seen writing on the side that a cutover will fence,
// without being named in the file, "" where nobody was or nobody looks.
func (c *Control) strangers(ctx context.Context, p *config.Capability, side change.Side) string {
	seen, err := c.engine.Writers(ctx, p.Name)
	switch {
	case errors.Is(err, change.ErrNotObserved) || len(p.Writers) == 0:
		return ""
	case err != nil:
		return fmt.Sprintf("who writes could not be read: %v", err)
	}
	return unnamed(seen[side], p)
}

// unnamed lists those who write and are not named, each once, five at most.
func unnamed(seen []change.Sighting, p *config.Capability) string {
	const most = 5
	var names []string
	for _, s := range seen {
		name := fmt.Sprintf("%q (role %s)", s.Application, s.Role)
		if !slices.Contains(p.Writers, s.Application) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Sprintf("a cutover refuses writers that writers: does not name: %s%s; strangler data writers %s lists them", strings.Join(names, ", "), more, p.Name)
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

// cancel brings the reads home first: the service's tables will be empty.
func (c *Control) cancel(ctx context.Context, p *config.Capability, _ api.OperateRequest, _ *lines) (any, error) {
	st, err := c.engine.Status(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	if st.Owner == change.Monolith && st.State != "planned" && st.State != "cancelled" {
		if err := c.published(ctx, p.Name, change.Monolith); err != nil {
			return nil, fmt.Errorf("bring the routes home before the data goes: %w", err)
		}
	}
	if err := c.engine.Cancel(ctx, p.Name); err != nil {
		return nil, err
	}
	return c.dataStatus(ctx, p)
}

func (c *Control) complete(ctx context.Context, p *config.Capability, q api.OperateRequest, _ *lines) (any, error) {
	owner, _ := c.proxy.Owner(p.Name)
	for _, r := range c.routes(p) {
		if r.Actual != route.Service.String() && q.Confirm == p.Name && owner == change.Service {
			return nil, &api.Error{
				Text: fmt.Sprintf("%s is still answered by the monolith, whose tables would be gone", r.ID),
				Hint: fmt.Sprintf("strangler own %s service", p.Name), Code: api.ExitNo,
			}
		}
	}
	if q.Confirm == p.Name {
		c.retire(p.Name, true) // before the tables go that the monolith would be asked for
	}
	if err := c.engine.Complete(ctx, p.Name, q.Confirm); err != nil {
		c.retire(p.Name, c.over(ctx, p))
		return nil, err
	}
	return c.dataStatus(ctx, p)
}

func (c *Control) cutover(ctx context.Context, p *config.Capability, q api.OperateRequest, out *lines) (any, error) {
	return c.switchTo(ctx, p, change.Service, q, out)
}

func (c *Control) rollback(ctx context.Context, p *config.Capability, q api.OperateRequest, out *lines) (any, error) {
	return c.switchTo(ctx, p, change.Monolith, q, out)
}

func (c *Control) switchTo(ctx context.Context, p *config.Capability, to change.Side, q api.OperateRequest, out *lines) (any, error) {
	result, err := c.Switch(ctx, p.Name, to, q.Why, out.steps())
	if err != nil && result.Kind == "" {
		return nil, err
	}
	return result, err
}
