package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"stranglerfig/contract-tests/match"
	"stranglerfig/strangler-proxy/route"
)

type parser struct {
	env      func(string) (string, bool)
	pause    func() // called time and again
	cfg      *Config
	problems []Problem
	moving   map[string]bool // capabilities that declare data, well or not
	called   []called

	tuning       tuning            // of mirroring, by the file
	tunings      map[string]tuning // by capabilities
	routeTunings map[string]tuning // by routes
}

func (p *parser) problem(line int, text, hint string) {
	p.problems = append(p.problems, Problem{Line: line, Text: text, Hint: hint})
}

// field says how one key of a mapping is read.
type field map[string]func(key, value *yaml.Node)

// each reads a mapping strictly: every key must be a known field.
func (p *parser) each(where string, n *yaml.Node, known field) {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	sort.Strings(names)
	p.pairs(where, n, func(key, value *yaml.Node) {
		read, ok := known[key.Value]
		if !ok {
			p.problem(key.Line, fmt.Sprintf("%s: unknown key %q: accepted are %s", where, key.Value, strings.Join(names, ", ")), closest(key.Value, names))
			return
		}
		read(key, value)
	})
}

// pairs calls f for each key of a mapping, refusing doubled keys.
func (p *parser) pairs(where string, n *yaml.Node, f func(key, value *yaml.Node)) {
	n = meant(n)
	if n.Kind != yaml.MappingNode {
		p.problem(n.Line, fmt.Sprintf("%s: expected keys and values, found %s", where, describe(n)), "")
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if first, dup := seen[key.Value]; dup {
			p.problem(key.Line, fmt.Sprintf("%s: %q is given twice (first on line %d)", where, key.Value, first), "")
			continue
		}
		seen[key.Value] = key.Line
		p.pause()
		f(key, n.Content[i+1])
	}
}

// meant returns what an alias stands for.
func meant(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "keys and values"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

// closest suggests the known name a mistyped one is nearest to.
func closest(name string, known []string) string {
	for _, k := range known {
		if len(name) < 3 {
			break // too little to guess from
		}
		if strings.HasPrefix(k, name) || strings.HasPrefix(name, k) || distanceOne(name, k) {
			return fmt.Sprintf("did you mean %q?", k)
		}
	}
	return ""
}

// distanceOne reports whether one edit or one swap makes a into b.
func distanceOne(a, b string) bool {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	x, y := a[i:], b[i:]
	switch {
	case x == "" || y == "":
		return len(x)+len(y) <= 1
	case x[1:] == y[1:], x[1:] == y, x == y[1:]:
		return true
	}
	return len(x) > 1 && len(y) > 1 && x[0] == y[1] && x[1] == y[0] && x[2:] == y[2:]
}

// text reads a scalar, replacing ${NAME} by the environment's value.
func (p *parser) text(where string, n *yaml.Node) string {
	n = meant(n)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.problem(n.Line, fmt.Sprintf("%s: expected a value, found %s", where, describe(n)), "")
		return ""
	}
	if !strings.Contains(n.Value, "${") {
		return n.Value
	}
	return variable.ReplaceAllStringFunc(n.Value, func(m string) string {
		name := m[2 : len(m)-1]
		value, ok := p.env(name)
		if !ok {
			p.problem(n.Line, fmt.Sprintf("%s: the environment variable %s is not set", where, name), "export "+name+"=…")
		}
		return value
	})
}

var variable = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// into reads a scalar into a string.
func (p *parser) into(where string, to *string) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) { *to = p.text(where, v) }
}

func (p *parser) duration(where string, to *time.Duration) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		d, err := time.ParseDuration(p.text(where, v))
		if err != nil || d <= 0 {
			p.problem(v.Line, fmt.Sprintf("%s: %s is not a duration: accepted are values such as 500ms, 5s, 24h", where, describe(v)), "")
			return
		}
		*to = d
	}
}

