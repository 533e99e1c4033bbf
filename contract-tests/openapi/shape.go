package openapi

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"stranglerfig/contract-tests/match"
)

// shape is what values at one place have in common.
type shape struct {
	seen     int // values
	nulls    int
	integers int
	decimals int
	booleans int
	texts    int
	words    map[string]int // distinct texts and how often, up to one more than fewWords
	formats  []match.Format // that all texts have; nil before the first
	objects  int
	members  map[string]*shape
	arrays   int
	elements *shape
	nullable bool // a rule says so
}

// The bounds of an enumeration: at most so many words, each seen so often on
// average. Fewer samples would take what happened to come for all there is.
const (
	fewWords   = 8
	oftenWords = 5
)

// see adds a value, decoded with numbers as they are written.
func (s *shape) see(v any) {
	s.seen++
	switch v := v.(type) {
	case nil:
		s.nulls++
	case bool:
		s.booleans++
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			s.decimals++
		} else {
			s.integers++
		}
	case string:
		s.text(v)
	case []any:
		s.arrays++
		if s.elements == nil {
			s.elements = &shape{}
		}
		for _, element := range v {
			s.elements.see(element)
		}
	case map[string]any:
		s.objects++
		if s.members == nil {
			s.members = map[string]*shape{}
		}
		for name, value := range v {
			if s.members[name] == nil {
				s.members[name] = &shape{}
			}
			s.members[name].see(value)
		}
	}
}

func (s *shape) text(v string) {
	s.texts++
	if s.words == nil {
		s.words = map[string]int{}
	}
	if _, known := s.words[v]; known || len(s.words) <= fewWords {
		s.words[v]++
	}
	have := match.FormatsOf(v)
	if s.texts == 1 {
		s.formats = have
		return
	}
	s.formats = slices.DeleteFunc(slices.Clone(s.formats), func(f match.Format) bool { return !slices.Contains(have, f) })
}

// seeText adds a value that came as a text, such as a parameter's: a number if
// it reads as one.
func (s *shape) seeText(v string) {
	switch {
	case match.Whole.Has(v) && len(v) < 16, match.Numeral.Has(v) && len(v) < 16:
		s.see(json.Number(v))
	case v == "true", v == "false":
		s.see(v == "true")
	default:
		s.see(v)
	}
}

// named are the formats that OpenAPI has a name for. The others are forms that
// a text may happen to have.
var named = map[match.Format]string{match.UUID: "uuid", match.RFC3339: "date-time", match.Day: "date", match.Mail: "email", match.Link: "uri"}

// schema describes the values. What was seen of several kinds may be any of
// them.
func (s *shape) schema() *openapi3.Schema {
	var kinds []*openapi3.Schema
	if s.objects > 0 {
		kinds = append(kinds, s.object())
	}
	if s.arrays > 0 {
		items := &openapi3.Schema{}
		if s.elements.seen > 0 {
			items = s.elements.schema()
		}
		kinds = append(kinds, &openapi3.Schema{Type: &openapi3.Types{"array"}, Items: items.NewRef()})
	}
	if s.texts > 0 {
		kinds = append(kinds, s.string())
	}
	switch {
	case s.decimals > 0:
		kinds = append(kinds, &openapi3.Schema{Type: &openapi3.Types{"number"}})
	case s.integers > 0:
		kinds = append(kinds, &openapi3.Schema{Type: &openapi3.Types{"integer"}})
	}
	if s.booleans > 0 {
		kinds = append(kinds, &openapi3.Schema{Type: &openapi3.Types{"boolean"}})
	}
	nullable := s.nulls > 0 || s.nullable
	switch len(kinds) {
	case 0:
		return &openapi3.Schema{Nullable: nullable}
	case 1:
		kinds[0].Nullable = nullable
		return kinds[0]
	}
	any := &openapi3.Schema{Nullable: nullable}
	for _, k := range kinds {
		k.Nullable = nullable
		any.AnyOf = append(any.AnyOf, k.NewRef())
	}
	return any
}

// parameter describes values that come as texts: of several kinds they have
// only that in common.
func (s *shape) parameter() *openapi3.Schema {
	schema := s.schema()
	if len(schema.AnyOf) > 0 {
		return &openapi3.Schema{Type: &openapi3.Types{"string"}}
	}
	return schema
}

func (s *shape) string() *openapi3.Schema {
	schema := &openapi3.Schema{Type: &openapi3.Types{"string"}}
	for _, f := range s.formats {
		if name, ok := named[f]; ok {
			schema.Format = name
			return schema
		}
	}
	if len(s.words) <= fewWords && s.texts >= oftenWords*len(s.words) && len(s.words) > 1 {
		for _, word := range slices.Sorted(maps.Keys(s.words)) {
			schema.Enum = append(schema.Enum, word)
		}
		if s.nulls > 0 || s.nullable {
			schema.Enum = append(schema.Enum, nil)
		}
	}
	return schema
}

// identifiers are what members of an object are called that is a map.
var identifiers = regexp.MustCompile(`^(?:\d+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27})$`)

// object describes objects: members that all have are required. One whose
// members are all named by identifiers is a map.
func (s *shape) object() *openapi3.Schema {
	schema := &openapi3.Schema{Type: &openapi3.Types{"object"}}
	values := &shape{}
	isMap := len(s.members) > 0
	for name := range s.members {
		isMap = isMap && identifiers.MatchString(name)
	}
	if isMap {
		for _, m := range s.members {
			values.join(m)
		}
		schema.AdditionalProperties = openapi3.AdditionalProperties{Schema: values.schema().NewRef()}
		return schema
	}
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		m := s.members[name]
		if schema.Properties == nil {
			schema.Properties = openapi3.Schemas{}
		}
		schema.Properties[name] = m.schema().NewRef()
		if m.seen == s.objects {
			schema.Required = append(schema.Required, name)
		}
	}
	return schema
}

// join adds what another shape has seen.
func (s *shape) join(o *shape) {
	first := s.texts == 0
	s.seen, s.nulls, s.integers, s.decimals = s.seen+o.seen, s.nulls+o.nulls, s.integers+o.integers, s.decimals+o.decimals
	s.booleans, s.texts, s.objects, s.arrays = s.booleans+o.booleans, s.texts+o.texts, s.objects+o.objects, s.arrays+o.arrays
	s.nullable = s.nullable || o.nullable
	for word, n := range o.words {
		if s.words == nil {
			s.words = map[string]int{}
		}
		if _, known := s.words[word]; known || len(s.words) <= fewWords {
			s.words[word] += n
		}
	}
	switch {
	case o.texts == 0:
	case first:
		s.formats = o.formats
	default:
		s.formats = slices.DeleteFunc(slices.Clone(s.formats), func(f match.Format) bool { return !slices.Contains(o.formats, f) })
	}
	for name, m := range o.members {
		if s.members == nil {
			s.members = map[string]*shape{}
		}
		if s.members[name] == nil {
			s.members[name] = &shape{}
		}
		s.members[name].join(m)
	}
	if o.elements != nil {
		if s.elements == nil {
			s.elements = &shape{}
		}
		s.elements.join(o.elements)
	}
}

// allow notes which places may be null by the rules of a contract.
func (s *shape) allow(path match.Path, rules match.Rules) {
	if rules.For(path).Has(match.Nullable) {
		s.nullable = true
	}
	for name, m := range s.members {
		m.allow(append(slices.Clone(path), match.Field(name)), rules)
	}
	if s.elements != nil {
		s.elements.allow(append(slices.Clone(path), match.Index(0)), rules)
	}
}
