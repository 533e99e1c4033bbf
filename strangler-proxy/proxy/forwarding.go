package proxy

import (
	"iter"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/trace"
)

// Forwarding says what backends are told about clients, and whom to believe.
type Forwarding struct {
	// Trusted are the networks of proxies in front of this one: what they say
	// about a client is passed on and added to. What anybody else says about
	// itself is replaced.
	Trusted []netip.Prefix
	// Style chooses the fields, default [XForwarded].
	Style Style
	// RequestID is the field that carries a request's id, default X-Request-Id;
	// "off" carries none. A client's own id is kept.
	RequestID string

	traced bool // the proxy says itself which trace a request belongs to
}

// Style of telling backends about clients.
type Style string

// The styles of telling backends about clients.
const (
	XForwarded Style = "x-forwarded" // X-Forwarded-For, -Host and -Proto
	RFC7239    Style = "forwarded"   // Forwarded
	BothStyles Style = "both"
	Untold     Style = "off" // everything stays as the client sent it
)

// requestIDOff carries no request's id.
const requestIDOff = "off"

func (o Forwarding) withDefaults() Forwarding {
	if o.Style == "" {
		o.Style = XForwarded
	}
	if o.RequestID == "" {
		o.RequestID = "X-Request-Id"
	}
	return o
}

// trusts reports whether an address is a proxy's whose word is taken.
func (o *Forwarding) trusts(address string) bool {
	if len(o.Trusted) == 0 {
		return false
	}
	at, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, network := range o.Trusted {
		if network.Contains(at.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// replaces reports whether a client's field is left out: because the proxy says
// it itself, because only a proxy whose word is taken may say it, or because it
// is a spelling of such a field, which some backends take for it.
func (o *Forwarding) replaces(name string, from origin) bool {
	if len(name) == len(o.RequestID) && o.RequestID != requestIDOff && http1.SpellsLike(name, o.RequestID) {
		return true
	}
	switch {
	case len(name) < len("Forwarded"):
		return false
	case o.traced && trace.Names(name):
		return true
	case name[0]|0x20 == 'x' && http1.BeginsLike(name, "X-Strangler-"):
		return true
	case o.Style == Untold:
		return false
	case len(name) == len("Forwarded") && http1.SameName(name, "Forwarded"):
		return true
	case name[0]|0x20 != 'x':
		return false
	case http1.SpellsLike(name, "X-Real-IP"):
		return !from.trusted || !http1.SameName(name, "X-Real-IP")
	case !http1.BeginsLike(name, "X-Forwarded-"):
		return false
	}
	told := http1.SameName(name, "X-Forwarded-For") || http1.SameName(name, "X-Forwarded-Host") || http1.SameName(name, "X-Forwarded-Proto")
	return !from.trusted || told || strings.IndexByte(name, '_') >= 0
}

// origin is who sent a request, as far as one can know.
type origin struct {
	peer    string // the address that the connection comes from
	trusted bool   // the peer is a proxy whose word is taken
	secure  bool   // the connection is encrypted
}

// origin says where a connection comes from.
func (p *Proxy) origin(address string, secure bool) origin {
	peer := withoutPort(address)
	return origin{peer: peer, trusted: p.o.Forwarding.trusts(peer), secure: secure}
}

// scheme is what the client spoke to this proxy.
func (o origin) scheme() string {
	if o.secure {
		return "https"
	}
	return "http"
}

// client returns the address of the client: the last one in the chain that no
// trusted proxy stands for.
func (o *Forwarding) client(from origin, f fields) string {
	if !from.trusted {
		return from.peer
	}
	chain := strings.Split(listed(f, "X-Forwarded-For"), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		address := strings.TrimSpace(chain[i])
		if _, err := netip.ParseAddr(address); err != nil {
			break
		}
		if !o.trusts(address) {
			return address
		}
	}
	return from.peer
}

// tell lists the fields that backends are told about a request.
func (o *Forwarding) tell(to []http1.Field, a *asked, from origin) []http1.Field {
	if o.Style == XForwarded || o.Style == BothStyles {
		to = append(to,
			http1.Field{Name: "X-Forwarded-For", Value: chained(from, a.fields, "X-Forwarded-For", from.peer)},
			http1.Field{Name: "X-Forwarded-Host", Value: believed(from, a.fields, "X-Forwarded-Host", a.host)},
			http1.Field{Name: "X-Forwarded-Proto", Value: believed(from, a.fields, "X-Forwarded-Proto", from.scheme())})
	}
	if o.Style == RFC7239 || o.Style == BothStyles {
		to = append(to, http1.Field{Name: "Forwarded", Value: chained(from, a.fields, "Forwarded", forwardedElement(from, a.host))})
	}
	if o.RequestID != requestIDOff {
		if a.id = a.fields.Header(o.RequestID); a.id == "" || len(a.id) > maxID {
			a.id = newID()
		}
		to = append(to, http1.Field{Name: o.RequestID, Value: a.id})
	}
	return to
}

// maxID bounds a request's id, in bytes; a longer one is replaced.
const maxID = 128

// newID makes up a request's id. It only has to be told from others.
func newID() string {
	var b [32]byte
	return string(strconv.AppendUint(strconv.AppendUint(b[:0], rand.Uint64()>>4|1<<60, 16), rand.Uint64()>>4|1<<60, 16))
}

// chained adds to what trusted proxies have said in fields of a name.
func chained(from origin, f fields, name, add string) string {
	if !from.trusted {
		return add
	}
	if said := listed(f, name); said != "" {
		return said + ", " + add
	}
	return add
}

// believed returns what a trusted proxy has said in a field, or else what is
// seen. Of several fields the last one is from the proxy that is next to us: the
// others may be its client's.
func believed(from origin, f fields, name, seen string) string {
	if from.trusted {
		for value := range valuesOf(f, name) {
			seen = value
		}
	}
	return seen
}

// listed returns what all fields of a name say, in their order, as the one list
// that they are: a proxy may add its word in a field of its own.
func listed(f fields, name string) string {
	list := ""
	for value := range valuesOf(f, name) {
		if list != "" {
			list += ", "
		}
		list += value
	}
	return list
}

// valuesOf returns the values of all fields of a name that have one.
func valuesOf(f fields, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		all := f.All()
		for i := range all.Fields() {
			if is, value := all.Field(i); value != "" && http1.SameName(is, name) && !yield(value) {
				return
			}
		}
	}
}

// forwardedElement is what this proxy adds to Forwarded: RFC 7239, 4.
func forwardedElement(from origin, host string) string {
	address := from.peer
	if strings.Contains(address, ":") {
		address = `"[` + address + `]"`
	}
	return "for=" + address + `;host="` + strings.NewReplacer(`\`, "", `"`, "").Replace(host) + `";proto=` + from.scheme()
}

// set tells the same in a header that is a map.
func (o *Forwarding) set(h http.Header, f *flight) {
	for name := range h {
		if o.replaces(name, f.from) {
			delete(h, name)
		}
	}
	if f.inCookie {
		hideToken(h)
	}
	for _, field := range f.told {
		h.Set(field.Name, field.Value)
	}
}
