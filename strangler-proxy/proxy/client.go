package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"net"
	"net/http"
	"strings"
)

// cookieName is the cookie that makes clients without a key of their own
// sticky.
const cookieName = "strangler_id"

// identity is who sent a request, as far as stickiness and reading one's own
// writes are concerned.
type identity struct {
	canaryKey string   // "" where the client has none yet
	ids       []uint64 // for reading one's own writes: any of them is the client
}

var seed = maphash.MakeSeed()

// identify reads a request's identity. by is the capability's canary key.
func (p *Proxy) identify(r *http.Request, by string) identity {
	if key := declaredKey(r, by); key != "" {
		return identity{canaryKey: key, ids: []uint64{hash(key)}}
	}
	// Without a declared key a client may get our cookie between its write and
	// its read, so it is recognised by whatever else it brings as well.
	who := identity{canaryKey: p.cookie(r)}
	if who.canaryKey != "" {
		who.ids = append(who.ids, hash(who.canaryKey))
	}
	if credentials := r.Header.Get("Authorization"); credentials != "" {
		return identity{canaryKey: who.canaryKey, ids: append(who.ids, hash(credentials))}
	}
	who.ids = append(who.ids, hash(clientIP(r)))
	return who
}

func hash(text string) uint64 { return maphash.String(seed, text) }

// declaredKey returns the value of the declared key, or "".
func declaredKey(r *http.Request, by string) string {
	kind, name, _ := strings.Cut(by, ":")
	switch kind {
	case "cookie":
		if c, err := r.Cookie(name); err == nil {
			return c.Value
		}
	case "header":
		return r.Header.Get(name)
	case "client-ip":
		return clientIP(r)
	}
	return ""
}

func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// cookie returns the id in our own cookie if its signature is ours.
func (p *Proxy) cookie(r *http.Request) string {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	id, mac, ok := strings.Cut(c.Value, ".")
	if !ok || !hmac.Equal([]byte(mac), []byte(p.sign(id))) {
		return ""
	}
	return id
}

func (p *Proxy) sign(id string) string {
	mac := hmac.New(sha256.New, p.o.Key)
	mac.Write([]byte(id))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// newCookie makes a client sticky from now on.
func (p *Proxy) newCookie() (id string, cookie *http.Cookie) {
	id = rand.Text()
	return id, &http.Cookie{
		Name: cookieName, Value: id + "." + p.sign(id), Path: "/", MaxAge: 30 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
