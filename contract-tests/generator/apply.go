package generator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// Message is the request that generators are applied to.
type Message struct {
	Method string
	Path   string // escaped as it is sent
	Query  map[string][]string
	Header map[string][]string
	Body   []byte
}

// Apply returns the request with what the generators make in place of the
// example's values; the message given is left as it is. A place that the
// request lacks is an error, as is a value that cannot be made: a request that
// is half an example proves nothing.
func (s Set) Apply(m Message, c Context) (Message, error) {
	var problems []error
	note := func(place string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("generator of request.%s: %w", place, err))
		}
	}
	if g, ok := s.single["method"]; ok {
		value, err := g.value(c)
		note("method", err)
		m.Method = strings.ToUpper(plainText(value))
	}
	if g, ok := s.single["path"]; ok {
		path, err := g.path(c)
		note("path", err)
		m.Path = path
	}
	m.Query = s.applyNamed("query", m.Query, c, note)
	m.Header = s.applyNamed("header", m.Header, c, note)
	if len(s.body) > 0 {
		body, err := s.applyBody(m, c)
		note("body", err)
		m.Body = body
	}
	return m, errors.Join(problems...)
}

// path fills a path. A value within it is one part of the path, so its slashes
// are escaped; one that is the whole path keeps them.
func (g Generator) path(c Context) (string, error) {
	if g.Kind == ProviderState && reference.FindString(g.Expression) != g.Expression && reference.MatchString(g.Expression) {
		return g.fill(c.Values, func(v any) string { return url.PathEscape(plainText(v)) })
	}
	value, err := g.value(c)
	if err != nil {
		return "", err
	}
	path := plainText(value)
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("made %q, which does not start with /", path)
	}
	return (&url.URL{Path: path}).EscapedPath(), nil
}

// applyNamed applies to headers or to a query.
func (s Set) applyNamed(category string, values map[string][]string, c Context, note func(string, error)) map[string][]string {
	if len(s.named[category]) == 0 {
		return values
	}
	changed := map[string][]string{}
	for name, list := range values {
		changed[name] = slices.Clone(list)
	}
	for _, one := range s.named[category] {
		list, ok := changed[one.name], false
		for name := range changed {
			if category == "header" && strings.EqualFold(name, one.name) || name == one.name {
				list, ok = changed[name], true
			}
		}
		if !ok || one.index >= len(list) {
			note(category+"."+one.key, errors.New("the example has no such value"))
			continue
		}
		for i := range list {
			if one.index >= 0 && one.index != i {
				continue
			}
			value, err := one.value(c)
			note(category+"."+one.key, err)
			list[i] = plainText(value)
		}
	}
	return changed
}

func (s Set) applyBody(m Message, c Context) ([]byte, error) {
	media := ""
	for name, values := range m.Header {
		if strings.EqualFold(name, "Content-Type") && len(values) > 0 {
			media, _, _ = strings.Cut(strings.ToLower(values[0]), ";")
			media = strings.TrimSpace(media)
		}
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		return s.applyForm(m.Body, c)
	case media == "", media == "application/json", strings.HasSuffix(media, "+json"):
		return s.applyJSON(m.Body, c)
	}
	return nil, fmt.Errorf("a body of type %s cannot be generated (accepted: JSON and forms)", media)
}

func (s Set) applyJSON(body []byte, c Context) ([]byte, error) {
	document, err := match.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("the example is not JSON: %w", err)
	}
	for _, one := range s.body {
		e := editor{generator: one.Generator, context: c}
		document = e.at(nil, one.path, document)
		if e.err == nil && e.made == 0 {
			e.err = errors.New("the example has no such place")
		}
		if e.err != nil {
			return nil, fmt.Errorf("%s: %w", one.path, e.err)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(document); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// editor puts values where a path leads.
type editor struct {
	generator Generator
	context   Context
	made      int
	err       error
}

// at returns the value that stands at a path, with what the rule's path leads
// to replaced.
func (e *editor) at(here, rule match.Path, value any) any {
	if len(here) == len(rule) {
		made, err := e.generator.value(e.context)
		if err != nil && e.err == nil {
			e.err = err
		}
		e.made++
		return made
	}
	step := func(s match.Step, below any) any {
		next := append(slices.Clone(here), s)
		if !rule[:len(next)].Covers(next) {
			return below
		}
		return e.at(next, rule, below)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			v[name] = step(match.Field(name), v[name])
		}
	case []any:
		for i := range v {
			v[i] = step(match.Index(i), v[i])
		}
	}
	return value
}

// applyForm applies to a form; paths are $.name or $.name[0].
func (s Set) applyForm(body []byte, c Context) ([]byte, error) {
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("the example is not a form: %w", err)
	}
	for _, one := range s.body {
		made := 0
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			for i := range fields[name] {
				whole, single := match.Path{match.Field(name)}, match.Path{match.Field(name), match.Index(i)}
				if !(len(one.path) == 1 && one.path.Covers(whole) || len(one.path) == 2 && one.path.Covers(single)) {
					continue
				}
				value, err := one.value(c)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", one.path, err)
				}
				fields[name][i] = plainText(value)
				made++
			}
		}
		if made == 0 {
			return nil, fmt.Errorf("%s: the example has no such field", one.path)
		}
	}
	return []byte(fields.Encode()), nil
}
