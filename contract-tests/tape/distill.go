package tape

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strings"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// Distill makes a contract of recorded exchanges, which must be redacted.
//
// Exchanges of one route, method and status whose answers have the same shape
// become one interaction: the first is the example, and their number its
// weight. What varied among them becomes a rule, as narrow as the samples
// allow; what was redacted may be anything of its type. Exchanges that are cut
// short, answers of 5xx and protocol switches are left out. Requests that
// cannot be repeated, because a part of them was redacted, are pending.
func Distill(exchanges []Exchange, consumer, provider string) contract.Contract {
	groups := map[string][]Exchange{}
	for _, e := range exchanges {
		if !e.Truncated && e.Response.Status >= 200 && e.Response.Status < 500 {
			key := cluster(e)
			groups[key] = append(groups[key], e)
		}
	}
	c := contract.Contract{Consumer: consumer, Provider: provider}
	for key, group := range groups {
		c.Interactions = append(c.Interactions, interaction(key, group))
	}
	sort.Slice(c.Interactions, func(i, j int) bool {
		a, b := c.Interactions[i], c.Interactions[j]
		if a.Description != b.Description {
			return a.Description < b.Description
		}
		return a.Key < b.Key
	})
	return c
}

// cluster names the group an exchange belongs to.
func cluster(e Exchange) string {
	return strings.Join([]string{e.Request.Method, route(e), fmt.Sprint(e.Response.Status), shape(e.Response)}, "\n")
}

func route(e Exchange) string {
	if e.Route != "" {
		return e.Route
	}
	return e.Request.Method + " " + e.Request.Path
}

// shape is the outline of an answer: of JSON its members and kinds, else its
// content type.
func shape(r Response) string {
	if v, ok := document(r); ok {
		return outline(v)
	}
	if len(r.Body) == 0 {
		return "empty"
	}
	media, _, _ := strings.Cut(get(r.Header, "Content-Type"), ";")
	return strings.ToLower(media)
}

// document decodes an answer that is JSON.
func document(r Response) (any, bool) {
	media, _, _ := strings.Cut(strings.ToLower(get(r.Header, "Content-Type")), ";")
	if media = strings.TrimSpace(media); media != "" && media != "application/json" && !strings.HasSuffix(media, "+json") {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, errors.Is(err, io.EOF)
}

func outline(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var members []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			members = append(members, fmt.Sprintf("%q:%s", name, outline(v[name])))
		}
		return "{" + strings.Join(members, ",") + "}"
	case []any:
		kinds := map[string]bool{}
		for _, element := range v {
			kinds[outlineInArray(element)] = true
		}
		return "[" + strings.Join(slices.Sorted(maps.Keys(kinds)), "|") + "]"
	}
	return match.KindOf(v)
}

// outlineInArray does not tell a member that is null from one that is not:
// whether a page of a list happens to hold a null is no difference in shape.
func outlineInArray(v any) string {
	object, ok := v.(map[string]any)
	if !ok {
		return outline(v)
	}
	return "{" + strings.Join(slices.Sorted(maps.Keys(object)), ",") + "}"
}

func interaction(key string, group []Exchange) contract.Interaction {
	first := group[0]
	sum := sha256.Sum256([]byte(key))
	i := contract.Interaction{
		Key:         hex.EncodeToString(sum[:8]),
		Description: fmt.Sprintf("%s answers %d", route(first), first.Response.Status),
		Route:       route(first),
		Source:      contract.Recorded,
		Weight:      len(group),
		Redacted:    redactions(group),
		Request:     request(first.Request),
		Response: contract.Response{
			Status: first.Response.Status,
			Header: kept(first.Response.Header, answered),
			Body:   first.Response.Body,
		},
	}
	if first.Response.Body == nil {
		i.Response.Body = []byte{}
	}
	i.Pending = slices.ContainsFunc(first.Redacted, func(place string) bool {
		return strings.HasPrefix(place, "request.") && !strings.HasPrefix(place, "request.header.")
	})
	i.Pending = !asked(first, &i.Request) || i.Pending
	i.Response.Rules = rules(group)
	return withText(i, group)
}

func redactions(group []Exchange) []string {
	places := map[string]bool{}
	for _, e := range group {
		for _, place := range e.Redacted {
			places[place] = true
		}
	}
	return slices.Sorted(maps.Keys(places))
}

