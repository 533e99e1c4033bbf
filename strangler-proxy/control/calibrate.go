package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/noise"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

// calibrationKind marks ledger entries that say how a monolith differs from
// itself.
const calibrationKind = "shadow-calibration"

// calibrated is what was learned, as the ledger holds it.
type calibrated struct {
	noise.Noise
	At     time.Time     `json:"at"`
	By     string        `json:"by"`
	Build  string        `json:"build"` // of the monolith
	AtOnce int64         `json:"at_once"`
	Lagged int64         `json:"lagged"`
	Lag    time.Duration `json:"lag"` // in nanoseconds
}

const (
	maxCalibration = time.Hour
	leastPairs     = 20 // of each sort, below which nothing is learned
)

// Calibrate asks the monolith the same twice for a while and learns how it
// differs from itself. What was learned holds for that build of the monolith.
func (c *Control) Calibrate(ctx context.Context, name string, q api.CalibrateRequest, tell func(string)) (api.Calibration, error) {
	cfg := c.config()
	p, ok := cfg.Capability(name)
	if !ok {
		return api.Calibration{}, api.NoCapability(name, cfg.Names())
	}
	if q.For <= 0 || q.For > maxCalibration {
		return api.Calibration{}, &api.Error{Text: fmt.Sprintf("%s is not a time to calibrate for: accepted are 1s to %s", q.For, maxCalibration), Code: api.ExitNo}
	}
	before, err := c.buildOf(ctx, p, change.Monolith)
	if err != nil {
		return api.Calibration{}, err
	}
	found, err := c.askTwice(ctx, name, q.For, tell)
	if err != nil {
		return api.Calibration{}, err
	}
	after, err := c.buildOf(ctx, p, change.Monolith)
	switch {
	case err != nil:
		return api.Calibration{}, err
	case before != after:
		return api.Calibration{}, &api.Error{Text: "the monolith's build changed meanwhile, so that nothing was learned", Hint: "strangler shadow calibrate " + name, Code: api.ExitNotEnough}
	case found.AtOnce < leastPairs || found.Lagged < leastPairs:
		return api.Calibration{}, &api.Error{
			Text: fmt.Sprintf("only %d reads of %s were asked again while calibrating, and %d are the least to learn from", min(found.AtOnce, found.Lagged), name, leastPairs),
			Hint: "calibrate for longer, or while clients are active: --for 5m", Code: api.ExitNotEnough,
		}
	}
	k := calibrated{Noise: found.Noise, At: time.Now(), By: q.By, Build: after, AtOnce: found.AtOnce, Lagged: found.Lagged, Lag: found.Lag}
	if err := c.fileCalibration(ctx, p, k); err != nil {
		return api.Calibration{}, err
	}
	return k.document(""), nil
}

// askTwice runs a calibration for a time.
func (c *Control) askTwice(ctx context.Context, name string, d time.Duration, tell func(string)) (shadow.Calibration, error) {
	bounded, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	found, err := c.shadow.Calibrate(bounded, name, func(atOnce, lagged int64) {
		tell(fmt.Sprintf("%d pairs at once, %d with a lag", atOnce, lagged))
	})
	if errors.Is(err, shadow.ErrCalibrating) {
		return found, &api.Error{Text: err.Error(), Hint: "wait for that calibration to end", Code: api.ExitNo}
	}
	return found, err
}

// fileCalibration writes what was learned into the ledger and brings it into
// force.
func (c *Control) fileCalibration(ctx context.Context, p *config.Capability, k calibrated) error {
	rules, err := k.Rules()
	if err != nil {
		return err
	}
	detail, err := json.Marshal(k)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("the monolith differs from itself in %d places, and in %d that no matcher covers", len(k.Places), len(k.Unexplained))
	if _, err := c.ledger.Append(ctx, ledger.Entry{At: k.At, Capability: p.Name, Kind: calibrationKind, Actor: k.By, Text: text, Detail: detail}); err != nil {
		return err
	}
	c.mu.Lock()
	c.calibrations[p.Name] = k
	c.excusing[p.Name] = &k.Build
	c.mu.Unlock()
	c.shadow.Excuse(p.Name, rules.For, k.covers)
	c.wake()
	return nil
}

