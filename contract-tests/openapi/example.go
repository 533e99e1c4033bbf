package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
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

// The reasons to leave an answer out of the contract.
const (
	NoStatus  = "without a status of their own" // 2XX and default
	NoExample = "without an example"
	NoRequest = "without an example of the request"
)

// Contract makes an interaction of each example of an answer. Of examples with
// names, those of parameters and the request's body that have the same name
// belong to it; otherwise the unnamed ones do. An answer that refuses needs a
// request of its name, because the others' would not be refused. Rules come
// from the answer's schema: a value may be any of its type, format or
// enumeration. What was left out is counted by reason.
func (d *Description) Contract() (contract.Contract, map[string]int, error) {
	m := &making{Description: d, left: map[string]int{}}
	m.result = contract.Contract{Consumer: "clients", Provider: d.Title()}
	for _, path := range slices.Sorted(maps.Keys(d.doc.Paths.Map())) {
		item := d.doc.Paths.Value(path)
		operations := item.Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			m.operation(asking{method: method, path: path, operation: operations[method], parameters: parametersOf(item, operations[method])})
		}
	}
	return m.result, m.left, errors.Join(m.problems...)
}

// making is a contract being made.
type making struct {
	*Description
	result   contract.Contract
	left     map[string]int
	problems []error
}

// asking is an operation and what it is asked with.
type asking struct {
	method, path string
	operation    *openapi3.Operation
	parameters   openapi3.Parameters
	headers      map[string][]string // of the answer, as far as they have examples
}

// headersOf are headers that have an example.
func headersOf(headers openapi3.Headers) map[string][]string {
	out := map[string][]string{}
	for name, h := range headers {
		if h.Value == nil || http.CanonicalHeaderKey(name) == "Content-Type" {
			continue
		}
		all := examplesOf(h.Value.Example, h.Value.Examples, h.Value.Schema)
		if names := slices.Sorted(maps.Keys(all)); len(names) > 0 {
			value := all[names[0]]
			out[http.CanonicalHeaderKey(name)] = []string{strings.Join(textsOf(value), ",")}
		}
	}
	return out
}

// parametersOf are an operation's parameters: its own, and those of its path
// that it does not have itself.
func parametersOf(item *openapi3.PathItem, operation *openapi3.Operation) openapi3.Parameters {
	all := slices.Clone(operation.Parameters)
	for _, p := range item.Parameters {
		if operation.Parameters.GetByInAndName(p.Value.In, p.Value.Name) == nil {
			all = append(all, p)
		}
	}
	return all
}

func (m *making) operation(a asking) {
	responses := a.operation.Responses.Map()
	for _, code := range slices.Sorted(maps.Keys(responses)) {
		status, err := strconv.Atoi(code)
		if err != nil {
			m.left[NoStatus]++
			continue
		}
		media, content := preferred(responses[code].Value.Content)
		if content == nil {
			m.answer(a, status, "", "", nil, nil)
			continue
		}
		a.headers = headersOf(responses[code].Value.Headers)
		named := examplesOf(content.Example, content.Examples, content.Schema)
		if len(named) == 0 {
			m.left[NoExample]++
		}
		for _, name := range slices.Sorted(maps.Keys(named)) {
			m.answer(a, status, name, media, named[name], content.Schema)
		}
	}
}

