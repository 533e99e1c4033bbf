package tape

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// interactions makes one of each cluster.
func interactions(exchanges []Exchange, kept []*cluster) []contract.Interaction {
	touched := written(exchanges)
	all := make([]contract.Interaction, len(kept))
	of := map[*cluster]*contract.Interaction{}
	for n, c := range kept {
		group := make([]Exchange, len(c.members))
		for k, m := range c.members {
			group[k] = exchanges[m]
		}
		all[n] = interaction(c.key, exchanges[c.example], group)
		if e := exchanges[c.example]; !changes(e.Request.Method) && !c.tied() && about(e, touched) {
			all[n].Pending = true // what it looks at is not there on other data
		}
		if c.repeated(exchanges) {
			freeNumbers(&all[n])
		}
		of[c] = &all[n]
	}
	chains(exchanges, kept, of)
	return all
}

// interaction makes one of a group of exchanges, by the one that stands for it.
func interaction(key string, example Exchange, group []Exchange) contract.Interaction {
	sum := sha256.Sum256([]byte(key))
	i := contract.Interaction{
		Key:         hex.EncodeToString(sum[:8]),
		Description: fmt.Sprintf("%s answers %d", route(example), example.Response.Status),
		Route:       route(example),
		Source:      contract.Recorded,
		Weight:      len(group),
		Redacted:    redactions(group),
		Request:     request(example.Request),
		Response: contract.Response{
			Status: example.Response.Status,
			Header: kept(example.Response.Header, answered),
			Body:   example.Response.Body,
		},
	}
	if example.Response.Body == nil {
		i.Response.Body = []byte{}
	}
	i.Pending = hidden(example)
	i.Pending = !asked(example, &i.Request) || i.Pending
	i.Response.Rules = rules(example, group)
	return withText(i, group)
}

// hidden reports whether a part of the request was redacted that is needed to
// repeat it.
func hidden(e Exchange) bool {
	return slices.ContainsFunc(e.Redacted, func(place string) bool {
		return strings.HasPrefix(place, "request.") && !strings.HasPrefix(place, "request.header.")
	})
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
