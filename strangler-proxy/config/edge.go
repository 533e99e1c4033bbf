package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// TLS is what the proxy proves itself with to clients; empty: clear text.
type TLS struct {
	Certificate string // file of ours, followed by those between it and its root
	Key         string // file of its private key
	ClientCA    string // file of the roots that clients' certificates come from; empty: they need none
}

// Limits bound what clients may take.
type Limits struct {
	Connections int           // open at a time
	Requests    int           // under way at a time
	Head        int64         // bytes of a request's head
	Body        int64         // bytes of a request's body; 0: any
	HeadTimeout time.Duration // from a head's first byte to its last
	BodyTimeout time.Duration // without a byte, of a body or an answer
	Idle        time.Duration // a connection without a request
}

func defaultLimits() Limits {
	return Limits{
		Connections: 20_000, Requests: 4096, Head: 64 << 10,
		HeadTimeout: 10 * time.Second, BodyTimeout: 60 * time.Second, Idle: 120 * time.Second,
	}
}

func (p *parser) tls(n *yaml.Node) TLS {
	var t TLS
	p.each("tls", n, field{
		"certificate": p.file("tls.certificate", &t.Certificate), "key": p.file("tls.key", &t.Key),
		"client_ca": p.file("tls.client_ca", &t.ClientCA),
	})
	lacks := func(key, value string) bool { return value == "" && !p.mentions("tls."+key) }
	if meant(n).Kind == yaml.MappingNode && (lacks("certificate", t.Certificate) || lacks("key", t.Key)) {
		p.problem(n.Line, "tls needs certificate and key", "tls: {certificate: cert.pem, key: key.pem}")
	}
	return t
}

// file reads a path, which is relative to the folder of the config.
func (p *parser) file(where string, to *string) func(_, v *yaml.Node) {
	return func(_, v *yaml.Node) {
		text, ok := p.plain(where, v)
		if ok && text == "" {
			p.problem(v.Line, where+": expected a file, found nothing", "leave the key out")
		}
		*to = p.cfg.Resolve(text)
	}
}

// networks reads addresses and networks.
func (p *parser) networks(where string, n *yaml.Node) []netip.Prefix {
	var all []netip.Prefix
	for _, item := range items(n) {
		text, ok := p.plain(where, item)
		if !ok {
			continue
		}
		network, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil && address.Zone() == "" {
			network, err = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
		}
		if err != nil || network.Addr().Is4In6() {
			p.problem(item.Line, fmt.Sprintf("%s: %q is not a network: accepted are addresses such as 10.0.0.7 and networks such as 10.0.0.0/8 and fd00::/8", where, text), "")
			continue
		}
		all = append(all, network.Masked())
	}
	return all
}

// requestID reads the name of a header, or off.
func (p *parser) requestID(n *yaml.Node) string {
	text, ok := p.plain("request_id", n)
	switch {
	case !ok:
	case !fieldName.MatchString(text):
		p.problem(n.Line, fmt.Sprintf("request_id: %q: accepted are the name of a header, such as X-Request-Id, and off", text), "")
	case slices.Contains(taken, strings.ToLower(text)):
		p.problem(n.Line, fmt.Sprintf("request_id: %s has a meaning of its own", text), "request_id: X-Request-Id")
	}
	return text
}

var (
	fieldName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	// taken are headers that an id would break requests in.
	taken = []string{
		"authorization", "connection", "content-length", "content-type", "cookie", "expect", "forwarded", "host", "keep-alive",
		"proxy-authorization", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
	}
)

// A head is read into memory whole; heads beyond these sizes would either be
// refused all the time or be a way to fill the memory.
const (
	leastHead = 1 << 10
	mostHead  = 1 << 20
)

func (p *parser) limits(n *yaml.Node) {
	l := &p.cfg.Limits
	p.each("limits", n, field{
		"connections": number(p, "limits.connections", &l.Connections), "requests": number(p, "limits.requests", &l.Requests),
		"head": func(k, v *yaml.Node) {
			if p.size("limits.head", &l.Head)(k, v); l.Head < leastHead || l.Head > mostHead {
				p.problem(v.Line, fmt.Sprintf("limits.head: %s: accepted are 1KiB to 1MiB", describe(v)), "")
			}
		},
		"body":         p.orNone(func() { l.Body = 0 }, p.size("limits.body", &l.Body)),
		"head_timeout": p.duration("limits.head_timeout", &l.HeadTimeout), "body_timeout": p.duration("limits.body_timeout", &l.BodyTimeout),
		"idle": p.duration("limits.idle", &l.Idle),
	})
}

// leastKey is how long a key that signs must be, in bytes.
const leastKey = 32

// override reads what testers' overrides are signed with.
func (p *parser) override(n *yaml.Node) {
	p.each("override", n, field{"key": p.into("override.key", &p.cfg.OverrideKey)})
	if len(p.cfg.OverrideKey) < leastKey && !p.mentions("override") {
		p.problem(n.Line, fmt.Sprintf("override.key is %d bytes long: accepted are %d and more, that nobody can guess", len(p.cfg.OverrideKey), leastKey), "override: {key: \"${STRANGLER_OVERRIDE_KEY}\"}, and: openssl rand -hex 32")
	}
}
