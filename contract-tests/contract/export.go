package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"stranglerfig/contract-tests/match"
)

// Export writes the contract for tools that know Pact's version 3 or 4 and
// nothing of ours. What they have no word for becomes the nearest that they
// have, or is left out; lost says what that is, a line for each.
//
// Version 4 is what [Contract.Write] writes, with matchers of ours replaced, and
// left in the comments where nothing comes near.
func (c Contract) Export(w io.Writer, version int) (lost []string, err error) {
	if version != 3 && version != 4 {
		return nil, fmt.Errorf("export: version %d (accepted: 3, 4)", version)
	}
	if problems := c.problems(); len(problems) > 0 {
		return nil, fmt.Errorf("export: %w", problems)
	}
	x := &export{version: version}
	f := file{Consumer: named{c.Consumer}, Provider: named{c.Provider}, Interactions: []json.RawMessage{}}
	f.Metadata.PactSpecification.Version = "4.0"
	if version == 3 {
		f.Metadata.PactSpecification.Version = "3.0.0"
	}
	for n, i := range c.Interactions {
		x.name = i.Name(n)
		raw, err := x.interaction(i)
		if err != nil {
			return nil, fmt.Errorf("export: interaction %s: %w", x.name, err)
		}
		f.Interactions = append(f.Interactions, raw)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return x.lost, nil
}

// export is an export under way.
type export struct {
	version int
	name    string // of the interaction
	lost    []string
}

func (x *export) lose(format string, args ...any) {
	x.lost = append(x.lost, "interaction "+x.name+": "+fmt.Sprintf(format, args...))
}

func (x *export) interaction(i Interaction) (json.RawMessage, error) {
	if len(i.Chain.Uses)+len(i.Chain.Returns) > 0 {
		x.lose("its chain is not followed: the example's values are sent")
	}
	var err error
	if i.Request.Rules, err = x.rules("request", i.Request.Rules, i.Request.Body); err != nil {
		return nil, err
	}
	if i.Response.Rules, err = x.rules("response", i.Response.Rules, i.Response.Body); err != nil {
		return nil, err
	}
	if x.version == 4 {
		if i.Key == "" {
			i.Key = i.deriveKey()
		}
		return i.marshal()
	}
	return x.version3(i)
}

// The types of version 3 are those of version 4 but for these.
type (
	message3 struct {
		Method     string              `json:"method,omitempty"`
		Path       string              `json:"path,omitempty"`
		Status     int                 `json:"status,omitempty"`
		Query      map[string][]string `json:"query,omitempty"`
		Headers    map[string]string   `json:"headers,omitempty"`
		Body       json.RawMessage     `json:"body,omitempty"`
		Rules      json.RawMessage     `json:"matchingRules,omitempty"`
		Generators json.RawMessage     `json:"generators,omitempty"`
	}
	interaction3 struct {
		Description string   `json:"description"`
		States      []State  `json:"providerStates,omitempty"`
		Request     message3 `json:"request"`
		Response    message3 `json:"response"`
	}
)

func (x *export) version3(i Interaction) (json.RawMessage, error) {
	if i.Pending {
		x.lose("version 3 knows no pending interactions: it is held against the provider")
	}
	out := interaction3{Description: i.Description, States: i.States}
	out.Request = message3{Method: i.Request.Method, Path: i.Request.Path, Query: i.Request.Query, Headers: x.headers("request", i.Request.Header), Body: x.body("request", i.Request.Body, i.Request.Header)}
	out.Response = message3{Status: i.Response.Status, Headers: x.headers("response", i.Response.Header), Body: x.body("response", i.Response.Body, i.Response.Header)}
	var err error
	if out.Request.Rules, err = marshalRules(i.Request.Rules); err != nil {
		return nil, err
	}
	if out.Response.Rules, err = marshalRules(i.Response.Rules); err != nil {
		return nil, err
	}
	if out.Request.Generators, err = marshalGenerators(i.Request.Generators); err != nil {
		return nil, err
	}
	if out.Response.Generators, err = marshalGenerators(i.Response.Generators); err != nil {
		return nil, err
	}
	return marshal(out)
}

// headers of version 3 have one text each.
func (x *export) headers(place string, header map[string][]string) map[string]string {
	var out map[string]string
	for name, values := range header {
		if out == nil {
			out = map[string]string{}
		}
		out[name] = strings.Join(values, ", ")
		if len(values) > 1 && strings.EqualFold(name, "Set-Cookie") {
			x.lose("%s.headers.%s: several values are one in version 3", place, name)
		}
	}
	return out
}

// body of version 3 is JSON or a text.
func (x *export) body(place string, body []byte, header map[string][]string) json.RawMessage {
	switch {
	case body == nil:
		return nil
	case len(body) == 0:
		return json.RawMessage("null")
	case isJSON(contentType(header)) && json.Valid(body):
		var text string
		if json.Unmarshal(body, &text) == nil {
			return quote(string(body)) // a JSON text within a text, see older
		}
		return compact(body)
	case !utf8.Valid(body):
		x.lose("%s.body: version 3 has no bytes that are no text: the body is left out", place)
		return nil
	case isJSON(contentType(header)):
		x.lose("%s.body: version 3 has no body that is not the JSON that it says to be: it is left out", place)
		return nil
	}
	return quote(string(body))
}

// rules replaces what the version does not know.
func (x *export) rules(place string, rules match.Rules, example []byte) (match.Rules, error) {
	data, err := json.Marshal(rules)
	if err != nil {
		return rules, err
	}
	var categories map[string]json.RawMessage
	if err := json.Unmarshal(data, &categories); err != nil {
		return rules, err
	}
	for _, category := range slices.Sorted(maps.Keys(categories)) {
		at := place + "." + category
		if category == "status" || category == "path" {
			if categories[category], err = x.list(at, categories[category], nil); err != nil {
				return rules, err
			}
			continue
		}
		var lists map[string]json.RawMessage
		if err := json.Unmarshal(categories[category], &lists); err != nil {
			return rules, err
		}
		for _, key := range slices.Sorted(maps.Keys(lists)) {
			var value any
			if category == "body" {
				value = exampleAt(example, key)
			}
			if lists[key], err = x.list(at+" "+key, lists[key], value); err != nil {
				return rules, err
			}
			if lists[key] == nil {
				delete(lists, key)
			}
		}
		if categories[category], err = json.Marshal(lists); err != nil {
			return rules, err
		}
	}
	maps.DeleteFunc(categories, func(_ string, list json.RawMessage) bool { return list == nil })
	if data, err = json.Marshal(categories); err != nil {
		return rules, err
	}
	var replaced match.Rules
	return replaced, json.Unmarshal(data, &replaced)
}

// list replaces the matchers of one place; nil if none is left.
func (x *export) list(place string, raw json.RawMessage, value any) (json.RawMessage, error) {
	var list match.List
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	list = x.nullable(place, list)
	var kept []match.Matcher
	for _, m := range list.Matchers {
		near, ok, why := nearest(m, x.version, value)
		if why != "" {
			x.lose("%s: %s: %s", place, m.Kind, why)
		}
		if ok {
			kept = append(kept, near)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	list.Matchers = kept
	return json.Marshal(list)
}

// nullable is "null, or what the others say". Pact combines by one word only, so
// that more than one other is lost.
func (x *export) nullable(place string, list match.List) match.List {
	var others []match.Matcher
	for _, m := range list.Matchers {
		if m.Kind != match.Nullable {
			others = append(others, m)
		}
	}
	switch {
	case len(others) == len(list.Matchers):
		return list
	case len(others) == 0:
		others = []match.Matcher{{Kind: match.Type}}
	case len(others) > 1 && !list.Any:
		x.lose("%s: nullable beside several others: null or the example's type", place)
		others = []match.Matcher{{Kind: match.Type}}
	}
	return match.List{Any: true, Matchers: append([]match.Matcher{{Kind: match.Null}}, others...)}
}
