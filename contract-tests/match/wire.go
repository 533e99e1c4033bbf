package match

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

type wireList struct {
	Combine  string    `json:"combine,omitempty"`
	Matchers []Matcher `json:"matchers"`
}

// MarshalJSON writes a list as {"combine":"AND","matchers":[…]}.
func (l List) MarshalJSON() ([]byte, error) {
	combine := "AND"
	if l.Any {
		combine = "OR"
	}
	return json.Marshal(wireList{Combine: combine, Matchers: l.Matchers})
}

// UnmarshalJSON reads such a list, or the single matcher of Pact version 2.
func (l *List) UnmarshalJSON(data []byte) error {
	var shape map[string]json.RawMessage
	if err := json.Unmarshal(data, &shape); err != nil {
		return fmt.Errorf("matchers: %w", err)
	}
	if _, ok := shape["matchers"]; !ok {
		var m Matcher
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		*l = List{Matchers: []Matcher{m}}
		return nil
	}
	var w wireList
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	switch strings.ToUpper(w.Combine) {
	case "", "AND", "OR":
	default:
		return fmt.Errorf("combine %q is unknown (accepted: AND, OR)", w.Combine)
	}
	*l = List{Any: strings.EqualFold(w.Combine, "OR"), Matchers: w.Matchers}
	return nil
}

// MarshalJSON writes the rules as the matchingRules of Pact version 4.
func (r Rules) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	if len(r.body) > 0 {
		body := map[string]List{}
		for _, rule := range r.body {
			body[rule.Path.String()] = rule.List
		}
		out["body"] = body
	}
	if len(r.header) > 0 {
		header := map[string]List{}
		for name, list := range r.header {
			header[canonical(name)] = list
		}
		out["header"] = header
	}
	for name, lists := range map[string]map[string]List{"query": r.query, "metadata": r.metadata} {
		if len(lists) > 0 {
			out[name] = lists
		}
	}
	for name, list := range map[string]List{"status": r.status, "path": r.path} {
		if !list.Empty() {
			out[name] = list
		}
	}
	return json.Marshal(out)
}

// canonical writes a header's name the usual way.
func canonical(name string) string {
	parts := strings.Split(name, "-")
	for i, p := range parts {
		if p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "-")
}

// UnmarshalJSON reads the matchingRules of a request, an answer or a message,
// of Pact version 2 ("$.body.a": {…}) as well as 3 and 4 ("body": {"$.a": {…}}).
// The error joins all problems, each with its path.
func (r *Rules) UnmarshalJSON(data []byte) error {
	var categories map[string]json.RawMessage
	if err := json.Unmarshal(data, &categories); err != nil {
		return fmt.Errorf("matchingRules: %w", err)
	}
	categories = fromVersion2(categories)
	var read Rules
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(categories)) {
		if err := read.readCategory(name, categories[name]); err != nil {
			problems = append(problems, err)
		}
	}
	*r = read.noted()
	return errors.Join(problems...)
}

func (r *Rules) readCategory(name string, data json.RawMessage) (err error) {
	switch name {
	case "status":
		r.status, err = readList(name, data)
	case "path":
		r.path, err = readList(name, data)
	case "header", "headers":
		r.header, err = readNamed(name, data, strings.ToLower)
	case "query":
		r.query, err = readNamed(name, data, strings.Clone)
	case "metadata", "metaData":
		r.metadata, err = readNamed(name, data, strings.Clone)
	case "body", "content", "contents":
		var lists map[string]json.RawMessage
		if err := json.Unmarshal(data, &lists); err != nil {
			return fmt.Errorf("matchingRules.%s: %w", name, err)
		}
		rules, err := parseLists(lists)
		*r = r.withBody(rules)
		return err
	case "method":
		list, err := readList(name, data)
		if err == nil && !list.Empty() {
			err = errors.New("matchingRules.method: a method has no rules: it is compared without regard to case")
		}
		return err
	default:
		err = fmt.Errorf("matchingRules.%s: unknown category (accepted: body, header, metadata, path, query, status)", name)
	}
	return err
}