func number[T int | int64](p *parser, where string, to *T) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		n, err := strconv.ParseInt(strings.ReplaceAll(p.text(where, v), "_", ""), 10, 64)
		if err != nil || n <= 0 {
			p.problem(v.Line, fmt.Sprintf("%s: %s is not a positive whole number", where, describe(v)), "")
			return
		}
		*to = T(n)
	}
}

// size reads a number of bytes, with or without a unit.
func (p *parser) size(where string, to *int64) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		text := strings.ReplaceAll(p.text(where, v), "_", "")
		factor := int64(1)
		for unit, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
			if number, ok := strings.CutSuffix(text, unit); ok {
				text, factor = strings.TrimSpace(number), n
			}
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/factor {
			p.problem(v.Line, fmt.Sprintf("%s: %s is not a size: accepted are values such as 512MiB, 10GiB, or a number of bytes", where, describe(v)), "")
			return
		}
		*to = n * factor
	}
}

func (p *parser) root(n *yaml.Node) {
	c := p.cfg
	seen := map[string]bool{}
	mark := func(name string, read func(k, v *yaml.Node)) func(k, v *yaml.Node) {
		return func(k, v *yaml.Node) { seen[name] = true; read(k, v) }
	}
	p.each("strangler.yaml", n, field{
		"listen":          func(_, v *yaml.Node) { c.Listen = p.address("listen", v) },
		"tls":             func(_, v *yaml.Node) { c.TLS = p.tls(v) },
		"trusted_proxies": func(_, v *yaml.Node) { c.Trusted = p.networks("trusted_proxies", v) },
		"forwarded":       p.oneOf("forwarded", &c.Forwarded, "x-forwarded", "forwarded", "both", "off"),
		"request_id":      func(_, v *yaml.Node) { c.RequestID = p.requestID(v) },
		"tracing":         func(_, v *yaml.Node) { p.tracing(v) },
		"limits":          func(_, v *yaml.Node) { p.limits(v) },
		"override":        func(_, v *yaml.Node) { p.override(v) },
		"admin": func(_, v *yaml.Node) {
			p.each("admin", v, field{
				"listen": func(_, v *yaml.Node) { c.Admin.Listen = p.address("admin.listen", v) },
				"token":  p.into("admin.token", &c.Admin.Token),
			})
		},
		"state":        p.into("state", &c.State),
		"access_log":   p.into("access_log", &c.AccessLog),
		"io_uring":     p.either("io_uring", &c.IOUring, "off", "on"),
		"monolith":     mark("monolith", func(_, v *yaml.Node) { c.Monolith = p.backend("monolith", v) }),
		"capabilities": func(_, v *yaml.Node) { p.capabilities(v) },
		"hold": func(_, v *yaml.Node) {
			p.each("hold", v, field{
				"requests": number(p, "hold.requests", &c.Hold.Requests), "bytes": number(p, "hold.bytes", &c.Hold.Bytes),
				"wait": p.duration("hold.wait", &c.Hold.Wait),
			})
		},
		"redact": func(_, v *yaml.Node) {
			c.Redact = p.list("redact", v)
			for _, name := range c.Redact {
				if path, err := match.ParsePath(name); strings.HasPrefix(name, "$") && (err != nil || len(path) == 0) {
					p.problem(v.Line, fmt.Sprintf("redact: %q leads to no place: accepted are names of fields, and paths such as $.customers[*].name", name), "")
				}
			}
		},
		"drain":  p.duration("drain", &c.Drain),
		"shadow": func(_, v *yaml.Node) { p.shadow(v) },
		"evidence": func(_, v *yaml.Node) {
			p.each("evidence", v, field{"max_age": p.duration("evidence.max_age", &c.Evidence.MaxAge)})
		},
		"chaos": func(_, v *yaml.Node) {
			p.each("chaos", v, field{"links": func(_, v *yaml.Node) { p.links(v) }})
		},
	})
	if !seen["monolith"] && n.Kind == yaml.MappingNode {
		p.problem(n.Line, "monolith is missing", "monolith: {url: http://127.0.0.1:9000}")
	}
	p.across()
}

