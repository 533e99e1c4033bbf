package route

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"stranglerfig/migrations/change"
)

// Override lets a tester read from one side, whatever the route's word says,
// until a time. It never moves a write.
type Override struct {
	Side  change.Side
	Scope string // a capability's name, or a route's ID
	Until time.Time
}

// Why a token is not obeyed.
var (
	ErrNoToken      = errors.New("it is no token of this key")
	ErrTokenExpired = errors.New("it has expired")
)

// overrideKind is signed with every token, so that nothing else that a key has
// signed can be taken for one.
const overrideKind = "strangler override 1"

// inText writes bytes as text, in one way only.
var inText = base64.RawURLEncoding.Strict()

// Sign writes the override as a token: its side, the second in which it ends,
// its scope, and an HMAC-SHA256 over these. It has no byte that a header or a
// cookie could not have.
func (o Override) Sign(key []byte) string {
	text := string(o.Side) + "." + strconv.FormatInt(o.Until.Unix(), 10) + "." + inText.EncodeToString([]byte(o.Scope))
	return text + "." + inText.EncodeToString(seal(key, text))
}

func seal(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(overrideKind + "\x00" + text))
	return mac.Sum(nil)
}

// ReadOverride reads a token. The error is [ErrNoToken] or, with the override,
// [ErrTokenExpired].
func ReadOverride(token string, key []byte, now time.Time) (Override, error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 || len(token) > 2*MaxPath {
		return Override{}, ErrNoToken
	}
	given, err := inText.DecodeString(token[dot+1:])
	if err != nil || !hmac.Equal(given, seal(key, token[:dot])) {
		return Override{}, ErrNoToken
	}
	parts := strings.Split(token[:dot], ".")
	if len(parts) != 3 {
		return Override{}, ErrNoToken
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	scope, scopeErr := inText.DecodeString(parts[2])
	side := change.Side(parts[0])
	if err != nil || scopeErr != nil || side != change.Monolith && side != change.Service {
		return Override{}, ErrNoToken
	}
	o := Override{Side: side, Scope: string(scope), Until: time.Unix(until, 0)}
	if !now.Before(o.Until) {
		return o, ErrTokenExpired
	}
	return o, nil
}

// Covers reports whether the override is about a route.
func (o Override) Covers(r *Route) bool { return o.Scope == r.Capability || o.Scope == r.ID }
