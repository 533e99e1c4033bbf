package match

import (
	"encoding/json"
	"fmt"
	"strings"
)

// wire is a matcher's form in JSON.
type wire struct {
	Match     string          `json:"match,omitempty"`
	Regex     string          `json:"regex,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	Format    string          `json:"format,omitempty"`
	Date      string          `json:"date,omitempty"`
	Time      string          `json:"time,omitempty"`
	DateTime  string          `json:"datetime,omitempty"`
	Timestamp string          `json:"timestamp,omitempty"`
	Min       *int            `json:"min,omitempty"`
	Max       *int            `json:"max,omitempty"`
	Tolerance *float64        `json:"tolerance,omitempty"`
	Status    json.RawMessage `json:"status,omitempty"`
	Rules     []Matcher       `json:"rules,omitempty"`
	Variants  []wireVariant   `json:"variants,omitempty"`
	Formats   []Format        `json:"formats,omitempty"`
	Scope     string          `json:"scope,omitempty"`
}

type wireVariant struct {
	Index int                        `json:"index"`
	Rules map[string]json.RawMessage `json:"rules"`
}

// UnmarshalJSON reads a matcher of any Pact version. A matcher without a name
// that has min, max or regex is what version 2 makes of it.
func (m *Matcher) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("matcher: %w", err)
	}
	read := Matcher{Kind: w.kind(), Min: w.Min, Max: w.Max, Rules: w.Rules, Formats: w.Formats, Scope: w.Scope}
	if read.Kind == "" {
		return fmt.Errorf("a matcher has no \"match\" (accepted: %s)", joinKinds())
	}
	read.Value = w.text(read.Kind)
	if w.Tolerance != nil {
		read.Within = *w.Tolerance
	}
	if len(w.Status) > 0 && json.Unmarshal(w.Status, &read.Class) != nil {
		if err := json.Unmarshal(w.Status, &read.Codes); err != nil {
			return fmt.Errorf("matcher statusCode: status must be a name or a list of codes: %w", err)
		}
	}
	for _, v := range w.Variants {
		rules, err := parseLists(v.Rules)
		if err != nil {
			return fmt.Errorf("matcher arrayContains: variant %d: %w", v.Index, err)
		}
		read.Variants = append(read.Variants, Variant{Index: v.Index, Rules: Rules{}.withBody(rules)})
	}
	complete, err := New(read)
	if err != nil {
		return err
	}
	*m = complete
	return nil
}

// kind resolves what the versions of Pact call the same thing.
func (w wire) kind() Kind {
	switch {
	case w.Match != "":
		return kindNamed(w.Match)
	case w.Regex != "":
		return Regex
	case w.Min != nil || w.Max != nil:
		return Type
	}
	return ""
}

// text finds the matcher's parameter under the name its kind uses.
func (w wire) text(k Kind) string {
	switch k {
	case Regex, ID:
		return w.Regex
	case Date, Time, DateTime:
		for _, s := range []string{w.Format, w.DateTime, w.Timestamp, w.Date, w.Time} {
			if s != "" {
				return s
			}
		}
		return ""
	}
	var s string
	if json.Unmarshal(w.Value, &s) != nil {
		return strings.TrimSpace(string(w.Value))
	}
	return s
}

// MarshalJSON writes the matcher in the form of Pact version 4.
func (m Matcher) MarshalJSON() ([]byte, error) {
	w := wire{Match: string(m.Kind), Min: m.Min, Max: m.Max, Rules: m.Rules, Formats: m.Formats, Scope: m.Scope}
	switch m.Kind {
	case Regex, ID:
		w.Regex = m.Value
	case Date, Time, DateTime:
		w.Format = m.Value
	case Include, ContentType:
		w.Value, _ = json.Marshal(m.Value)
	case Tolerance, Moment:
		w.Tolerance = &m.Within
	case StatusCode:
		if m.Class != "" {
			w.Status, _ = json.Marshal(m.Class)
		} else {
			w.Status, _ = json.Marshal(m.Codes)
		}
	}
	for _, v := range m.Variants {
		rules := map[string]json.RawMessage{}
		for _, r := range v.Rules.body {
			data, err := json.Marshal(r.List)
			if err != nil {
				return nil, err
			}
			rules[r.Path.String()] = data
		}
		w.Variants = append(w.Variants, wireVariant{Index: v.Index, Rules: rules})
	}
	return json.Marshal(w)
}