// readList reads the rules of a place that is one value: bare, or under the
// path of the value itself.
func readList(category string, data json.RawMessage) (list List, err error) {
	var shape map[string]json.RawMessage
	if err := json.Unmarshal(data, &shape); err != nil {
		return list, fmt.Errorf("matchingRules.%s: %w", category, err)
	}
	for _, self := range []string{"$", ""} {
		if under, ok := shape[self]; ok {
			data = under
			break
		}
	}
	if len(shape) == 0 {
		return list, nil
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return list, fmt.Errorf("matchingRules.%s: %w", category, err)
	}
	return list, nil
}

// readNamed reads the rules of values that have names. In these categories a
// name is not a path, though some tools write it as one.
func readNamed(category string, data json.RawMessage, spell func(string) string) (map[string]List, error) {
	var lists map[string]json.RawMessage
	if err := json.Unmarshal(data, &lists); err != nil {
		return nil, fmt.Errorf("matchingRules.%s: %w", category, err)
	}
	read := map[string]List{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		var list List
		if err := json.Unmarshal(lists[name], &list); err != nil {
			problems = append(problems, fmt.Errorf("matchingRules.%s[%q]: %w", category, name, err))
			continue
		}
		read[spell(plainName(name))] = list
	}
	return read, errors.Join(problems...)
}

// plainName is the name in a key: X-Tag of X-Tag, $.X-Tag, $['X-Tag'],
// X-Tag[0] and X-Tag[*]. The values of one name share its rules. A parameter may
// be called tag[], which is no index.
func plainName(key string) string {
	if strings.HasPrefix(key, "$.") || strings.HasPrefix(key, "$[") {
		if path, err := ParsePath(key); err == nil && path[0].kind == field {
			return path[0].name
		}
	}
	name, rest, indexed := strings.Cut(key, "[")
	if indexed && (rest == "*]" || len(rest) > 1 && strings.Trim(rest, "0123456789") == "]") {
		return name
	}
	return key
}

// parseLists reads lists by path, telling all problems at once.
func parseLists(lists map[string]json.RawMessage) ([]Rule, error) {
	var rules []Rule
	var problems []error
	for _, text := range slices.Sorted(maps.Keys(lists)) {
		path, err := ParsePath(text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		var list List
		if err := json.Unmarshal(lists[text], &list); err != nil {
			problems = append(problems, fmt.Errorf("rule %s: %w", text, err))
			continue
		}
		rules = append(rules, Rule{Path: path, List: list})
	}
	return rules, errors.Join(problems...)
}

// fromVersion2 sorts the flat keys of Pact version 2 into categories.
func fromVersion2(flat map[string]json.RawMessage) map[string]json.RawMessage {
	categories := map[string]json.RawMessage{}
	sorted := map[string]map[string]json.RawMessage{}
	for key, rule := range flat {
		category, path, ok := version2Key(key)
		if !ok {
			categories[key] = rule
			continue
		}
		if sorted[category] == nil {
			sorted[category] = map[string]json.RawMessage{}
		}
		sorted[category][path] = rule
	}
	for category, lists := range sorted {
		// Marshalling raw messages that were just decoded cannot fail.
		categories[category], _ = json.Marshal(lists)
	}
	return categories
}

// version2Key takes a key such as $.body.a or $.headers['X-Id'] apart.
func version2Key(key string) (category, path string, ok bool) {
	for _, c := range []struct{ prefix, category string }{
		{"$.body", "body"}, {"$.headers", "header"}, {"$.header", "header"}, {"$.query", "query"},
		{"$.path", "path"}, {"$.status", "status"}, {"$.metaData", "metadata"}, {"$.metadata", "metadata"},
	} {
		rest, found := strings.CutPrefix(key, c.prefix)
		if found && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return c.category, "$" + rest, true
		}
	}
	return "", "", false
}