// preferred is the media type whose examples are taken: JSON, or else the first.
func preferred(content openapi3.Content) (string, *openapi3.MediaType) {
	names := slices.Sorted(maps.Keys(content))
	for _, name := range names {
		if isJSON(name) {
			return name, content[name]
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	return names[0], content[names[0]]
}

func isJSON(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	media = strings.TrimSpace(media)
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// examplesOf lists examples by name; one without a name has none.
func examplesOf(single any, named openapi3.Examples, schema *openapi3.SchemaRef) map[string]any {
	all := map[string]any{}
	for name, e := range named {
		if e.Value != nil && e.Value.Value != nil {
			all[name] = e.Value.Value
		}
	}
	if single != nil {
		all[""] = single
	}
	if len(all) == 0 && schema != nil && schema.Value != nil {
		if value, ok := exampleOfSchema(schema.Value); ok {
			all[""] = value
		}
	}
	return all
}

func exampleOfSchema(s *openapi3.Schema) (any, bool) {
	switch {
	case s.Example != nil:
		return s.Example, true
	case len(s.Examples) > 0:
		return s.Examples[0], true
	}
	return nil, false
}

// answer adds one interaction.
func (m *making) answer(a asking, status int, name, media string, example any, schema *openapi3.SchemaRef) {
	request, own, err := m.request(a, name)
	if err != nil || status >= 400 && !own {
		m.left[NoRequest]++
		return
	}
	i := contract.Interaction{Description: describe(a, status, name), Source: contract.Written, Route: a.method + " " + m.base() + pattern(a.path), Request: request}
	i.Response = contract.Response{Status: status}
	if media != "" {
		body, err := written(media, example)
		if err != nil {
			m.problems = append(m.problems, fmt.Errorf("%s %s: example %q of the answer %d: %w", a.method, a.path, name, status, err))
			return
		}
		i.Response.Header = maps.Clone(a.headers)
		i.Response.Header["Content-Type"] = []string{media}
		i.Response.Body = body
		if isJSON(media) && schema != nil {
			i.Response.Rules = rulesOf(schema.Value, body)
		}
		for name := range a.headers {
			i.Response.Rules = i.Response.Rules.WithHeader(name, match.Matcher{Kind: match.Type})
		}
	}
	m.result.Interactions = append(m.result.Interactions, i)
}

func describe(a asking, status int, name string) string {
	what := a.operation.Summary
	if what == "" {
		what = a.operation.OperationID
	}
	if what == "" {
		what = a.method + " " + a.path
	}
	if name != "" {
		what += ": " + name
	}
	return fmt.Sprintf("%s, answered %d", what, status)
}

var template = regexp.MustCompile(`\{([^{}]+)\}`)

// pattern is a path as routes are written: what a parameter is called matters
// to nobody, but has to be a word.
func pattern(path string) string {
	return template.ReplaceAllStringFunc(path, func(found string) string {
		return "{" + strings.Map(func(r rune) rune {
			if strings.ContainsRune("{}.$-", r) {
				return '_'
			}
			return r
		}, found[1:len(found)-1]) + "}"
	})
}

// request makes the request of a name; own tells that some part of it has an
// example of that name.
func (m *making) request(a asking, name string) (request contract.Request, own bool, err error) {
	request = contract.Request{Method: a.method, Path: m.base() + a.path, Query: map[string][]string{}, Header: map[string][]string{}}
	for _, ref := range a.parameters {
		p := ref.Value
		value, named, ok := valueOf(p, name)
		own = own || named
		if !ok {
			if p.Required {
				return request, own, fmt.Errorf("parameter %s has no example", p.Name)
			}
			continue
		}
		place(&request, p, value)
	}
	if body := a.operation.RequestBody; body != nil && body.Value != nil {
		named, err := m.body(&request, body.Value, name)
		if err != nil {
			return request, own, err
		}
		own = own || named
	}
	return request, own, nil
}

// place puts a parameter's value where it belongs. A list is written in the
// default style: repeated in a query, joined elsewhere.
func place(q *contract.Request, p *openapi3.Parameter, value any) {
	values := textsOf(value)
	switch p.In {
	case "path":
		q.Path = strings.ReplaceAll(q.Path, "{"+p.Name+"}", url.PathEscape(strings.Join(values, ",")))
	case "query":
		if p.Explode != nil && !*p.Explode {
			values = []string{strings.Join(values, ",")}
		}
		q.Query[p.Name] = values
	case "header":
		q.Header[http.CanonicalHeaderKey(p.Name)] = []string{strings.Join(values, ",")}
	case "cookie":
		cookie := p.Name + "=" + strings.Join(values, ",")
		if before := q.Header["Cookie"]; before != nil {
			cookie = before[0] + "; " + cookie
		}
		q.Header["Cookie"] = []string{cookie}
	}
}

func textsOf(value any) []string {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var texts []string
	for _, one := range list {
		if text, ok := one.(string); ok {
			texts = append(texts, text)
			continue
		}
		data, err := json.Marshal(one)
		if err != nil {
			data = []byte(fmt.Sprint(one))
		}
		texts = append(texts, string(data))
	}
	return texts
}

// valueOf is a parameter's example: of the name, or else the unnamed one, its
// default, the first of its enumeration, or the first of its named ones.
func valueOf(p *openapi3.Parameter, name string) (value any, named, ok bool) {
	if e := p.Examples[name]; name != "" && e != nil && e.Value != nil {
		return e.Value.Value, true, true
	}
	if p.Example != nil {
		return p.Example, false, true
	}
	if p.Schema != nil && p.Schema.Value != nil {
		s := p.Schema.Value
		if value, ok := exampleOfSchema(s); ok {
			return value, false, true
		}
		if s.Default != nil && p.Required {
			return s.Default, false, true
		}
		if len(s.Enum) > 0 && p.Required {
			return s.Enum[0], false, true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Examples)) {
		if e := p.Examples[name]; p.Required && e.Value != nil {
			return e.Value.Value, false, true
		}
	}
	return nil, false, false
}

// body fills in the request's body.
func (m *making) body(q *contract.Request, body *openapi3.RequestBody, name string) (named bool, err error) {
	media, content := preferred(body.Content)
	if content == nil {
		return false, nil
	}
	all := examplesOf(content.Example, content.Examples, content.Schema)
	example, named := all[name]
	if named = named && name != ""; !named {
		var ok bool
		if example, ok = all[""]; !ok {
			if body.Required {
				return false, errors.New("the body has no example")
			}
			return false, nil
		}
	}
	q.Body, err = written(media, example)
	q.Header["Content-Type"] = []string{media}
	return named, err
}

// written writes an example as a body of its media type.
func written(media string, example any) ([]byte, error) {
	if isJSON(media) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(example); err != nil {
			return nil, err
		}
		return bytes.TrimSpace(b.Bytes()), nil
	}
	if text, ok := example.(string); ok {
		return []byte(text), nil
	}
	if fields, ok := example.(map[string]any); ok && strings.HasPrefix(media, "application/x-www-form-urlencoded") {
		form := url.Values{}
		for name, value := range fields {
			form[name] = textsOf(value)
		}
		return []byte(form.Encode()), nil
	}
	return nil, fmt.Errorf("%s cannot be written from a %T (accepted: a text)", media, example)
}
