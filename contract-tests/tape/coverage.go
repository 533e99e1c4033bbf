package tape

import (
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/contract"
)

// Coverage is how much of recorded traffic is of sorts that a contract has an
// interaction for.
type Coverage struct {
	Weight  int    `json:"weight"` // exchanges that count
	Covered int    `json:"covered"`
	Pending int    `json:"pending"`          // of those covered, the ones that only pending interactions cover
	Unseen  []Sort `json:"unseen,omitempty"` // the sorts it has none for, the most frequent first
	Unheld  []Sort `json:"unheld,omitempty"` // the sorts that only pending interactions cover
}

// Share is the covered part of the weight, 1 where nothing was recorded.
func (c Coverage) Share() float64 {
	if c.Weight == 0 {
		return 1
	}
	return float64(c.Covered) / float64(c.Weight)
}

// Held is the part of the weight that is held against a provider: Share without
// what only pending interactions cover.
func (c Coverage) Held() float64 {
	if c.Weight == 0 {
		return 1
	}
	return float64(c.Covered-c.Pending) / float64(c.Weight)
}

// Cover holds recorded traffic against a contract. An exchange is covered if an
// interaction has its route, method and status, and requests and answers of the
// same shape; where a rule says nullable, null has the shape of everything.
// What [Distill] skips does not count. wanted selects exchanges, nil all.
func Cover(c contract.Contract, exchanges []Exchange, wanted func(Exchange) bool) Coverage {
	var d Distilled
	exchanges = d.countable(slices.DeleteFunc(slices.Clone(exchanges), func(e Exchange) bool { return wanted != nil && !wanted(e) }))
	out := Coverage{Weight: d.Weight}
	for _, sort := range clustered(exchanges) {
		e := exchanges[sort.members[0]]
		switch covering := covering(c, e); {
		case len(covering) == 0:
			out.Unseen = append(out.Unseen, sorted(e, len(sort.members)))
			continue
		case !slices.ContainsFunc(covering, func(i contract.Interaction) bool { return !i.Pending }):
			out.Pending += len(sort.members)
			out.Unheld = append(out.Unheld, sorted(e, len(sort.members)))
		}
		out.Covered += len(sort.members)
	}
	return out
}

// covering lists the interactions that cover an exchange.
func covering(c contract.Contract, e Exchange) []contract.Interaction {
	return slices.DeleteFunc(slices.Clone(c.Interactions), func(i contract.Interaction) bool { return !covers(i, e) })
}

func covers(i contract.Interaction, e Exchange) bool {
	known := i.Route
	if known == "" { // a contract of other tools knows paths only
		known = i.Request.Method + " " + i.Request.Path
		e.Route = e.Request.Method + " " + e.Request.Path
	}
	if known != route(e) || i.Request.Method != e.Request.Method || i.Response.Status != e.Response.Status {
		return false
	}
	example := Request{Method: i.Request.Method, Query: url.Values(i.Request.Query).Encode(), Header: i.Request.Header, Body: i.Request.Body}
	if requestShape(example) != requestShape(e.Request) {
		return false
	}
	if i.Response.Body == nil { // unchecked: of text that varied only the type is known
		return media(i.Response.Header) == media(e.Response.Header)
	}
	return loosely(Response{Header: i.Response.Header, Body: i.Response.Body}, i.Response.Rules) == loosely(e.Response, i.Response.Rules)
}

func media(header map[string][]string) string {
	text, _, _ := strings.Cut(strings.ToLower(get(header, "Content-Type")), ";")
	return strings.TrimSpace(text)
}
