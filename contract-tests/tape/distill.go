package tape

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"stranglerfig/contract-tests/contract"
)

// DefaultCover is the share of the traffic that a contract covers if nobody
// says otherwise.
const DefaultCover = 0.999

// Options say how to distil.
type Options struct {
	Consumer, Provider string
	// Capability is the one that the contract is about: what else is on the tapes
	// only says where ids come from. "" takes everything to be of one.
	Capability string
	// Cover is the share of the traffic's weight that the interactions are to
	// cover, above 0 and up to 1; 0 is DefaultCover.
	Cover float64
}

// Distilled is a contract with what it was made of.
type Distilled struct {
	Contract contract.Contract `json:"-"`
	Weight   int               `json:"weight"`  // exchanges that count
	Covered  int               `json:"covered"` // of them, those of a sort that the contract has
	Left     []Sort            `json:"left"`    // the sorts left out as too rare, the most frequent first
	Loose    []Loose           `json:"loose"`   // places that are about what others made up, the most frequent first
	Skipped  Skipped           `json:"skipped"`
}

// Sort is a sort of traffic: exchanges of one route and status whose requests
// and answers have the same shape.
type Sort struct {
	Route   string `json:"route"`
	Status  int    `json:"status"`
	Weight  int    `json:"weight"`  // exchanges of this sort
	Example string `json:"example"` // method and target of one of them
}

// Skipped counts exchanges that say nothing about what clients rely on.
type Skipped struct {
	Truncated int `json:"truncated"` // a body was too long to be kept whole
	Failed    int `json:"failed"`    // the answer was a 5xx
	Switched  int `json:"switched"`  // the protocol was switched
}

// cluster is the exchanges of one sort.
type cluster struct {
	key     string
	members []int // by number, in the order in which they were answered
	example int   // the one that stands for them
	links   []link
}

// Distill makes a contract of recorded exchanges, which must be redacted.
//
// Exchanges of one route, method and status whose requests and answers have the
// same shape become one interaction: one of them is the example, and their
// number its weight. The most frequent ones are kept until they cover enough of
// the traffic; since no exchange is of two sorts, no smaller choice covers as
// much. What varied among them becomes a rule, as narrow as the samples allow;
// what was redacted may be anything of its type. Where an answer made up an id
// that a later request of the same client is about, the two become a chain;
// chains end where a capability does, and what comes from another one is listed.
// Requests that cannot be repeated, because a part of them was redacted, are
// pending.
func Distill(exchanges []Exchange, o Options) Distilled {
	if o.Cover <= 0 || o.Cover > 1 {
		o.Cover = DefaultCover
	}
	d := Distilled{Contract: contract.Contract{Consumer: o.Consumer, Provider: o.Provider}, Left: []Sort{}, Loose: []Loose{}}
	var others []Exchange
	if o.Capability != "" {
		exchanges, others = apart(exchanges, o.Capability)
	}
	exchanges = d.countable(exchanges)
	clusters := clustered(exchanges)
	tie(exchanges, clusters)
	kept := d.choose(exchanges, clusters, o.Cover)
	d.Contract.Interactions = interactions(exchanges, kept)
	d.Loose = append(d.Loose, looseEnds(exchanges, others, kept)...)
	return d
}

// apart takes a capability's exchanges out of others.
func apart(exchanges []Exchange, capability string) (own, others []Exchange) {
	for _, e := range exchanges {
		if e.Capability == capability {
			own = append(own, e)
		} else {
			others = append(others, e)
		}
	}
	return own, others
}

// countable leaves out what is no example, in the order of the answers.
func (d *Distilled) countable(exchanges []Exchange) []Exchange {
	var all []Exchange
	for _, e := range exchanges {
		switch {
		case e.Response.Status >= 500:
			d.Skipped.Failed++
		case e.Response.Status < 200:
			d.Skipped.Switched++
		case e.Truncated:
			d.Skipped.Truncated++
		default:
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b Exchange) int { return a.At.Compare(b.At) })
	d.Weight = len(all)
	return all
}

// clustered groups exchanges by sort, the most frequent first.
func clustered(exchanges []Exchange) []*cluster {
	by := map[string]*cluster{}
	var all []*cluster
	for n, e := range exchanges {
		key := sortOf(e)
		c := by[key]
		if c == nil {
			c = &cluster{key: key, example: -1}
			by[key] = c
			all = append(all, c)
		}
		c.members = append(c.members, n)
	}
	slices.SortStableFunc(all, func(a, b *cluster) int {
		return cmp.Or(cmp.Compare(len(b.members), len(a.members)), cmp.Compare(a.key, b.key))
	})
	return all
}

// sortOf names the sort of an exchange.
func sortOf(e Exchange) string {
	return strings.Join([]string{e.Request.Method, route(e), strconv.Itoa(e.Response.Status), requestShape(e.Request), shape(e.Response)}, "\n")
}

func route(e Exchange) string {
	if e.Route != "" {
		return e.Route
	}
	return e.Request.Method + " " + e.Request.Path
}

// choose keeps clusters until they cover enough, and with them those that
// their chains begin with.
func (d *Distilled) choose(exchanges []Exchange, clusters []*cluster, cover float64) []*cluster {
	keep := map[*cluster]bool{}
	var need func(c *cluster)
	need = func(c *cluster) {
		if keep[c] {
			return
		}
		keep[c] = true
		d.Covered += len(c.members)
		for _, l := range c.links {
			need(l.from)
		}
	}
	for _, c := range clusters {
		if float64(d.Covered) < cover*float64(d.Weight) {
			need(c)
		}
	}
	var kept []*cluster
	for _, c := range clusters {
		if keep[c] {
			kept = append(kept, c)
			continue
		}
		d.Left = append(d.Left, sorted(exchanges[c.members[0]], len(c.members)))
	}
	// In the order of their examples: what clients did first is replayed first.
	slices.SortStableFunc(kept, func(a, b *cluster) int { return cmp.Compare(a.example, b.example) })
	return kept
}

func sorted(e Exchange, weight int) Sort {
	target := e.Request.Path
	if e.Request.Query != "" {
		target += "?" + e.Request.Query
	}
	return Sort{Route: route(e), Status: e.Response.Status, Weight: weight, Example: e.Request.Method + " " + target}
}

// changes reports whether a request may change something.
func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}
