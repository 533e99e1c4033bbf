package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"stranglerfig/contract-tests/sequential"
)

// Shadow bounds mirroring, and says how mirrored answers are judged where
// nothing narrower does.
type Shadow struct {
	Queue   int           // mirrored requests waiting
	Body    int64         // bytes kept and compared of each body
	Timeout time.Duration // of one mirrored request
	Mirroring
}

// Mirroring says how the mirrored answers of a route are judged.
type Mirroring struct {
	Rule    sequential.Rule // when enough has been compared
	Latency string          // what a service that is slower does: off, warn or gate
	Slower  float64         // share by which the service's answer may take longer
	// Reverse is the percentage of the reads answered by the service that are
	// mirrored back to the monolith while the data follows there.
	Reverse float64
}

// What a service that is slower than the monolith does.
const (
	LatencyOff  = "off"  // nothing
	LatencyWarn = "warn" // it is shown
	LatencyGate = "gate" // it closes the shadow gate
)

func defaultShadow() Shadow {
	return Shadow{
		Queue: 256, Body: 256 << 10, Timeout: 5 * time.Second,
		Mirroring: Mirroring{Rule: sequential.Default(), Latency: LatencyWarn, Slower: 0.5, Reverse: 10},
	}
}

// Mirroring returns how a route of the capability is judged.
func (p *Capability) Mirroring(routeID string) Mirroring {
	if m, ok := p.Judged[routeID]; ok {
		return m
	}
	return p.Shadow
}

// tuning is what a place of the file says about mirroring; nil is what the
// wider place says.
type tuning struct {
	line                         int
	p0, p1, alpha, client, shape *float64
	slower, reverse              *float64
	span                         *time.Duration
	latency                      *string
}

// over returns a wider place's mirroring, changed by what this one says.
func (t tuning) over(m Mirroring) Mirroring {
	set(&m.Rule.P0, t.p0)
	set(&m.Rule.P1, t.p1)
	set(&m.Rule.Alpha, t.alpha)
	set(&m.Rule.PerClient, t.client)
	set(&m.Rule.PerShape, t.shape)
	set(&m.Rule.Span, t.span)
	set(&m.Latency, t.latency)
	set(&m.Slower, t.slower)
	set(&m.Reverse, t.reverse)
	return m
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}

// shadow reads the file's own part of mirroring.
func (p *parser) shadow(n *yaml.Node) {
	c := &p.cfg.Shadow
	known := p.tuned("shadow", &p.tuning)
	known["queue"] = number(p, "shadow.queue", &c.Queue)
	known["body"] = p.size("shadow.body", &c.Body)
	known["timeout"] = p.duration("shadow.timeout", &c.Timeout)
	p.tuning.line = n.Line
	p.each("shadow", n, known)
	if c.Body > maxMirrored {
		p.problem(n.Line, fmt.Sprintf("shadow.body: %d is more than %d", c.Body, maxMirrored), "answers that are longer are counted as incomparable")
	}
}

// maxMirrored is how much of a body may be kept, in bytes.
const maxMirrored = 16 << 20

// capabilityShadow reads what a capability says about mirroring.
func (p *parser) capabilityShadow(where string, n *yaml.Node, c *Capability) {
	t := tuning{line: n.Line}
	known := p.tuned(where, &t)
	known["isolated"] = func(_, v *yaml.Node) {
		c.Isolated = p.isolated(where+".isolated", v)
	}
	p.each(where, n, known)
	p.tunings[c.Name] = t
}

// isolated reads a URL, or a URL and the database behind it.
func (p *parser) isolated(where string, n *yaml.Node) *Backend {
	b := defaultBackend()
	b.Health, b.Build = "", ""
	if n.Kind == yaml.MappingNode {
		p.each(where, n, field{
			"url":      func(_, v *yaml.Node) { b.URLs = p.urls(where+".url", v) },
			"database": p.into(where+".database", &b.Database),
		})
		b.Database = p.database(where, n.Line, b.Database)
	} else {
		b.URLs = p.urls(where, n)
	}
	if len(b.URLs) == 0 {
		if !p.mentions(where) {
			p.problem(n.Line, where+".url is missing", "isolated: {url: http://127.0.0.1:9902, database: sqlite:isolated.db}")
		}
		return nil
	}
	b.URL = b.URLs[0]
	return &b
}

