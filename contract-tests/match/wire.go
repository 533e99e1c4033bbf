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

// MarshalJSON writes the rules as the matchingRules of a Pact version 4
// response.
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
	if len(r.status.Matchers) > 0 {
		out["status"] = r.status
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

// UnmarshalJSON reads the matchingRules of a response, of Pact version 2
// ("$.body.a": {…}) as well as 3 and 4 ("body": {"$.a": {…}}). The error joins
// all problems, each with its path.
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
	*r = read
	return errors.Join(problems...)
}

func (r *Rules) readCategory(name string, data json.RawMessage) error {
	switch name {
	case "status":
		return r.readStatus(data)
	case "header", "headers":
		return r.readHeader(data)
	case "body":
		var lists map[string]json.RawMessage
		if err := json.Unmarshal(data, &lists); err != nil {
			return fmt.Errorf("matchingRules.body: %w", err)
		}
		rules, err := parseLists(lists)
		parsed := newRules(rules)
		r.body, r.absent = parsed.body, parsed.absent
		return err
	case "path", "query", "method", "metadata", "content":
		return nil // of requests and messages, which are not answers
	}
	return fmt.Errorf("matchingRules.%s: unknown category (accepted: body, header, status)", name)
}

func (r *Rules) readStatus(data json.RawMessage) error {
	var shape map[string]json.RawMessage
	if err := json.Unmarshal(data, &shape); err != nil {
		return fmt.Errorf("matchingRules.status: %w", err)
	}
	if list, ok := shape["$"]; ok {
		data = list
	} else if list, ok := shape[""]; ok {
		data = list
	}
	if len(shape) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, &r.status); err != nil {
		return fmt.Errorf("matchingRules.status: %w", err)
	}
	return nil
}

func (r *Rules) readHeader(data json.RawMessage) error {
	var lists map[string]json.RawMessage
	if err := json.Unmarshal(data, &lists); err != nil {
		return fmt.Errorf("matchingRules.header: %w", err)
	}
	r.header = map[string]List{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		var list List
		if err := json.Unmarshal(lists[name], &list); err != nil {
			problems = append(problems, fmt.Errorf("matchingRules.header[%q]: %w", name, err))
			continue
		}
		// X-Tag[0] and X-Tag[*] address values of a header; they share its rules.
		plain, _, _ := strings.Cut(name, "[")
		r.header[strings.ToLower(plain)] = list
	}
	return errors.Join(problems...)
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

func version2Key(key string) (category, path string, ok bool) {
	if rest, found := strings.CutPrefix(key, "$.body"); found {
		return "body", "$" + rest, true
	}
	for _, prefix := range []string{"$.headers", "$.header"} {
		if rest, found := strings.CutPrefix(key, prefix); found {
			return "header", strings.Trim(rest, ".[]'\""), true
		}
	}
	if key == "$.status" {
		return "status", "$", true
	}
	if strings.HasPrefix(key, "$.path") || strings.HasPrefix(key, "$.query") {
		return "path", key, true
	}
	return "", "", false
}
