package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"stranglerfig/strangler-proxy/route"
)

// Backend is one application.
type Backend struct {
	URL      string   // the first of URLs
	URLs     []string // of its endpoints
	Protocol string   // http/1.1, h2 or h2c
	OwnHost  bool     // it is told its own host instead of the one the client asked for
	Rewrite  bool     // its own name in Location and Set-Cookie becomes what the client asked for
	// BodyMethod says that it may take the method of a POST from its body, as
	// forms give it that know no others.
	BodyMethod bool
	TLS        BackendTLS
	Timeouts   Timeouts
	Limits     BackendLimits
	Breaker    Breaker
	Database   string // DSN; empty where no data moves
	Health     string // path that answers 2xx when it is well; empty: a connection is enough
	// HealthInterval is how often every endpoint is asked whether it is well;
	// 0: none is asked, and only failing requests tell.
	HealthInterval time.Duration
	Build          string // path that answers the build's identity; empty: none
	Paths          route.Profile
}

// BackendTLS says how an https:// backend and this proxy know each other. Empty
// fields: the system's roots, no certificate of ours, the URL's host.
type BackendTLS struct {
	CA          string // file of the roots that its certificate comes from
	Certificate string // file of ours
	Key         string // file of our private key
	ServerName  string // name that its certificate must have
}

// Timeouts bound how long a backend may take.
type Timeouts struct {
	Dial   time.Duration // until a connection is there
	Answer time.Duration // from the request's end to the answer's beginning; 0: any
	Idle   time.Duration // between two pieces of an answer's body; 0: any
}

// BackendLimits bound what a backend is asked to bear at once.
type BackendLimits struct{ Connections, Requests int }

// Breaker says when a backend is not tried for a while.
type Breaker struct {
	Failures int           // in a row
	Pause    time.Duration // until one request may try again
}

// spoken is where a backend is and how it is spoken to. Fields that are not
// given are left out, so that evidence outlives an update that adds some.
type spoken struct {
	URL      string
	Database string
	Health   string
	Build    string
	Others   []string    `json:",omitempty"` // further endpoints
	Protocol string      `json:",omitempty"`
	OwnHost  bool        `json:",omitempty"`
	Plain    bool        `json:",omitempty"` // answers are not rewritten
	TLS      *BackendTLS `json:",omitempty"`
}

func (b Backend) spoken() spoken {
	s := spoken{URL: b.URL, Database: b.Database, Health: b.Health, Build: b.Build, OwnHost: b.OwnHost, Plain: !b.Rewrite}
	if len(b.URLs) > 1 {
		s.Others = b.URLs[1:]
	}
	if b.Protocol != protocols[0] {
		s.Protocol = b.Protocol
	}
	if b.TLS != (BackendTLS{}) {
		s.TLS = &b.TLS
	}
	return s
}

// Key tells backends apart: what is declared with the same key is one
// application, spoken to in one way, and may share connections.
func (b Backend) Key() string {
	b.Database, b.Build = "", ""
	if b.HealthInterval == 0 {
		b.Health = "" // asked by whoever wants to know
	}
	raw, err := json.Marshal(b)
	if err != nil {
		panic(err) // plain strings and numbers always marshal
	}
	return string(raw)
}

// protocols lists what a backend may speak; the first one is the default.
var protocols = []string{"http/1.1", "h2", "h2c"}

func defaultBackend() Backend {
	return Backend{
		Protocol: protocols[0], Rewrite: true, Build: "/buildz",
		Timeouts: Timeouts{Dial: 2 * time.Second, Answer: 5 * time.Minute, Idle: 5 * time.Minute},
		Limits:   BackendLimits{Connections: 1024, Requests: 4096},
		Breaker:  Breaker{Failures: 5, Pause: 500 * time.Millisecond},
	}
}