func request(r Request) contract.Request {
	out := contract.Request{Method: r.Method, Path: r.Path, Header: kept(r.Header, repeated)}
	if len(r.Body) > 0 {
		out.Body = r.Body
	}
	// What does not parse was not understood by the answering side either.
	if query, _ := url.ParseQuery(r.Query); len(query) > 0 {
		out.Query = query
	}
	return out
}

// asked adds to a request what its route asks for: without it the request would
// be another route's when it is repeated. It reports whether all of that is on
// the tape; of a secret there is only the pseudonym.
func asked(e Exchange, out *contract.Request) (whole bool) {
	for _, ask := range e.Asks {
		kind, rest, _ := strings.Cut(ask, ":")
		name, value, valued := strings.Cut(rest, "=")
		if kind == "query" {
			continue // of which everything is repeated
		}
		if kind == "cookie" {
			name, value = "Cookie", name+"="+value
			if before := get(out.Header, name); before != "" {
				value = before + "; " + value
			}
		} else if !valued {
			value = get(e.Request.Header, name)
			valued = !strings.Contains(value, "redacted-")
		}
		if !valued {
			return false
		}
		out.Header[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
	}
	return true
}

// kept picks the headers that say something, without those redacted.
func kept(header map[string][]string, keep func(name string) bool) map[string][]string {
	out := map[string][]string{}
	for name, values := range header {
		if keep(name) && !strings.Contains(strings.Join(values, ","), "redacted-") {
			out[name] = values
		}
	}
	return out
}

// repeated: headers of the request that change its answer. Those that belong
// to a connection, a client or a moment would be wrong on replay.
func repeated(name string) bool {
	switch strings.ToLower(name) {
	case "accept", "accept-language", "content-type", "if-match", "if-none-match", "idempotency-key",
		"range", "prefer", "x-requested-with", "hx-request", "origin":
		return true
	}
	return false
}

// answered: headers of the answer that a client acts on and that follow from
// the request alone.
func answered(name string) bool {
	switch strings.ToLower(name) {
	case "content-type", "location", "content-disposition", "cache-control", "allow", "vary", "content-language":
		return true
	}
	return false
}

// rules infers what may differ from the example.
func rules(group []Exchange) match.Rules {
	var inferred match.Rules
	var bodies []any
	for _, e := range group {
		if v, ok := document(e.Response); ok {
			bodies = append(bodies, v)
		}
	}
	if len(bodies) > 0 {
		inferred = infer(inferred, nil, bodies)
		inferred = freed(inferred, redactions(group))
	}
	for name := range kept(group[0].Response.Header, answered) {
		inferred = inferHeader(inferred, name, group)
	}
	return inferred
}

// freed lets redacted values be anything of their type: the running side will
// answer with the real ones.
func freed(r match.Rules, places []string) match.Rules {
	for _, place := range places {
		rest, ok := strings.CutPrefix(place, "response.body")
		if !ok {
			continue
		}
		if path, err := match.ParsePath("$" + rest); err == nil {
			r = r.WithBody(path, match.Matcher{Kind: match.Type})
		}
	}
	return r
}

var digitRuns = regexp.MustCompile(`\d+`)

// inferHeader frees the digits of a header that varied, such as the id in a
// Location, or all of it if it varied otherwise.
func inferHeader(r match.Rules, name string, group []Exchange) match.Rules {
	first := get(group[0].Response.Header, name)
	pattern := "^" + digitRuns.ReplaceAllString(regexp.QuoteMeta(first), `\d+`) + "$"
	varied, digitsOnly := false, true
	compiled, err := regexp.Compile(pattern)
	for _, e := range group {
		value := get(e.Response.Header, name)
		varied = varied || value != first
		digitsOnly = digitsOnly && err == nil && compiled.MatchString(value)
	}
	switch {
	case !varied:
		return r
	case digitsOnly:
		return r.WithHeader(name, match.Must(match.Matcher{Kind: match.Regex, Value: pattern}))
	}
	return r.WithHeader(name, match.Matcher{Kind: match.Type})
}

// infer adds the rules for what varies among the samples of one place.
func infer(r match.Rules, path match.Path, samples []any) match.Rules {
	if !varies(samples) {
		return r
	}
	switch kindOf(samples) {
	case "object":
		for _, name := range members(samples) {
			r = infer(r, append(slices.Clone(path), match.Field(name)), member(samples, name))
		}
		return r
	case "array":
		elements := flatten(samples)
		if kindOf(elements) == "object" && !sameMembers(elements) || kindOf(elements) == "" {
			return r // no rule says: one of several shapes
		}
		r = r.WithBody(path, match.EachLike(least(samples)))
		return infer(r, append(slices.Clone(path), match.AnyIndex()), elements)
	case "":
		return r.WithBody(path, match.Matcher{Kind: match.Nullable})
	}
	return r.WithBody(path, form(samples))
}

func varies(samples []any) bool {
	first, _ := json.Marshal(samples[0])
	for _, s := range samples[1:] {
		if other, _ := json.Marshal(s); !bytes.Equal(first, other) {
			return true
		}
	}
	return false
}

// kindOf is the one kind of all samples, "" if they have several.
func kindOf(samples []any) string {
	if len(samples) == 0 {
		return ""
	}
	kind := match.KindOf(samples[0])
	for _, s := range samples[1:] {
		if match.KindOf(s) != kind {
			return ""
		}
	}
	return kind
}

func members(samples []any) []string {
	names := map[string]bool{}
	for _, s := range samples {
		for name := range s.(map[string]any) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func member(samples []any, name string) []any {
	var values []any
	for _, s := range samples {
		if v, ok := s.(map[string]any)[name]; ok {
			values = append(values, v)
		}
	}
	return values
}

func sameMembers(objects []any) bool {
	first := members(objects[:1])
	for i := range objects {
		if !slices.Equal(first, members(objects[i:i+1])) {
			return false
		}
	}
	return true
}

func flatten(arrays []any) []any {
	var elements []any
	for _, a := range arrays {
		elements = append(elements, a.([]any)...)
	}
	return elements
}

// least is 1, unless some sample shows that the array may be empty.
func least(arrays []any) int {
	for _, a := range arrays {
		if len(a.([]any)) == 0 {
			return 0
		}
	}
	return 1
}

// enough samples make it believable that a number is never a fraction.
const enough = 5

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// form is the narrowest matcher that all scalar samples of one kind satisfy.
func form(samples []any) match.Matcher {
	var candidates []match.Matcher
	switch match.KindOf(samples[0]) {
	case "number":
		if len(samples) >= enough {
			candidates = append(candidates, match.Matcher{Kind: match.Integer})
		}
		candidates = append(candidates, match.Matcher{Kind: match.Number})
	case "string":
		candidates = []match.Matcher{
			match.Must(match.Matcher{Kind: match.DateTime}),
			match.Must(match.Matcher{Kind: match.DateTime, Value: "yyyy-MM-dd HH:mm:ss"}),
			match.Must(match.Matcher{Kind: match.Date}),
			match.Must(match.Matcher{Kind: match.Regex, Value: uuid.String()}),
		}
	}
	for _, m := range candidates {
		if !slices.ContainsFunc(samples, func(s any) bool { return m.Match(s, s) != nil }) {
			return m
		}
	}
	return match.Matcher{Kind: match.Type}
}

var pseudonyms = regexp.MustCompile(`redacted-[0-9a-f]{12}(?:@example\\?\.invalid)?`)

// longestPattern bounds the expression that a text becomes.
const longestPattern = 64 << 10

// withText frees the redacted parts of a body that is text: the running side
// has the real ones there. A text too long for that, or one that varied among
// the samples, is not checked.
func withText(i contract.Interaction, group []Exchange) contract.Interaction {
	if _, ok := document(group[0].Response); ok {
		return i
	}
	if slices.ContainsFunc(group, func(e Exchange) bool { return !bytes.Equal(e.Response.Body, group[0].Response.Body) }) {
		i.Response.Body = nil
		return i
	}
	if !slices.Contains(i.Redacted, "response.body") {
		return i
	}
	if len(i.Response.Body) == 0 || len(i.Response.Body) > longestPattern {
		i.Response.Body = nil
		return i
	}
	// QuoteMeta escapes neither letters, digits nor dashes, so that
	// pseudonyms stay recognisable.
	expression := "(?s)^" + pseudonyms.ReplaceAllString(regexp.QuoteMeta(string(i.Response.Body)), `[^<>"]+?`) + "$"
	m, err := match.New(match.Matcher{Kind: match.Regex, Value: expression})
	if err != nil {
		i.Response.Body = nil
		return i
	}
	i.Response.Rules = i.Response.Rules.WithBody(nil, m)
	return i
}
