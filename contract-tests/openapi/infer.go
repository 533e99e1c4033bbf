package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// Infer describes the traffic of contracts as OpenAPI 3.0: paths are those of
// the routes, or, where an interaction has none, its path with the segments
// that look like identifiers as parameters. Schemas hold what all samples have
// in common: required members, null where one was null or a rule allows it,
// formats, and enumerations of few words that were seen often. Every sample
// agrees with the result.
//
// Lost is what a description has no place for.
func Infer(title string, interactions []contract.Interaction) (description []byte, lost []string, err error) {
	f := &inferring{paths: map[string]map[string]*operation{}}
	for _, i := range interactions {
		f.see(i)
	}
	doc := &openapi3.T{OpenAPI: "3.0.3", Info: &openapi3.Info{Title: title, Version: "inferred"}, Paths: openapi3.NewPaths()}
	for _, path := range slices.Sorted(maps.Keys(f.paths)) {
		for _, method := range slices.Sorted(maps.Keys(f.paths[path])) {
			doc.AddOperation(path, method, f.paths[path][method].describe())
		}
	}
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		return nil, nil, fmt.Errorf("infer a description: %w", err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil, nil, fmt.Errorf("infer a description: %w", err)
	}
	slices.Sort(f.lost)
	return b.Bytes(), slices.Compact(f.lost), nil
}

type inferring struct {
	paths map[string]map[string]*operation
	lost  []string
}

// operation is what was seen of one method on one path.
type operation struct {
	seen       int
	route      string
	parameters map[[2]string]*shape // by place and name
	repeated   map[string]bool      // query parameters with several values
	sent       *content
	answers    map[int]*answered
}

// content is what was seen of bodies, by media type.
type content struct {
	seen  int
	media map[string]*shape
}

type answered struct {
	seen    int
	free    bool // a contract leaves the body unchecked
	content content
	headers map[string]*shape
}

func (f *inferring) see(i contract.Interaction) {
	path, values, lost := pathOf(i)
	if lost != "" {
		f.lost = append(f.lost, lost)
	}
	if f.paths[path] == nil {
		f.paths[path] = map[string]*operation{}
	}
	o := f.paths[path][i.Request.Method]
	if o == nil {
		o = &operation{route: i.Route, parameters: map[[2]string]*shape{}, repeated: map[string]bool{}, sent: newContent(), answers: map[int]*answered{}}
		f.paths[path][i.Request.Method] = o
	}
	o.seen++
	for name, value := range values {
		o.parameter("path", name).seeText(value)
	}
	o.query(i.Request.Query)
	for name, list := range i.Request.Header {
		if !slices.Contains(unspoken, http.CanonicalHeaderKey(name)) {
			o.parameter("header", http.CanonicalHeaderKey(name)).see(strings.Join(list, ","))
		}
	}
	if len(i.Request.Body) > 0 {
		o.sent.see(mediaOf(i.Request.Header), i.Request.Body)
	}
	o.answer(i.Response)
}

// unspoken are headers of which OpenAPI says that they are described elsewhere,
// and those that belong to the moment.
var unspoken = []string{"Accept", "Content-Type", "Authorization", "Cookie", "Content-Length", "Host"}

func (o *operation) parameter(in, name string) *shape {
	key := [2]string{in, name}
	if o.parameters[key] == nil {
		o.parameters[key] = &shape{}
	}
	return o.parameters[key]
}

func (o *operation) query(query map[string][]string) {
	for name, values := range query {
		p := o.parameter("query", name)
		if len(values) > 1 {
			o.repeated[name] = true
		}
		// The shape counts requests that have the parameter; further values of
		// one request widen it.
		before := p.seen
		for _, v := range values {
			p.seeText(v)
		}
		p.seen = before + 1
	}
}

func newContent() *content { return &content{media: map[string]*shape{}} }

func (c *content) see(media string, body []byte) {
	c.seen++
	if media == "" {
		media = "application/octet-stream"
	}
	if c.media[media] == nil {
		c.media[media] = &shape{}
	}
	s := c.media[media]
	switch {
	case isJSON(media):
		if v, err := match.Decode(body); err == nil {
			s.see(v)
			return
		}
		s.see(string(body))
	case media == "application/x-www-form-urlencoded":
		form := map[string]any{}
		fields, err := url.ParseQuery(string(body))
		for name, values := range fields {
			form[name] = values[0]
		}
		if err == nil {
			s.see(form)
		}
	default:
		s.see(string(body))
	}
}

func mediaOf(header map[string][]string) string {
	for name, values := range header {
		if strings.EqualFold(name, "Content-Type") && len(values) > 0 {
			media, _, _ := strings.Cut(values[0], ";")
			return strings.ToLower(strings.TrimSpace(media))
		}
	}
	return ""
}

func (o *operation) answer(r contract.Response) {
	a := o.answers[r.Status]
	if a == nil {
		a = &answered{content: *newContent(), headers: map[string]*shape{}}
		o.answers[r.Status] = a
	}
	a.seen++
	a.free = a.free || r.Body == nil
	if len(r.Body) > 0 {
		media := mediaOf(r.Header)
		a.content.see(media, r.Body)
		if s := a.content.media[media]; s != nil && isJSON(media) {
			s.allow(nil, r.Rules)
		}
	}
	for name, values := range r.Header {
		if name = http.CanonicalHeaderKey(name); !slices.Contains(unspoken, name) {
			if a.headers[name] == nil {
				a.headers[name] = &shape{}
			}
			a.headers[name].see(strings.Join(values, ", "))
		}
	}
}

var (
	wildcard   = regexp.MustCompile(`\{([^{}]+)\}`)
	identifier = regexp.MustCompile(`^(?:\d+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9A-HJKMNP-TV-Z]{26}|redacted-[0-9a-f]{12})$`)
)

// pathOf is the described path of an interaction, and its parameters' values.
func pathOf(i contract.Interaction) (path string, values map[string]string, lost string) {
	values = map[string]string{}
	sent := strings.Split(i.Request.Path, "/")
	pattern, lost := patternOf(i.Route)
	if pattern == "" {
		parts := slices.Clone(sent)
		for n, part := range parts {
			if identifier.MatchString(part) {
				name := "id"
				for k := 2; values[name] != ""; k++ {
					name = "id" + strconv.Itoa(k)
				}
				values[name], parts[n] = part, "{"+name+"}"
			}
		}
		return strings.Join(parts, "/"), values, lost
	}
	for n, part := range strings.Split(pattern, "/") {
		if name := wildcard.FindStringSubmatch(part); name != nil && n < len(sent) {
			plain, err := url.PathUnescape(sent[n])
			if err != nil {
				plain = sent[n]
			}
			values[name[1]] = plain
		}
	}
	return pattern, values, lost
}

// patternOf is a route's path as OpenAPI writes it.
func patternOf(route string) (path, lost string) {
	words := strings.Fields(route)
	if len(words) > 0 && !strings.Contains(words[0], "/") {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", ""
	}
	path = words[0][strings.Index(words[0], "/"):]
	switch {
	case len(words) > 1:
		lost = fmt.Sprintf("route %q: what it asks for beside method and path is not in the description", route)
	case !strings.HasPrefix(words[0], "/"):
		lost = fmt.Sprintf("route %q: its host is not in the description", route)
	}
	path = strings.TrimSuffix(path, "{$}")
	if strings.Contains(path, "...}") {
		path = strings.ReplaceAll(path, "...}", "}")
		lost = fmt.Sprintf("route %q: a parameter of OpenAPI is one segment, so that paths of several are not described", route)
	}
	return path, lost
}
