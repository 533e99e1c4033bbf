package har

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"stranglerfig/contract-tests/contract"
)

// Write writes a contract's examples as a file, as if a client had asked base,
// such as http://billing.example, for each. An archive has no rules, states or
// generators; the caller says so.
func Write(w io.Writer, c contract.Contract, base string) error {
	a := archive{Log: log{Version: "1.2", Creator: creator{Name: "strangler", Version: "1"}, Entries: []entry{}}}
	for _, i := range c.Interactions {
		a.Log.Entries = append(a.Log.Entries, entryOf(i, strings.TrimSuffix(base, "/")))
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(a); err != nil {
		return fmt.Errorf("write HAR: %w", err)
	}
	return nil
}

func entryOf(i contract.Interaction, base string) entry {
	q, a := i.Request, i.Response
	e := entry{Started: time.Unix(0, 0).UTC(), Cache: map[string]any{}, Comment: i.Description}
	e.Request = request{Method: q.Method, URL: base + q.Path, Version: "HTTP/1.1", Cookies: []pair{}, Header: pairs(q.Header), Query: pairs(q.Query), HeadersSize: -1, BodySize: len(q.Body)}
	if len(q.Query) > 0 {
		e.Request.URL += "?" + url.Values(q.Query).Encode()
	}
	if len(q.Body) > 0 {
		text, encoding := encode(q.Body)
		e.Request.Body = &posted{Media: first(q.Header, "Content-Type"), Text: &text, Encoding: encoding}
	}
	text, encoding := encode(a.Body)
	e.Response = response{Status: a.Status, Reason: http.StatusText(a.Status), Version: "HTTP/1.1", Cookies: []pair{}, Header: pairs(a.Header),
		Redirect: first(a.Header, "Location"), HeadersSize: -1, BodySize: len(a.Body),
		Body: content{Size: len(a.Body), Media: first(a.Header, "Content-Type"), Text: &text, Encoding: encoding}}
	return e
}

// encode writes a body readably if it can be.
func encode(body []byte) (text, encoding string) {
	if utf8.Valid(body) {
		return string(body), ""
	}
	return base64.StdEncoding.EncodeToString(body), "base64"
}

func pairs(values map[string][]string) []pair {
	list := []pair{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			list = append(list, pair{name, value})
		}
	}
	return list
}

func first(header map[string][]string, name string) string {
	for key, values := range header {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}
