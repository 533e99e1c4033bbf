package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// The content types of the answers.
const (
	TypeJSON = "application/json"
	TypeHTML = "text/html; charset=utf-8"
	TypeCSV  = "text/csv; charset=utf-8"
)

// JSON answers with v as encoding/json writes it.
func JSON(c echo.Context, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Blob(status, TypeJSON, body)
}

// Found answers a read with v as JSON and an entity tag.
func Found(c echo.Context, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return Content(c, TypeJSON, body)
}

// Content answers a read with an entity tag, or with 304 and no body when the
// caller already has these bytes.
func Content(c echo.Context, contentType string, body []byte) error {
	tag := `"` + Digest(body)[:16] + `"`
	c.Response().Header().Set("ETag", tag)
	if matches(c.Request().Header.Get("If-None-Match"), tag) {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, contentType, body)
}

func matches(header, tag string) bool {
	for _, candidate := range strings.Split(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

// Digest is the SHA-256 of body in hexadecimal.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Read registers a handler for GET and, as HTTP wants it, for HEAD.
func Read(e *echo.Echo, path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
	e.Match([]string{http.MethodGet, http.MethodHead}, path, h, m...)
}
