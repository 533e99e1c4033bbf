package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"stranglerfig/strangler-proxy/route"
)

// Parse checks the text of a file. env looks up ${NAME}; path is used in
// messages and to resolve relative paths.
func Parse(path string, raw []byte, env func(string) (string, bool)) (*Config, error) {
	p := &parser{env: env, moving: map[string]bool{}, cfg: &Config{
		Path: path, Listen: ":8080", Admin: Admin{Listen: "127.0.0.1:8079"}, State: "./strangler-state", AccessLog: "stdout",
		Hold:     Hold{Requests: 1000, Bytes: 64 << 20, Wait: 5 * time.Second},
		Drain:    10 * time.Second,
		Shadow:   Shadow{Queue: 256, Body: 256 << 10, Enough: 100, Timeout: 5 * time.Second},
		Evidence: Evidence{MaxAge: 24 * time.Hour},
	}}
	var doc, more yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(raw))
	if err := documents.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, &Error{Path: path, Problems: []Problem{yamlProblem(err, raw)}}
	}
	if err := documents.Decode(&more); err == nil {
		p.problem(more.Line, "a second document begins here, which nothing would read", "put everything into one, without ---")
	} else if !errors.Is(err, io.EOF) {
		return nil, &Error{Path: path, Problems: []Problem{yamlProblem(err, raw)}}
	}
	if len(doc.Content) == 0 {
		p.problem(1, "the file is empty", "strangler init --monolith URL writes a first one")
	} else {
		p.root(doc.Content[0])
	}
	if len(p.problems) > 0 {
		sort.SliceStable(p.problems, func(i, j int) bool { return p.problems[i].Line < p.problems[j].Line })
		return nil, &Error{Path: path, Problems: p.problems}
	}
	return p.cfg, nil
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

func yamlProblem(err error, raw []byte) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	hint := ""
	if bytes.Contains(raw, []byte("${")) {
		hint = `between braces a variable is quoted: {token: "${NAME}"}`
	}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return Problem{Line: line, Text: "not valid YAML: " + m[2], Hint: hint}
	}
	return Problem{Line: 1, Text: "not valid YAML: " + text, Hint: hint}
}

type parser struct {
	env      func(string) (string, bool)
	cfg      *Config
	problems []Problem
	moving   map[string]bool // capabilities that declare data, well or not
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
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		p.problem(n.Line, fmt.Sprintf("%s: expected keys and values, found %s", where, describe(n)), "")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if first, dup := seen[key.Value]; dup {
			p.problem(key.Line, fmt.Sprintf("%s: %q is given twice (first on line %d)", where, key.Value, first), "")
			continue
		}
		seen[key.Value] = key.Line
		f(key, n.Content[i+1])
	}
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
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.problem(n.Line, fmt.Sprintf("%s: expected a value, found %s", where, describe(n)), "")
		return ""
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
		"listen": func(_, v *yaml.Node) { c.Listen = p.address("listen", v) },
		"admin": func(_, v *yaml.Node) {
			p.each("admin", v, field{
				"listen": func(_, v *yaml.Node) { c.Admin.Listen = p.address("admin.listen", v) },
				"token":  p.into("admin.token", &c.Admin.Token),
			})
		},
		"state":        p.into("state", &c.State),
		"access_log":   p.into("access_log", &c.AccessLog),
		"monolith":     mark("monolith", func(_, v *yaml.Node) { c.Monolith = p.backend("monolith", v) }),
		"capabilities": func(_, v *yaml.Node) { p.capabilities(v) },
		"paths": func(_, v *yaml.Node) {
			p.each("paths", v, field{
				"trailing_slash": p.either("paths.trailing_slash", &c.Paths.SameTrailingSlash, "distinct", "same"),
				"case":           p.either("paths.case", &c.Paths.SameCase, "sensitive", "insensitive"),
			})
		},
		"hold": func(_, v *yaml.Node) {
			p.each("hold", v, field{
				"requests": number(p, "hold.requests", &c.Hold.Requests), "bytes": number(p, "hold.bytes", &c.Hold.Bytes),
				"wait": p.duration("hold.wait", &c.Hold.Wait),
			})
		},
		"redact": func(_, v *yaml.Node) { c.Redact = p.list("redact", v) },
		"drain":  p.duration("drain", &c.Drain),
		"shadow": func(_, v *yaml.Node) {
			p.each("shadow", v, field{
				"queue": number(p, "shadow.queue", &c.Shadow.Queue), "body": number(p, "shadow.body", &c.Shadow.Body),
				"enough": number(p, "shadow.enough", &c.Shadow.Enough), "timeout": p.duration("shadow.timeout", &c.Shadow.Timeout),
			})
		},
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

func (p *parser) backend(where string, n *yaml.Node) Backend {
	b := Backend{}
	if where != "monolith" {
		b.Health = "/readyz"
	}
	b.Build = "/buildz"
	p.each(where, n, field{
		"url":      p.into(where+".url", &b.URL),
		"database": p.into(where+".database", &b.Database),
		"health":   p.into(where+".health", &b.Health),
		"build":    p.into(where+".build", &b.Build),
	})
	if b.URL == "" {
		p.problem(n.Line, where+".url is missing", "url: http://127.0.0.1:9000")
	} else if u, err := url.Parse(b.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		p.problem(n.Line, fmt.Sprintf("%s.url: %q is not a URL: accepted are http://host[:port] and https://host[:port]", where, b.URL), "")
	} else if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		p.problem(n.Line, fmt.Sprintf("%s.url: %q has a path or query; requests are forwarded with the path they came with", where, b.URL), "")
	}
	b.URL = strings.TrimSuffix(b.URL, "/")
	b.Database = p.database(where, n.Line, b.Database)
	return b
}

// database resolves the path of an embedded database against the file.
func (p *parser) database(where string, line int, dsn string) string {
	if dsn == "" {
		return ""
	}
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch {
	case scheme == "sqlite" && rest != "":
		return "sqlite:" + p.cfg.Resolve(rest)
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		return dsn
	}
	p.problem(line, fmt.Sprintf("%s.database: %q: accepted are sqlite:<path> and postgres://…", where, redactDSN(dsn)), "")
	return dsn
}

// redactDSN keeps passwords out of messages.
func redactDSN(dsn string) string {
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		return u.Redacted()
	}
	return dsn
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
	if _, problems := route.Compile(c.AllRoutes(), c.Paths); len(problems) > 0 {
		for _, q := range problems {
			p.problem(q.Line, q.Text, q.Hint)
		}
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
