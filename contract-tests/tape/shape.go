package tape

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// shape is the outline of an answer: of JSON its members and kinds, else its
// content type.
func shape(r Response) string {
	return loosely(r, match.Rules{})
}

// loosely is the outline of an answer under rules: a place that may be null has
// one outline, whether it is or not.
func loosely(r Response, rules match.Rules) string {
	if v, ok := document(r); ok {
		return outline(v, nil, rules)
	}
	if len(r.Body) == 0 {
		return "empty"
	}
	media, _, _ := strings.Cut(get(r.Header, "Content-Type"), ";")
	return strings.ToLower(media)
}

// requestShape is the outline of a request: the names of its parameters, and
// what it sends.
func requestShape(r Request) string {
	query, _ := url.ParseQuery(r.Query)
	parts := slices.Sorted(maps.Keys(query))
	if len(r.Body) == 0 {
		return strings.Join(parts, "&")
	}
	media, _, _ := strings.Cut(strings.ToLower(get(r.Header, "Content-Type")), ";")
	body := strings.TrimSpace(media)
	if v, ok := document(Response{Header: r.Header, Body: r.Body}); ok {
		body = outline(v, nil, match.Rules{})
	} else if form, err := url.ParseQuery(string(r.Body)); err == nil && body == "application/x-www-form-urlencoded" {
		body = strings.Join(slices.Sorted(maps.Keys(form)), "&")
	}
	return strings.Join(parts, "&") + "\n" + body
}

// document decodes an answer that is JSON.
func document(r Response) (any, bool) {
	media, _, _ := strings.Cut(strings.ToLower(get(r.Header, "Content-Type")), ";")
	if media = strings.TrimSpace(media); media != "" && media != "application/json" && !strings.HasSuffix(media, "+json") {
		return nil, false
	}
	v, err := match.Decode(r.Body)
	return v, err == nil
}

func outline(v any, path match.Path, rules match.Rules) string {
	if !rules.Empty() && rules.For(path).Has(match.Nullable) {
		return "*"
	}
	switch v := v.(type) {
	case map[string]any:
		var members []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			members = append(members, fmt.Sprintf("%q:%s", name, outline(v[name], append(slices.Clone(path), match.Field(name)), rules)))
		}
		return "{" + strings.Join(members, ",") + "}"
	case []any:
		kinds := map[string]bool{}
		for n, element := range v {
			kinds[outlineInArray(element, append(slices.Clone(path), match.Index(n)), rules)] = true
		}
		return "[" + strings.Join(slices.Sorted(maps.Keys(kinds)), "|") + "]"
	}
	return match.KindOf(v)
}

// outlineInArray does not tell a member that is null from one that is not:
// whether a page of a list happens to hold a null is no difference in shape.
func outlineInArray(v any, path match.Path, rules match.Rules) string {
	object, ok := v.(map[string]any)
	if !ok {
		return outline(v, path, rules)
	}
	return "{" + strings.Join(slices.Sorted(maps.Keys(object)), ",") + "}"
}
