package tape

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/match"
)

// enough samples make it believable that a number is never a fraction.
const enough = 5

// A place has one of a few values if it was seen often, with few values, and
// each of them several times: by Good and Turing's estimate a value that was
// never seen is as frequent as those seen once are together.
const (
	enumSamples = 20
	enumValues  = 8
	enumEach    = 3
)

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// form is the narrowest matcher that all scalar samples of one kind satisfy: one
// of a few values, else a format, a date, or the type.
func form(path match.Path, samples []any) match.Matcher {
	var candidates []match.Matcher
	number := match.KindOf(samples[0]) == "number"
	if enum, ok := enumeration(samples); ok && !identifies(path) {
		candidates = append(candidates, enum)
	}
	switch {
	case number:
		if len(samples) >= enough || identifies(path) {
			candidates = append(candidates, match.Matcher{Kind: match.Integer})
		}
		candidates = append(candidates, match.Matcher{Kind: match.Number})
	case match.KindOf(samples[0]) == "string":
		candidates = append(candidates,
			match.Must(match.Matcher{Kind: match.Regex, Value: uuid.String()}),
			match.Must(match.Matcher{Kind: match.DateTime}),
			match.Must(match.Matcher{Kind: match.DateTime, Value: "yyyy-MM-dd HH:mm:ss"}),
			match.Must(match.Matcher{Kind: match.Date}))
		if pattern, ok := skeleton(samples); ok {
			candidates = append(candidates, pattern)
		}
	}
	for _, m := range candidates {
		if !slices.ContainsFunc(samples, func(s any) bool { return m.Match(s, s) != nil }) {
			return m
		}
	}
	return match.Matcher{Kind: match.Type}
}

// identifies reports whether a path ends in a name of ids, which are whole
// numbers and never one of a few.
func identifies(path match.Path) bool {
	keys, _ := path[max(0, len(path)-1):].Keys()
	if len(keys) == 0 {
		return false
	}
	name, _ := keys[0].(string)
	_, id := nounOf(name, "")
	return id
}

// enumeration matches the values that were seen, if they are few and each of
// them was seen several times. Moments are never one of a few.
func enumeration(samples []any) (match.Matcher, bool) {
	if len(samples) < enumSamples {
		return match.Matcher{}, false
	}
	seen := map[string]int{}
	for _, s := range samples {
		text, ok := s.(string)
		if n, number := s.(json.Number); number {
			text, ok = n.String(), true
		}
		if _, _, moment := match.ParseMoment(text); !ok || moment || len(text) > 64 || strings.HasPrefix(text, "redacted-") {
			return match.Matcher{}, false
		}
		seen[text]++
	}
	var values []string
	for text, times := range seen {
		if times < enumEach {
			return match.Matcher{}, false
		}
		values = append(values, regexp.QuoteMeta(text))
	}
	if len(values) > enumValues {
		return match.Matcher{}, false
	}
	slices.Sort(values)
	m, err := match.New(match.Matcher{Kind: match.Regex, Value: "^(?:" + strings.Join(values, "|") + ")$"})
	return m, err == nil
}

var runs = regexp.MustCompile(`\d+|\D+`)

// skeleton matches texts that differ in their digits only, such as INV-000007:
// runs of one length keep it.
func skeleton(samples []any) (match.Matcher, bool) {
	var parts []string
	var lengths [][2]int
	for n, s := range samples {
		found := runs.FindAllString(s.(string), -1)
		if n == 0 {
			parts = found
			for _, part := range found {
				lengths = append(lengths, [2]int{len(part), len(part)})
			}
		}
		if len(found) != len(parts) || len(found) < 2 {
			return match.Matcher{}, false // without a letter or sign it says nothing
		}
		for k, part := range found {
			digits := part[0] >= '0' && part[0] <= '9'
			if digits != (parts[k][0] >= '0' && parts[k][0] <= '9') || !digits && part != parts[k] {
				return match.Matcher{}, false
			}
			lengths[k] = [2]int{min(lengths[k][0], len(part)), max(lengths[k][1], len(part))}
		}
	}
	pattern := "^"
	for k, part := range parts {
		switch {
		case part[0] < '0' || part[0] > '9':
			pattern += regexp.QuoteMeta(part)
		case lengths[k][0] == lengths[k][1]:
			pattern += fmt.Sprintf(`\d{%d}`, lengths[k][0])
		default:
			pattern += `\d+`
		}
	}
	m, err := match.New(match.Matcher{Kind: match.Regex, Value: pattern + "$"})
	return m, err == nil
}

// clocks are the forms of times that say when something happened.
var clocks = []struct{ layout, pattern string }{
	{time.RFC3339Nano, ""}, {"2006-01-02 15:04:05", "yyyy-MM-dd HH:mm:ss"}, {"2006-01-02T15:04:05", "yyyy-MM-dd'T'HH:mm:ss"},
}

const (
	justNow  = 2 * time.Minute  // between what an answer says and when it was given
	farthest = 14 * time.Hour   // that a zone is from UTC
	quarter  = 15 * time.Minute // of which zones are multiples
)

// moments frees the times that say when the answer was given: the next run has
// another. A time without a zone may be of any zone.
func moments(r match.Rules, example Exchange) match.Rules {
	v, ok := document(example.Response)
	if !ok || example.At.IsZero() {
		return r
	}
	return momentsIn(r, nil, v, example.At)
}

func momentsIn(r match.Rules, path match.Path, v any, at time.Time) match.Rules {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			r = momentsIn(r, append(slices.Clone(path), match.Field(name)), value, at)
		}
	case []any:
		for n, value := range v {
			r = momentsIn(r, append(slices.Clone(path), match.Index(n)), value, at)
		}
	case string:
		for _, c := range clocks {
			if then, err := time.Parse(c.layout, v); err == nil && near(then, at, c.pattern != "") && r.For(path).Empty() {
				return r.WithBody(path, match.Must(match.Matcher{Kind: match.DateTime, Value: c.pattern}))
			}
		}
	}
	return r
}

func near(then, at time.Time, anyZone bool) bool {
	apart := then.Sub(at).Abs()
	if !anyZone || apart <= justNow {
		return apart <= justNow
	}
	rest := apart % quarter
	return apart <= farthest && min(rest, quarter-rest) <= justNow
}
