package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"hash/maphash"
	"io"
	"net/http"
	"strings"
)

// cookieName is the cookie that makes clients without a key of their own
// sticky.
const cookieName = "strangler_id"

// identity is who sent a request, as far as stickiness and reading one's own
// writes are concerned.
type identity struct {
	canaryKey string // "" where the client has none yet
	ids       [2]uint64
	n         int
	lasting   uint64 // of what the client is recognised by first, the same in every process
}

// known returns what a client is recognised by for reading its own writes: any
// of them is the client.
func (who *identity) known() []uint64 { return who.ids[:who.n] }

func (who *identity) add(text string) {
	who.ids[who.n] = maphash.String(seed, text)
	who.n++
}

var seed = maphash.MakeSeed()

// identify reads a request's identity. by is the capability's canary key.
func (p *Proxy) identify(r *asked, by string) (who identity) {
	if key := declaredKey(r, by); key != "" {
		who.canaryKey = key
		who.lasting = lasting(key)
		who.add(key)
		return who
	}
	// Without a declared key a client may get our cookie between its write and
	// its read, so it is recognised by whatever else it brings as well.
	who.canaryKey = p.cookie(r)
	if who.canaryKey != "" {
		who.add(who.canaryKey)
	}
	other := r.fields.Header("Authorization")
	if other == "" {
		other = r.client
	}
	who.add(other)
	who.lasting = lasting(other)
	return who
}

// lasting hashes by FNV-1a.
func lasting(text string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, text)
	return h.Sum64()
}

// declaredKey returns the value of the declared key, or "".
func declaredKey(r *asked, by string) string {
	kind, name, _ := strings.Cut(by, ":")
	switch kind {
	case "cookie":
		return r.fields.Cookie(name)
	case "header":
		return r.fields.Header(name)
	case "client-ip":
		return r.client
	}
	return ""
}

// cookie returns the id in our own cookie if its signature is ours.
func (p *Proxy) cookie(r *asked) string {
	value := r.fields.Cookie(cookieName)
	if value == "" {
		return ""
	}
	id, mac, ok := strings.Cut(value, ".")
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

// newCookie makes a client sticky from now on: its new id, and the value of
// the Set-Cookie that tells it.
func (p *Proxy) newCookie() (id, cookie string) {
	id = rand.Text()
	made := http.Cookie{
		Name: cookieName, Value: id + "." + p.sign(id), Path: "/", MaxAge: 30 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	return id, made.String()
}

// cookieIn returns a cookie out of the value of a Cookie field: RFC 6265, 4.2.
func cookieIn(list, name string) (value string, ok bool) {
	for list != "" {
		var pair string
		pair, list, _ = strings.Cut(list, ";")
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if key == name {
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			return value, true
		}
	}
	return "", false
}