func (p *parser) backend(where string, n *yaml.Node) Backend {
	b := defaultBackend()
	var paths *yaml.Node
	if where != "monolith" {
		b.Health = "/readyz"
	}
	p.each(where, n, field{
		"url":             func(_, v *yaml.Node) { b.URLs = p.urls(where+".url", v) },
		"protocol":        p.oneOf(where+".protocol", &b.Protocol, protocols...),
		"host":            p.either(where+".host", &b.OwnHost, "client", "backend"),
		"rewrite":         p.either(where+".rewrite", &b.Rewrite, "false", "true"),
		"body_method":     p.either(where+".body_method", &b.BodyMethod, "false", "true"),
		"tls":             func(_, v *yaml.Node) { b.TLS = p.backendTLS(where+".tls", v) },
		"timeouts":        func(_, v *yaml.Node) { p.timeouts(where+".timeouts", v, &b.Timeouts) },
		"limits":          func(_, v *yaml.Node) { p.backendLimits(where+".limits", v, &b.Limits) },
		"breaker":         func(_, v *yaml.Node) { p.breaker(where+".breaker", v, &b.Breaker) },
		"database":        p.into(where+".database", &b.Database),
		"health":          p.into(where+".health", &b.Health),
		"health_interval": p.duration(where+".health_interval", &b.HealthInterval),
		"build":           p.into(where+".build", &b.Build),
		"paths":           func(_, v *yaml.Node) { paths = v },
	})
	p.paths(where+".paths", paths, &b.Paths)
	if len(b.URLs) > 0 {
		b.URL = b.URLs[0]
	} else if !p.mentions(where + ".url: ") {
		p.problem(n.Line, where+".url is missing", "url: http://127.0.0.1:9000")
	}
	p.checkScheme(where, n.Line, b)
	b.Database = p.database(where, n.Line, b.Database)
	return b
}

// urls reads one URL, or a list of them.
func (p *parser) urls(where string, n *yaml.Node) []string {
	var all []string
	for _, item := range items(n) {
		text := strings.TrimSuffix(p.text(where, item), "/")
		u, err := url.Parse(text)
		switch {
		case text == "":
			continue
		case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
			p.problem(item.Line, fmt.Sprintf("%s: %q is not a URL: accepted are http://host[:port] and https://host[:port]", where, text), "")
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
			p.problem(item.Line, fmt.Sprintf("%s: %q has a path or query; requests are forwarded with the path they came with", where, redactDSN(text)), "")
		case u.User != nil:
			p.problem(item.Line, fmt.Sprintf("%s: %q has a name or a password, which would not be sent", where, redactDSN(text)), "")
		case u.Port() == "0" || u.Port() != "" && !isPort(u.Port()):
			p.problem(item.Line, fmt.Sprintf("%s: %q: a port is a number from 1 to 65535", where, text), "")
		case slices.Contains(all, text):
			p.problem(item.Line, fmt.Sprintf("%s: %q is given twice", where, text), "")
		}
		all = append(all, text)
		if err == nil {
			p.called = append(p.called, called{where, item.Line, u})
		}
	}
	return all
}

// checkScheme sees that protocol and tls are possible with the URLs.
func (p *parser) checkScheme(where string, line int, b Backend) {
	for _, u := range b.URLs {
		secure := strings.HasPrefix(u, "https:")
		switch {
		case b.Protocol == "h2" && !secure:
			p.problem(line, fmt.Sprintf("%s: protocol h2 is spoken over TLS, but %s is not", where, u), "https://…, or protocol: h2c")
		case b.Protocol == "h2c" && secure:
			p.problem(line, fmt.Sprintf("%s: protocol h2c is spoken in clear text, but %s is not", where, u), "http://…, or protocol: h2")
		case b.TLS != (BackendTLS{}) && !secure:
			p.problem(line, fmt.Sprintf("%s: tls is given, but %s is in clear text", where, u), "https://…, or no tls")
		}
	}
}

func (p *parser) backendTLS(where string, n *yaml.Node) BackendTLS {
	var t BackendTLS
	p.each(where, n, field{
		"ca": p.file(where+".ca", &t.CA), "certificate": p.file(where+".certificate", &t.Certificate),
		"key": p.file(where+".key", &t.Key), "server_name": p.into(where+".server_name", &t.ServerName),
	})
	if (t.Certificate == "") != (t.Key == "") && !p.mentions(where+".certificate") && !p.mentions(where+".key") {
		p.problem(n.Line, where+": certificate and key are given together", "tls: {certificate: cert.pem, key: key.pem}")
	}
	return t
}

func (p *parser) timeouts(where string, n *yaml.Node, t *Timeouts) {
	p.each(where, n, field{
		"dial":   p.duration(where+".dial", &t.Dial),
		"answer": p.orNone(func() { t.Answer = 0 }, p.duration(where+".answer", &t.Answer)),
		"idle":   p.orNone(func() { t.Idle = 0 }, p.duration(where+".idle", &t.Idle)),
	})
}

func (p *parser) backendLimits(where string, n *yaml.Node, l *BackendLimits) {
	p.each(where, n, field{
		"connections": number(p, where+".connections", &l.Connections), "requests": number(p, where+".requests", &l.Requests),
	})
}

func (p *parser) breaker(where string, n *yaml.Node, k *Breaker) {
	p.each(where, n, field{
		"failures": number(p, where+".failures", &k.Failures), "pause": p.duration(where+".pause", &k.Pause),
	})
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