// covers reports whether a difference that was found earlier lies in a place of
// which a matcher was learned. One of a type or of something missing does not:
// the matcher would not excuse it.
func (k calibrated) covers(routeID, fingerprint string) bool {
	kind, path, _ := strings.Cut(fingerprint, " ")
	if kind == "type" || kind == "missing" || kind == "extra" {
		return false
	}
	for _, p := range k.Places {
		if p.Route == routeID && p.Path == path {
			return true
		}
	}
	return false
}

// rememberCalibrations reads what was learned last of each capability. It is in
// force once the monolith has said that it is that build.
func (c *Control) rememberCalibrations(ctx context.Context) error {
	entries, err := c.ledger.Entries(ctx, ledger.Filter{Kind: calibrationKind})
	if err != nil {
		return err
	}
	for _, e := range entries {
		var k calibrated
		if err := json.Unmarshal(e.Detail, &k); err != nil {
			return fmt.Errorf("read ledger entry %d: %w", e.Seq, err)
		}
		c.calibrations[e.Capability] = k
	}
	return nil
}

// excuse brings what was learned of a capability into force for the build that
// the monolith says it is, or out of force for another.
func (c *Control) excuse(capability, build string) {
	c.mu.Lock()
	k, known := c.calibrations[capability]
	before := c.excusing[capability]
	c.excusing[capability] = &build
	c.mu.Unlock()
	if !known || before != nil && *before == build {
		return
	}
	rules, err := k.Rules()
	if err != nil {
		c.o.Log.Error("what was learned of the monolith cannot be used", "capability", capability, "error", err)
		return
	}
	if k.Build != build {
		c.shadow.Excuse(capability, nil, nil)
		c.o.Log.Warn("the monolith is another build than the one that was calibrated; its answers are held to equality", "capability", capability, "hint", "strangler shadow calibrate "+capability)
		return
	}
	c.shadow.Excuse(capability, rules.For, k.covers)
}

// calibration returns how the monolith of a capability was found to differ from
// itself; nil where nobody has looked.
func (c *Control) calibration(ctx context.Context, p *config.Capability) *api.Calibration {
	c.mu.Lock()
	k, known := c.calibrations[p.Name]
	c.mu.Unlock()
	if !known {
		return nil
	}
	void := ""
	if build, err := c.buildOf(ctx, p, change.Monolith); err == nil && build != k.Build {
		void = "the monolith is another build now; run: strangler shadow calibrate " + p.Name
	}
	out := k.document(void)
	return &out
}

func (k calibrated) document(void string) api.Calibration {
	out := api.Calibration{At: k.At, By: k.By, Build: k.Build, Void: void, Pairs: k.AtOnce, Lagged: k.Lagged, Lag: k.Lag, Learned: []api.Learned{}, Unexplained: k.Unexplained}
	for _, p := range k.Places {
		out.Learned = append(out.Learned, api.Learned{Route: p.Route, Status: p.Status, Path: p.Path, Matcher: describe(p.Matcher), Flips: p.Flips, Samples: p.Samples})
	}
	return out
}

// describe is a matcher as a contract has it, without its braces.
func describe(m match.Matcher) string {
	raw, err := json.Marshal(m)
	if err != nil {
		return string(m.Kind)
	}
	return strings.Trim(string(raw), "{}")
}

func (c *Control) postCalibrate(x echo.Context) error {
	var q api.CalibrateRequest
	if err := decode(x, &q); err != nil {
		return err
	}
	name := x.Param("capability")
	return stream(x, func(ctx context.Context, out *lines) (any, error) {
		return c.Calibrate(ctx, name, q, func(text string) { out.send(api.Event{Text: text}) })
	})
}