// either reads one of two words; the second one means true.
func (p *parser) either(where string, to *bool, no, yes string) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		switch text := p.text(where, v); text {
		case no, yes:
			*to = text == yes
		default:
			p.problem(v.Line, fmt.Sprintf("%s: %q: accepted are %s, %s", where, text, no, yes), "")
		}
	}
}

// plain reads a scalar; false: there is none, and that has been said.
func (p *parser) plain(where string, n *yaml.Node) (text string, ok bool) {
	before := len(p.problems)
	text = p.text(where, n)
	return text, len(p.problems) == before
}

// oneOf reads one of several words.
func (p *parser) oneOf(where string, to *string, words ...string) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		text, ok := p.plain(where, v)
		if !ok {
			return
		}
		if !slices.Contains(words, text) {
			p.problem(v.Line, fmt.Sprintf("%s: %q: accepted are %s", where, text, strings.Join(words, ", ")), closest(text, words))
			return
		}
		*to = text
	}
}

// orNone reads 0 as none, and anything else as read does.
func (p *parser) orNone(none func(), read func(_, v *yaml.Node)) func(_, v *yaml.Node) {
	return func(k, v *yaml.Node) {
		if n := meant(v); n.Kind == yaml.ScalarNode && n.Value == "0" {
			none()
			return
		}
		read(k, v)
	}
}

func (p *parser) address(where string, n *yaml.Node) string {
	text := p.text(where, n)
	if _, port, err := net.SplitHostPort(text); err != nil || !isPort(port) {
		p.problem(n.Line, fmt.Sprintf("%s: %q is not an address: accepted are host:port and :port", where, text), "")
	}
	return text
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}

func (p *parser) links(n *yaml.Node) {
	p.pairs("chaos.links", n, func(key, v *yaml.Node) {
		where := "chaos.links." + key.Value
		l := Link{Name: key.Value}
		p.each(where, v, field{
			"listen": func(_, v *yaml.Node) { l.Listen = p.address(where+".listen", v) },
			"to":     func(_, v *yaml.Node) { l.To = p.address(where+".to", v) },
		})
		if l.Listen == "" || l.To == "" {
			p.problem(key.Line, where+" needs listen and to", key.Value+": {listen: 127.0.0.1:9300, to: 127.0.0.1:9000}")
		}
		p.cfg.Links = append(p.cfg.Links, l)
	})
}

// across checks what no single part can see.
func (p *parser) across() {
	c := p.cfg
	p.judge()
	p.checkPairs()
	p.checkLoops()
	p.agree()
	var problems []route.Problem
	c.table, problems = route.CompileAside(c.AllRoutes(), c.Paths(), p.pause)
	for _, q := range problems {
		p.problem(q.Line, q.Text, q.Hint)
	}
	owners := map[string]string{}
	for _, capability := range c.Capabilities {
		if !p.moving[capability.Name] {
			continue
		}
		missing := func(side string) {
			p.problem(capability.Line, fmt.Sprintf("%s: its data moves, but %s.database is missing", capability.Name, side), "database: sqlite:<path>")
		}
		if c.Monolith.Database == "" {
			missing("monolith")
		}
		if capability.Service.Database == "" {
			missing("capabilities." + capability.Name + ".service")
		}
		if capability.Data == nil {
			continue
		}
		for _, t := range capability.Data.Tables {
			if other, taken := owners[t.From]; taken {
				p.problem(capability.Line, fmt.Sprintf("%s: the monolith's table %s is moved by %s already", capability.Name, t.From, other), "a table belongs to one capability")
			}
			owners[t.From] = capability.Name
		}
	}
}

// ErrNoRoute is returned when a route to edit is not in the file.
var ErrNoRoute = errors.New("no such route")
