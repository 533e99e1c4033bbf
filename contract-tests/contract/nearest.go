package contract

import (
	"maps"
	"slices"

	"stranglerfig/contract-tests/match"
)

// later are the matchers that version 3 of Pact does not have.
var later = []match.Kind{match.NotEmpty, match.SemVer, match.EachKey, match.EachValue, match.StatusCode, match.ArrayContains}

// nearest is what a version of Pact has for a matcher, and what is lost by it;
// false if there is nothing.
func nearest(m match.Matcher, version int, example any) (near match.Matcher, ok bool, lost string) {
	switch m.Kind {
	case match.Unordered:
		near = match.Matcher{Kind: match.Type}
		if list, is := example.([]any); is {
			n := len(list)
			near.Min, near.Max = &n, &n
		}
		return near, true, "as many elements as the example has, of the type of its first"
	case match.Tolerance:
		return match.Matcher{Kind: match.Number}, true, "any number"
	case match.Absent:
		// Left for us to find in the comments, where there are any.
		return m, version == 4, "nothing: the member may be there"
	case match.OneOfFormats:
		if near, ok := expression(m.Formats); ok {
			return near, true, ""
		}
		return match.Matcher{Kind: match.Type}, true, "any value of the example's type"
	}
	if m.Kind.Ours() {
		return match.Matcher{Kind: match.Type}, true, "any value of the example's type"
	}
	if version == 4 || !slices.Contains(later, m.Kind) {
		return m, true, ""
	}
	switch m.Kind {
	case match.SemVer:
		return match.Must(match.Matcher{Kind: match.Regex, Value: `\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?`}), true, ""
	case match.NotEmpty:
		if _, text := example.(string); text {
			return match.Must(match.Matcher{Kind: match.Regex, Value: `[\s\S]+`}), true, ""
		}
		return match.Matcher{Kind: match.Type}, true, "any value of the example's type, also an empty one"
	case match.EachKey, match.EachValue:
		return match.Matcher{Kind: match.Values}, true, "members of any name, each like the example's"
	case match.ArrayContains:
		return match.Matcher{Kind: match.Type}, true, "elements of the type of the example's first"
	}
	return m, false, "nothing: the example's status"
}

// expressions are formats as expressions that every tool understands.
var expressions = map[match.Format]string{
	match.UUID:    `[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`,
	match.ULID:    `[0-7][0-9A-HJKMNP-TV-Z]{25}`,
	match.RFC3339: `\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})`,
	match.Day:     `\d{4}-\d{2}-\d{2}`,
	match.Clock:   `\d{2}:\d{2}:\d{2}(?:\.\d+)?`,
	match.Whole:   `-?(?:0|[1-9]\d*)`,
	match.Hex:     `[0-9a-fA-F]{8,}`,
	match.Mail:    `[^@\s<>",;]+@[^@\s<>",;]+\.[^@\s<>",;]+`,
}

// expression is a matcher of texts in one of some formats.
func expression(formats []match.Format) (match.Matcher, bool) {
	text := ""
	for _, f := range formats {
		e, ok := expressions[f]
		if !ok {
			return match.Matcher{}, false
		}
		if text != "" {
			text += "|"
		}
		text += e
	}
	m, err := match.New(match.Matcher{Kind: match.Regex, Value: "^(?:" + text + ")$"})
	return m, err == nil
}

// exampleAt is the first of the example's values that a rule is about; nil if the
// example is not JSON or has none.
func exampleAt(example []byte, rule string) any {
	path, err := match.ParsePath(rule)
	if err != nil {
		return nil
	}
	document, err := match.Decode(example)
	if err != nil {
		return nil
	}
	return lookAt(document, match.Path{}, path)
}

func lookAt(value any, here, rule match.Path) any {
	if len(here) == len(rule) {
		return value
	}
	next := func(step match.Step, below any) any {
		at := append(slices.Clone(here), step)
		if !rule[:len(at)].Covers(at) {
			return nil
		}
		return lookAt(below, at, rule)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if found := next(match.Field(name), v[name]); found != nil {
				return found
			}
		}
	case []any:
		for n, below := range v {
			if found := next(match.Index(n), below); found != nil {
				return found
			}
		}
	}
	return nil
}
