package openapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"stranglerfig/contract-tests/match"
)

// rulesOf says how an answer may differ from its example, by its schema. It
// goes where the example goes, so that a schema that refers to itself ends.
func rulesOf(schema *openapi3.Schema, example []byte) match.Rules {
	value, err := match.Decode(example)
	if err != nil {
		return match.Rules{}
	}
	w := &widening{}
	w.at(match.Path{}, schema, value)
	return w.rules
}

type widening struct{ rules match.Rules }

func (w *widening) at(path match.Path, s *openapi3.Schema, value any) {
	if s == nil {
		return
	}
	if len(s.AllOf) > 0 {
		s = joined(s)
	}
	matchers := matchersOf(s, value)
	switch v := value.(type) {
	case map[string]any:
		for name, below := range v {
			if p := s.Properties[name]; p != nil {
				w.at(append(slices.Clone(path), match.Field(name)), p.Value, below)
			}
		}
	case []any:
		// The first element stands for all, as it does for a list of any length.
		if len(v) > 0 && s.Items != nil {
			w.at(append(slices.Clone(path), match.AnyIndex()), s.Items.Value, v[0])
		}
	}
	if len(matchers) > 0 {
		w.rules = w.rules.WithBody(path, matchers...)
	}
}

// joined is a schema with what all of its parts say about members.
func joined(s *openapi3.Schema) *openapi3.Schema {
	all := *s
	all.Properties = openapi3.Schemas{}
	for _, part := range append(slices.Clone(s.AllOf), &openapi3.SchemaRef{Value: &openapi3.Schema{Properties: s.Properties}}) {
		if part.Value == nil {
			continue
		}
		below := part.Value
		if len(below.AllOf) > 0 {
			below = joined(below)
		}
		for name, p := range below.Properties {
			all.Properties[name] = p
		}
		if all.Type == nil {
			all.Type = below.Type
		}
	}
	all.AllOf = nil
	return &all
}

// matchersOf are the matchers of one value.
func matchersOf(s *openapi3.Schema, value any) []match.Matcher {
	nullable := s.Nullable || s.Type.Includes("null")
	var m match.Matcher
	switch v := value.(type) {
	case map[string]any:
		if nullable {
			return []match.Matcher{{Kind: match.Nullable}}
		}
		return nil
	case []any:
		m = match.Matcher{Kind: match.Type}
		if s.MinItems > 0 {
			least := int(s.MinItems)
			m.Min = &least
		}
		if s.MaxItems != nil {
			most := int(*s.MaxItems)
			m.Max = &most
		}
	case string:
		m = matcherOfText(s, v)
	case json.Number:
		m = match.Matcher{Kind: match.Number}
		if s.Type.Includes("integer") && !s.Type.Includes("number") {
			m.Kind = match.Integer
		}
	default:
		m = match.Matcher{Kind: match.Type}
	}
	if value == nil {
		return []match.Matcher{{Kind: match.Nullable}}
	}
	if nullable {
		return []match.Matcher{m, {Kind: match.Nullable}}
	}
	return []match.Matcher{m}
}

// formats are those of OpenAPI that have a matcher.
var formats = map[string]match.Format{
	"date-time": match.RFC3339, "date": match.Day, "uuid": match.UUID, "email": match.Mail, "uri": match.Link, "ipv4": match.Address, "ipv6": match.Address,
}

// matcherOfText is the narrowest that the schema allows, and the example obeys:
// an example that breaks its own schema is told elsewhere.
func matcherOfText(s *openapi3.Schema, example string) match.Matcher {
	var candidates []match.Matcher
	if len(s.Enum) > 0 {
		var words []string
		for _, v := range s.Enum {
			words = append(words, regexp.QuoteMeta(fmt.Sprint(v)))
		}
		candidates = append(candidates, match.Matcher{Kind: match.Regex, Value: strings.Join(words, "|")})
	}
	if f, ok := formats[s.Format]; ok {
		candidates = append(candidates, match.Matcher{Kind: match.OneOfFormats, Formats: []match.Format{f}})
	}
	if s.Pattern != "" {
		// OpenAPI looks for the pattern anywhere, a matcher of contracts at all.
		candidates = append(candidates, match.Matcher{Kind: match.Regex, Value: `[\s\S]*(?:` + s.Pattern + `)[\s\S]*`})
	}
	for _, c := range candidates {
		if m, err := match.New(c); err == nil && m.Match(example, example) == nil {
			return m
		}
	}
	return match.Matcher{Kind: match.Type}
}
