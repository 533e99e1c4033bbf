package web

import (
	"unicode/utf8"

	"github.com/labstack/echo/v4"
)

// Keyed identifies a change that must happen once, however often it is asked
// for. Without a key every request is a change of its own.
type Keyed struct {
	Key         string
	Fingerprint string
}

// maxKey is the longest Idempotency-Key accepted, in characters.
const maxKey = 200

// KeyOf reads the Idempotency-Key of a request with this body.
func KeyOf(c echo.Context, body []byte, problems Problems) Keyed {
	key := c.Request().Header.Get("Idempotency-Key")
	if utf8.RuneCountInString(key) > maxKey {
		problems.Add("Idempotency-Key", "must be at most 200 characters")
	}
	return Keyed{Key: key, Fingerprint: Fingerprint(c.Request().Method, c.Request().URL.Path, body)}
}

// Fingerprint tells requests apart: the same key with another fingerprint was
// used for something else.
func Fingerprint(method, path string, body []byte) string {
	return Digest([]byte(method + " " + path + "\n" + string(body)))[:32]
}

// ErrKeyReused answers a key that came with another request before.
func ErrKeyReused() error {
	return Unprocessable("the Idempotency-Key was used for another request")
}

// Answer is a stored or fresh answer to a keyed request.
type Answer struct {
	Status   int
	Body     []byte
	Replayed bool
}

// Send answers c; replays are marked by a header.
func (a Answer) Send(c echo.Context) error {
	if a.Replayed {
		c.Response().Header().Set("Idempotency-Replayed", "true")
	}
	return c.Blob(a.Status, TypeJSON, a.Body)
}