// routeShadow reads what a route says about mirroring.
func (p *parser) routeShadow(where string, n *yaml.Node, routeID string) {
	t := tuning{line: n.Line}
	known := p.tuned(where, &t)
	delete(known, "reverse") // is of a whole capability, whose data follows or does not
	p.each(where, n, known)
	p.routeTunings[routeID] = t
}

// tuned are the keys that every place knows.
func (p *parser) tuned(where string, t *tuning) field {
	return field{
		"p0": p.percentage(where+".p0", &t.p0), "p1": p.percentage(where+".p1", &t.p1), "alpha": p.percentage(where+".alpha", &t.alpha),
		"per_client": p.percentage(where+".per_client", &t.client), "per_shape": p.percentage(where+".per_shape", &t.shape),
		"slower": p.percentage(where+".slower", &t.slower),
		"span": p.orNone(func() { t.span = new(time.Duration) }, func(k, v *yaml.Node) {
			t.span = new(time.Duration)
			p.duration(where+".span", t.span)(k, v)
		}),
		"latency": func(k, v *yaml.Node) {
			t.latency = new(string)
			*t.latency = LatencyWarn
			p.oneOf(where+".latency", t.latency, LatencyOff, LatencyWarn, LatencyGate)(k, v)
		},
		"reverse": func(k, v *yaml.Node) {
			if text, ok := p.plain(where+".reverse", v); ok && text == "off" {
				t.reverse = new(float64)
				return
			} else if !ok {
				return
			}
			p.percentage(where+".reverse", &t.reverse)(k, v)
			if t.reverse != nil {
				if *t.reverse *= 100; *t.reverse > 100 {
					p.problem(v.Line, fmt.Sprintf("%s.reverse: %s is more than 100%%", where, describe(v)), "")
				}
			}
		},
	}
}

// percentage reads a percentage, or a fraction.
func (p *parser) percentage(where string, to **float64) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		text, ok := p.plain(where, v)
		if !ok {
			return
		}
		number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
		share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(share > 0) || share > maxShare {
			p.problem(v.Line, fmt.Sprintf("%s: %s is not a share: accepted are values such as 0.1%%, 25%% or 0.25", where, describe(v)), "")
			return
		}
		if percent {
			share /= 100
		}
		*to = &share
	}
}

// maxShare keeps a mistyped number from being taken for a share.
const maxShare = 10_000

// judge settles how each route is judged, the widest place first.
func (p *parser) judge() {
	c := p.cfg
	c.Shadow.Mirroring = p.tuning.over(c.Shadow.Mirroring)
	p.checkRule("shadow", p.tuning.line, c.Shadow.Rule)
	for i := range c.Capabilities {
		k := &c.Capabilities[i]
		t, own := p.tunings[k.Name]
		k.Shadow = t.over(c.Shadow.Mirroring)
		if own {
			p.checkRule("capabilities."+k.Name+".shadow", t.line, k.Shadow.Rule)
		}
		for _, r := range k.Routes {
			if t, own := p.routeTunings[r.ID]; own {
				m := t.over(k.Shadow)
				p.checkRule(fmt.Sprintf("route %q: shadow", r.ID), t.line, m.Rule)
				if k.Judged == nil {
					k.Judged = map[string]Mirroring{}
				}
				k.Judged[r.ID] = m
			}
		}
		p.checkIsolated(*k)
	}
}

// checkIsolated sees that copies of writes go to nothing that serves clients.
func (p *parser) checkIsolated(k Capability) {
	b := k.Isolated
	if b == nil {
		return
	}
	where, hint := "capabilities."+k.Name+".shadow.isolated", "it gets copies of writes, so it has to be a second instance of the service with a database of its own"
	if b.URL == p.cfg.Monolith.URL || b.URL == k.Service.URL {
		p.problem(k.Line, where+": "+b.URL+" serves clients", hint)
	}
	if b.Database != "" && p.cfg.Serves(b.Database) {
		p.problem(k.Line, where+".database: that is a database that serves clients", hint)
	}
	if k.Pair != nil && sameDatabase(b.Database, k.Pair.Service.Database) {
		p.problem(k.Line, where+".database: the pair's service has it, which every rehearsal fills anew", hint)
	}
	if b.Database != "" && k.Data == nil && !p.moving[k.Name] {
		p.problem(k.Line, where+".database: "+k.Name+" declares no data, so there is no mapping to compare rows through", "declare capabilities."+k.Name+".data")
	}
}

func (p *parser) checkRule(where string, line int, r sequential.Rule) {
	if err := r.Check(); err != nil && !p.mentions(where) {
		p.problem(max(line, 1), where+": "+err.Error(), "")
	}
}
