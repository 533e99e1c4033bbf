// Package generator makes the values of a request that an example cannot know:
// random ones, the present time, and what a provider state answered.
//
// The semantics are Pact's (specification versions 3 and 4), in provider mode:
// a [Set] is read from the generators of a request and applied to it by
// [Set.Apply] just before it is sent. What a generator needs of the world is in
// its [Context], so that the same context gives the same request.
//
// A generator that could never work is refused when it is read. The package
// does no I/O.
package generator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// Kind names a generator as Pact files do.
type Kind string

// The generators.
const (
	RandomInt         Kind = "RandomInt"
	RandomDecimal     Kind = "RandomDecimal"
	RandomHexadecimal Kind = "RandomHexadecimal"
	RandomString      Kind = "RandomString"
	RandomBoolean     Kind = "RandomBoolean"
	Regex             Kind = "Regex"
	UUID              Kind = "Uuid"
	Date              Kind = "Date"
	Time              Kind = "Time"
	DateTime          Kind = "DateTime"
	ProviderState     Kind = "ProviderState"
	MockServerURL     Kind = "MockServerURL"
)

// Kinds lists every generator there is, for error messages.
func Kinds() []Kind {
	return []Kind{RandomInt, RandomDecimal, RandomHexadecimal, RandomString, RandomBoolean, Regex, UUID,
		Date, Time, DateTime, ProviderState, MockServerURL}
}

// Generator makes one value. Which fields count depends on the kind.
type Generator struct {
	Kind       Kind   `json:"type"`
	Min        *int   `json:"min,omitempty"`        // RandomInt, inclusive; 0 if nil
	Max        *int   `json:"max,omitempty"`        // RandomInt, inclusive; 2147483647 if nil
	Digits     *int   `json:"digits,omitempty"`     // RandomDecimal and RandomHexadecimal; 10 if nil
	Size       *int   `json:"size,omitempty"`       // RandomString; 10 if nil
	Regex      string `json:"regex,omitempty"`      // Regex; of MockServerURL the part of Example to keep is its first group
	Format     string `json:"format,omitempty"`     // Date, Time, DateTime: a Java pattern; Uuid: its form
	Expression string `json:"expression,omitempty"` // ProviderState: a text with ${name}; Date and the like: a moment, such as "tomorrow + 2 hours"
	DataType   string `json:"dataType,omitempty"`   // ProviderState: what to make of the value; RAW if empty
	Example    string `json:"example,omitempty"`    // MockServerURL
}

// Set is the generators of one message. The zero value has none.
type Set struct {
	single map[string]Generator  // method, path, status
	named  map[string][]namedOne // header, query: by name
	body   []placed              // in the order of their paths
}

// namedOne is the generator of a header or a query parameter.
type namedOne struct {
	key   string // as the file has it
	name  string
	index int // of the value, -1 for all
	Generator
}

// placed is the generator of what stands at a path of the body.
type placed struct {
	path match.Path
	Generator
}

// Empty reports whether there is no generator at all.
func (s Set) Empty() bool { return len(s.single)+len(s.named)+len(s.body) == 0 }

// UnmarshalJSON reads the generators of a request or a response. The error
// joins all problems, each with its place.
func (s *Set) UnmarshalJSON(data []byte) error {
	var categories map[string]json.RawMessage
	if err := json.Unmarshal(data, &categories); err != nil {
		return fmt.Errorf("generators: %w", err)
	}
	read := Set{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(categories)) {
		problems = append(problems, read.category(name, categories[name]))
	}
	*s = read
	return errors.Join(problems...)
}

func (s *Set) category(name string, data json.RawMessage) error {
	switch name {
	case "method", "path", "status":
		return s.readSingle(name, data)
	case "header", "headers", "query":
		return s.readNamed(strings.TrimSuffix(name, "s"), data)
	case "body":
		return s.readBody(data)
	}
	return fmt.Errorf("generators.%s: unknown category (accepted: method, path, query, header, status, body)", name)
}

// readSingle reads a generator that stands alone, or, as some writers have it,
// under a key that says nothing.
func (s *Set) readSingle(category string, data json.RawMessage) error {
	g, err := read(data)
	if err != nil {
		var keyed map[string]json.RawMessage
		if json.Unmarshal(data, &keyed) == nil && len(keyed) == 1 && keyed["type"] == nil {
			for _, inner := range keyed {
				g, err = read(inner)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("generators.%s: %w", category, err)
	}
	if s.single == nil {
		s.single = map[string]Generator{}
	}
	s.single[category] = g
	return nil
}

func (s *Set) readNamed(category string, data json.RawMessage) error {
	var list map[string]json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("generators.%s: %w", category, err)
	}
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(list)) {
		g, err := read(list[key])
		if err != nil {
			problems = append(problems, fmt.Errorf("generators.%s.%s: %w", category, key, err))
			continue
		}
		if s.named == nil {
			s.named = map[string][]namedOne{}
		}
		name, index := splitIndex(key)
		s.named[category] = append(s.named[category], namedOne{key, name, index, g})
	}
	return errors.Join(problems...)
}

// splitIndex takes apart what names a value: name, name[2], name[*], or a path
// such as $.name[2] and $['name'].
func splitIndex(key string) (name string, index int) {
	key = strings.TrimSuffix(key, "[*]")
	if path, err := match.ParsePath(key); err == nil {
		if name, index, ok := split(path); ok {
			return name, index
		}
	}
	open := strings.LastIndexByte(key, '[')
	if open > 0 && strings.HasSuffix(key, "]") {
		if _, err := fmt.Sscanf(key[open:], "[%d]", &index); err == nil && index >= 0 {
			return key[:open], index
		}
	}
	return key, -1
}

// split takes apart a path that names a value, or one of its values.
func split(path match.Path) (name string, index int, ok bool) {
	keys, exact := path.Keys()
	if !exact || len(keys) < 1 || len(keys) > 2 {
		return "", 0, false
	}
	if name, ok = keys[0].(string); !ok || len(keys) == 1 {
		return name, -1, ok
	}
	index, ok = keys[1].(int)
	return name, index, ok
}

func (s *Set) readBody(data json.RawMessage) error {
	var list map[string]json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("generators.body: %w", err)
	}
	var problems []error
	for _, text := range slices.Sorted(maps.Keys(list)) {
		path, err := match.ParsePath(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("generators.body: %w", err))
			continue
		}
		g, err := read(list[text])
		if err != nil {
			problems = append(problems, fmt.Errorf("generators.body.%s: %w", text, err))
			continue
		}
		s.body = append(s.body, placed{path, g})
	}
	return errors.Join(problems...)
}

// read reads one generator and refuses what could never work.
func read(data json.RawMessage) (Generator, error) {
	var g Generator
	if err := json.Unmarshal(data, &g); err != nil {
		return g, err
	}
	return g, g.check()
}

// MarshalJSON writes the generators as a Pact file has them.
func (s Set) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	for category, g := range s.single {
		out[category] = g
	}
	for category, list := range s.named {
		keyed := map[string]Generator{}
		for _, one := range list {
			keyed[one.key] = one.Generator
		}
		out[category] = keyed
	}
	if len(s.body) > 0 {
		keyed := map[string]Generator{}
		for _, one := range s.body {
			keyed[one.path.String()] = one.Generator
		}
		out["body"] = keyed
	}
	return json.Marshal(out)
}
