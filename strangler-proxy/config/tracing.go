package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Tracing says where spans go.
type Tracing struct {
	Endpoint string            // base URL of an OpenTelemetry collector, by HTTP; empty: there are no spans
	Headers  map[string]string // that it asks for
	Service  string            // what it calls this proxy
	Sample   float64           // percent of the requests about which nobody before us has decided, from 0.01 to 100
}

func (p *parser) tracing(n *yaml.Node) {
	t := &p.cfg.Tracing
	p.each("tracing", n, field{
		"endpoint": func(_, v *yaml.Node) { t.Endpoint = p.collector("tracing.endpoint", v) },
		"headers":  func(_, v *yaml.Node) { t.Headers = p.header("tracing.headers", v) },
		"service":  p.into("tracing.service", &t.Service),
		"sample":   p.share("tracing.sample", &t.Sample),
	})
	if t.Endpoint == "" && meant(n).Kind == yaml.MappingNode && !p.mentions("tracing.endpoint") {
		p.problem(n.Line, "tracing.endpoint is missing", "endpoint: http://127.0.0.1:4318")
	}
}

// collector reads the base URL of one.
func (p *parser) collector(where string, n *yaml.Node) string {
	text, ok := p.plain(where, n)
	if !ok {
		return ""
	}
	text = strings.TrimSuffix(text, "/")
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil:
		p.problem(n.Line, fmt.Sprintf("%s: %q is not a URL: accepted are http://host[:port][/path] and https://host[:port][/path]", where, redactDSN(text)), "")
	case strings.HasSuffix(u.Path, "/v1/traces"):
		p.problem(n.Line, where+": /v1/traces is added to it", strings.TrimSuffix(text, "/v1/traces"))
	}
	return text
}

// header reads names of header fields and their values.
func (p *parser) header(where string, n *yaml.Node) map[string]string {
	all := map[string]string{}
	p.pairs(where, n, func(key, v *yaml.Node) {
		if !fieldName.MatchString(key.Value) {
			p.problem(key.Line, fmt.Sprintf("%s: %q is not the name of a header", where, key.Value), "")
			return
		}
		all[key.Value] = p.text(where+"."+key.Value, v)
	})
	return all
}

// share reads a percentage.
func (p *parser) share(where string, to *float64) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		text, ok := p.plain(where, v)
		if !ok {
			return
		}
		number, percent := strings.CutSuffix(text, "%")
		share, err := strconv.ParseFloat(number, 64)
		if err != nil || !percent || !(share >= 0.01 && share <= 100) { // NaN is neither
			p.problem(v.Line, fmt.Sprintf("%s: %s is not a share: accepted are 0.01%% to 100%%", where, describe(v)), "")
			return
		}
		*to = share
	}
}
