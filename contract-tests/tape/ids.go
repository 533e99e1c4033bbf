package tape

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// spot is where a value stands, and what it is the id of.
type spot struct{ path, noun, value string }

// listed bounds how many elements of a list are looked at for ids.
const listed = 50

// uses lists the places of a request that can be about something: what stands
// for a wildcard of its route, and fields of the query, a form or JSON that are
// named like ids.
func uses(e Exchange) []spot {
	var all []spot
	_, pattern, _ := strings.Cut(e.Route, " ")
	segments, wild := strings.Split(strings.Trim(e.Request.Path, "/"), "/"), strings.Split(strings.Trim(pattern, "/"), "/")
	for n := 1; n < min(len(segments), len(wild)); n++ {
		if !strings.HasPrefix(wild[n], "{") || wild[n] == "{$}" || strings.HasSuffix(wild[n], "...}") {
			continue
		}
		if value, err := url.PathUnescape(segments[n]); err == nil && value != "" {
			all = append(all, spot{place("path", match.Index(n)), singular(segments[n-1]), value})
		}
	}
	own := singular(segments[0])
	fields := func(part string, text string, steps ...match.Step) {
		values, _ := url.ParseQuery(text)
		for name, list := range values {
			if noun, ok := nounOf(name, own); ok && len(list) > 0 && list[0] != "" {
				all = append(all, spot{place(part, append([]match.Step{match.Field(name)}, steps...)...), noun, list[0]})
			}
		}
	}
	fields("query", e.Request.Query, match.Index(0))
	if media, _, _ := strings.Cut(strings.ToLower(get(e.Request.Header, "Content-Type")), ";"); strings.TrimSpace(media) == "application/x-www-form-urlencoded" {
		fields("body", string(e.Request.Body))
	} else {
		all = append(all, idsIn(e.Request.Body, own)...)
	}
	slices.SortFunc(all, func(a, b spot) int { return strings.Compare(a.path, b.path) })
	return all
}

// sources lists the ids in an answer that its own request does not say.
func sources(e Exchange) []spot {
	asked := uses(e)
	return slices.DeleteFunc(answers(e), func(s spot) bool {
		return slices.ContainsFunc(asked, func(u spot) bool { return u.value == s.value && u.noun == s.noun })
	})
}

// made lists the ids of what a request has created, as its answer says them.
func made(e Exchange) []spot {
	if e.Response.Status >= 300 {
		return nil
	}
	own := subject(e)
	return slices.DeleteFunc(sources(e), func(s spot) bool { return s.noun != own })
}

// subject is what a request is about: the last word of its path.
func subject(e Exchange) (noun string) {
	for _, segment := range strings.Split(strings.Trim(e.Request.Path, "/"), "/") {
		if !strings.ContainsAny(segment, "0123456789") {
			noun = singular(segment)
		}
	}
	return noun
}

// answers lists the ids in an answer.
func answers(e Exchange) []spot {
	own := subject(e)
	all := idsIn(e.Response.Body, own)
	if u, err := url.Parse(get(e.Response.Header, "Location")); err == nil && u.Path != "" {
		parts := strings.Split(strings.Trim(u.Path, "/"), "/")
		if len(parts) > 1 {
			all = append(all, spot{place("header", match.Field("Location")), singular(parts[len(parts)-2]), parts[len(parts)-1]})
		}
	}
	slices.SortFunc(all, func(a, b spot) int { return strings.Compare(a.path, b.path) })
	return all
}

func place(part string, steps ...match.Step) string {
	return append(match.Path{match.Field(part)}, steps...).String()
}

// idsIn lists the members of a JSON document that are named like ids.
func idsIn(body Body, own string) []spot {
	v, err := match.Decode(body)
	if err != nil {
		return nil
	}
	return ids(match.Path{match.Field("body")}, v, own, nil)
}

func ids(path match.Path, v any, own string, all []spot) []spot {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			below := append(slices.Clone(path), match.Field(name))
			if noun, ok := nounOf(name, own); ok {
				if text := idText(value); text != "" {
					all = append(all, spot{below.String(), noun, text})
				}
				continue
			}
			all = ids(below, value, singular(name), all)
		}
	case []any:
		for n, value := range v[:min(len(v), listed)] {
			all = ids(append(slices.Clone(path), match.Index(n)), value, own, all)
		}
	}
	return all
}

// idText is a value that can be an id: a whole number, or a short text.
func idText(v any) string {
	switch v := v.(type) {
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE-") {
			return v.String()
		}
	case string:
		if len(v) <= 100 && !strings.HasPrefix(v, "redacted-") {
			return v
		}
	}
	return ""
}

// nounOf says what a field is the id of: customer_id and customerId of a
// customer, id of whatever the message is about. It reports false for other
// fields.
func nounOf(name, own string) (string, bool) {
	lower := strings.ToLower(name)
	for _, end := range []string{"_id", "-id", "_uuid", "_guid"} {
		if stem, ok := strings.CutSuffix(lower, end); ok {
			return singular(stem), true
		}
	}
	for _, end := range []string{"Id", "ID", "Uuid", "UUID"} {
		if stem, ok := strings.CutSuffix(name, end); ok && stem != "" {
			return singular(stem), true
		}
	}
	if lower == "id" || lower == "uuid" || lower == "guid" {
		return own, true
	}
	return "", false
}

// singular makes one word of a collection's and its element's name.
func singular(name string) string {
	name = separators.Replace(strings.ToLower(name))
	if stem, ok := strings.CutSuffix(name, "ies"); ok {
		return stem + "y"
	}
	return strings.TrimSuffix(name, "s")
}
