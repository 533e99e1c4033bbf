package tape

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// rules infers what may differ from the example.
func rules(example Exchange, group []Exchange) match.Rules {
	var inferred match.Rules
	var bodies []any
	for _, e := range group {
		if v, ok := document(e.Response); ok {
			bodies = append(bodies, v)
		}
	}
	if len(bodies) > 0 {
		inferred = infer(inferred, nil, bodies)
		inferred = freed(inferred, redactions(group))
		inferred = moments(inferred, example)
	}
	for name := range kept(example.Response.Header, answered) {
		inferred = inferHeader(inferred, name, example, group)
	}
	return inferred
}

// freed lets redacted values be anything of their type: the running side will
// answer with the real ones.
func freed(r match.Rules, places []string) match.Rules {
	for _, place := range places {
		rest, ok := strings.CutPrefix(place, "response.body")
		if !ok {
			continue
		}
		if path, err := match.ParsePath("$" + rest); err == nil {
			r = r.WithBody(path, match.Matcher{Kind: match.Type})
		}
	}
	return r
}

var digitRuns = regexp.MustCompile(`\d+`)

// inferHeader frees the digits of a header that varied, such as the id in a
// Location, or all of it if it varied otherwise.
func inferHeader(r match.Rules, name string, example Exchange, group []Exchange) match.Rules {
	first := get(example.Response.Header, name)
	pattern := "^" + digitRuns.ReplaceAllString(regexp.QuoteMeta(first), `\d+`) + "$"
	varied, digitsOnly := false, true
	compiled, err := regexp.Compile(pattern)
	for _, e := range group {
		value := get(e.Response.Header, name)
		varied = varied || value != first
		digitsOnly = digitsOnly && err == nil && compiled.MatchString(value)
	}
	switch {
	case !varied:
		return r
	case digitsOnly:
		return r.WithHeader(name, match.Must(match.Matcher{Kind: match.Regex, Value: pattern}))
	}
	return r.WithHeader(name, match.Matcher{Kind: match.Type})
}

// infer adds the rules for what varies among the samples of one place.
func infer(r match.Rules, path match.Path, samples []any) match.Rules {
	if !varies(samples) {
		return r
	}
	switch kindOf(samples) {
	case "object":
		for _, name := range members(samples) {
			r = infer(r, append(slices.Clone(path), match.Field(name)), member(samples, name))
		}
		return r
	case "array":
		elements := flatten(samples)
		if kindOf(elements) == "object" && !sameMembers(elements) || kindOf(elements) == "" {
			return r // no rule says: one of several shapes
		}
		r = r.WithBody(path, match.EachLike(least(samples)))
		return infer(r, append(slices.Clone(path), match.AnyIndex()), elements)
	case "":
		return r.WithBody(path, match.Matcher{Kind: match.Nullable})
	}
	return r.WithBody(path, form(path, samples))
}

func varies(samples []any) bool {
	first, _ := json.Marshal(samples[0])
	for _, s := range samples[1:] {
		if other, _ := json.Marshal(s); !bytes.Equal(first, other) {
			return true
		}
	}
	return false
}

// kindOf is the one kind of all samples, "" if they have several.
func kindOf(samples []any) string {
	if len(samples) == 0 {
		return ""
	}
	kind := match.KindOf(samples[0])
	for _, s := range samples[1:] {
		if match.KindOf(s) != kind {
			return ""
		}
	}
	return kind
}

func members(samples []any) []string {
	names := map[string]bool{}
	for _, s := range samples {
		for name := range s.(map[string]any) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func member(samples []any, name string) []any {
	var values []any
	for _, s := range samples {
		if v, ok := s.(map[string]any)[name]; ok {
			values = append(values, v)
		}
	}
	return values
}

func sameMembers(objects []any) bool {
	first := members(objects[:1])
	for i := range objects {
		if !slices.Equal(first, members(objects[i:i+1])) {
			return false
		}
	}
	return true
}

func flatten(arrays []any) []any {
	var elements []any
	for _, a := range arrays {
		elements = append(elements, a.([]any)...)
	}
	return elements
}

// least is 1, unless some sample shows that the array may be empty.
func least(arrays []any) int {
	for _, a := range arrays {
		if len(a.([]any)) == 0 {
			return 0
		}
	}
	return 1
}

// freeNumbers lets every number of an answer that no rule speaks of be another
// one.
func freeNumbers(i *contract.Interaction) {
	v, ok := document(Response{Header: i.Response.Header, Body: i.Response.Body})
	if !ok {
		return
	}
	i.Response.Rules = numbers(i.Response.Rules, nil, v)
}

func numbers(r match.Rules, path match.Path, v any) match.Rules {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			r = numbers(r, append(slices.Clone(path), match.Field(name)), v[name])
		}
	case []any:
		for n, element := range v {
			r = numbers(r, append(slices.Clone(path), match.Index(n)), element)
		}
	case json.Number:
		if r.For(path).Empty() {
			return r.WithBody(path, match.Matcher{Kind: match.Number})
		}
	}
	return r
}
