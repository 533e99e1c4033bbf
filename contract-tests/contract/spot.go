package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// spot is a parsed place of a request or an answer.
type spot struct {
	part string // path, query, header or body
	keys []any  // below it: texts and ints
}

func parseSpot(text string) (spot, error) {
	path, err := match.ParsePath(text)
	if err != nil {
		return spot{}, err
	}
	keys, exact := path.Keys()
	if !exact || len(keys) == 0 {
		return spot{}, fmt.Errorf("%s does not name one place", text)
	}
	part, ok := keys[0].(string)
	p := spot{part: part, keys: keys[1:]}
	want := map[string]bool{"path": len(keys) == 2, "query": len(keys) == 3, "header": len(keys) == 2, "body": len(keys) >= 2}
	if !ok || !want[part] {
		return p, fmt.Errorf("%s names no place of a message", text)
	}
	if _, number := keys[1].(int); number != (part == "path") && part != "body" {
		return p, fmt.Errorf("%s names no place of a message", text)
	}
	return p, nil
}

// Take returns the value that the capture takes from an answer; false where it
// is not there or is no single value.
func (c Capture) Take(header map[string][]string, body []byte) (string, bool) {
	return valueAt(c.From, header, body)
}

// Says returns what an answer has in the place of the use.
func (u Use) Says(header map[string][]string, body []byte) (string, bool) {
	return valueAt(u.In, header, body)
}

func valueAt(where string, header map[string][]string, body []byte) (string, bool) {
	p, err := parseSpot(where)
	if err != nil {
		return "", false
	}
	if p.part == "header" {
		for name, values := range header {
			if strings.EqualFold(name, p.keys[0].(string)) && len(values) > 0 {
				return lastSegment(values[0])
			}
		}
		return "", false
	}
	document, err := match.Decode(body)
	if err != nil {
		return "", false
	}
	return scalar(find(document, p.keys))
}

// lastSegment returns the last segment of a URL's or path's own path.
func lastSegment(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil {
		return "", false
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	text, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	return text, err == nil && text != ""
}

func find(v any, keys []any) any {
	for _, key := range keys {
		switch key := key.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// Asks returns what a request has in the place of the use; false where it has
// nothing there, or no single value.
func (u Use) Asks(q Request) (string, bool) {
	p, err := parseSpot(u.In)
	if err != nil {
		return "", false
	}
	switch p.part {
	case "path":
		segments := strings.Split(strings.TrimPrefix(q.Path, "/"), "/")
		if n := p.keys[0].(int); n < len(segments) {
			text, err := url.PathUnescape(segments[n])
			return text, err == nil
		}
		return "", false
	case "query":
		if values := q.Query[p.keys[0].(string)]; p.keys[1].(int) < len(values) {
			return values[p.keys[1].(int)], true
		}
		return "", false
	}
	if isForm(q) {
		form, err := url.ParseQuery(string(q.Body))
		name, ok := p.keys[0].(string)
		return form.Get(name), err == nil && ok && form.Has(name)
	}
	document, err := match.Decode(q.Body)
	if err != nil {
		return "", false
	}
	return scalar(find(document, p.keys))
}

func isForm(q Request) bool {
	media, _, _ := strings.Cut(strings.ToLower(contentType(q.Header)), ";")
	return strings.TrimSpace(media) == "application/x-www-form-urlencoded"
}

// Put returns the request with a captured value in the place of the use. What
// the request has there decides whether a JSON value is a text or a number.
func (u Use) Put(q Request, value string) (Request, error) {
	p, err := parseSpot(u.In)
	if err != nil {
		return q, err
	}
	switch p.part {
	case "path":
		segments := strings.Split(strings.TrimPrefix(q.Path, "/"), "/")
		n := p.keys[0].(int)
		if n >= len(segments) {
			return q, fmt.Errorf("%s: the path %s has %d segments", u.In, q.Path, len(segments))
		}
		segments[n] = url.PathEscape(value)
		q.Path = "/" + strings.Join(segments, "/")
		return q, nil
	case "query":
		name, n := p.keys[0].(string), p.keys[1].(int)
		if n >= len(q.Query[name]) {
			return q, fmt.Errorf("%s: the request has no such parameter", u.In)
		}
		q.Query = maps.Clone(q.Query)
		q.Query[name] = slices.Clone(q.Query[name])
		q.Query[name][n] = value
		return q, nil
	}
	return putInBody(u.In, p, q, value)
}

func putInBody(where string, p spot, q Request, value string) (Request, error) {
	if isForm(q) {
		form, err := url.ParseQuery(string(q.Body))
		name, ok := p.keys[0].(string)
		if err != nil || !ok || !form.Has(name) {
			return q, fmt.Errorf("%s: the request's form has no such field", where)
		}
		form.Set(name, value)
		q.Body = []byte(form.Encode())
		return q, nil
	}
	document, err := match.Decode(q.Body)
	if err != nil {
		return q, fmt.Errorf("%s: the request's body is not JSON", where)
	}
	before := find(document, p.keys)
	if _, ok := scalar(before); !ok {
		return q, fmt.Errorf("%s: the request has no text and no number there", where)
	}
	var put any = value
	if _, number := before.(json.Number); number && json.Valid([]byte(value)) {
		put = json.Number(value)
	}
	set(document, p.keys, put)
	raw, err := marshal(document)
	q.Body = raw
	return q, err
}

// set replaces a value that find has found.
func set(v any, keys []any, put any) {
	parent := find(v, keys[:len(keys)-1])
	switch key := keys[len(keys)-1].(type) {
	case string:
		parent.(map[string]any)[key] = put
	case int:
		parent.([]any)[key] = put
	}
}
