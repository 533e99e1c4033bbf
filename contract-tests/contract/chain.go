package contract

import (
	"fmt"
	"slices"
	"strings"
)

// Chain ties an interaction to others: what one answer made up, such as the id
// of something new, is what the next request is about. When the contract is
// replayed, each target gets its own values.
//
// Places are paths: $.path[1] is a request's second segment, $.query.id[0] the
// first value of a parameter, $.body.lines[0].id a member of a JSON body or a
// field of a form, and $.header.Location of an answer the last segment of that
// header's path.
type Chain struct {
	Captures []Capture `json:"captures,omitempty"` // what others use of this answer
	Uses     []Use     `json:"uses,omitempty"`     // where this request needs it
	Returns  []Use     `json:"returns,omitempty"`  // where this answer must say it again
}

// Capture takes a value from an answer.
type Capture struct {
	Name string `json:"name"` // unique in the contract
	From string `json:"from"` // a place of the answer: $.body… or $.header.NAME
}

// Use is where a captured value belongs.
type Use struct {
	Name string `json:"name"`
	In   string `json:"in"` // a place
}

// Empty reports whether an interaction stands for itself.
func (c Chain) Empty() bool { return len(c.Captures)+len(c.Uses)+len(c.Returns) == 0 }

// needs lists the names that have to be captured before.
func (c Chain) needs() []string {
	var names []string
	for _, u := range c.Uses {
		names = append(names, u.Name)
	}
	for _, u := range c.Returns { // of what it has captured itself as well
		if !slices.ContainsFunc(c.Captures, func(own Capture) bool { return own.Name == u.Name }) {
			names = append(names, u.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Order returns the numbers of the interactions in an order in which every
// value is captured before it is used, otherwise the file's. The error says
// which chain is cyclic or uses what nobody captures.
func (c Contract) Order() ([]int, error) {
	by := map[string]int{}
	for n, i := range c.Interactions {
		for _, capture := range i.Chain.Captures {
			by[capture.Name] = n
		}
	}
	var order, path []int
	state := make([]int, len(c.Interactions)) // 0 unseen, 1 on the path, 2 done
	var visit func(n int) error
	visit = func(n int) error {
		if state[n] == 2 {
			return nil
		}
		path = append(path, n)
		if state[n] == 1 {
			return c.cyclic(path[slices.Index(path, n):])
		}
		state[n] = 1
		for _, name := range c.Interactions[n].Chain.needs() {
			from, known := by[name]
			if !known {
				return fmt.Errorf("interaction %s uses %q, which no interaction captures", c.Interactions[n].Name(n), name)
			}
			if err := visit(from); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		state[n] = 2
		order = append(order, n)
		return nil
	}
	for n := range c.Interactions {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func (c Contract) cyclic(circle []int) error {
	names := make([]string, len(circle))
	for at, n := range circle {
		names[at] = c.Interactions[n].Name(n)
	}
	return fmt.Errorf("the chain is cyclic: %s: each uses what the next one captures, so none of them can be the first", strings.Join(names, " → "))
}

// Chains groups the interactions into those that have to be played one after
// the other, each group in order: an interaction without a chain is a group of
// its own.
func (c Contract) Chains() ([][]int, error) {
	order, err := c.Order()
	if err != nil {
		return nil, err
	}
	group := make([]int, len(c.Interactions)) // by interaction: one of its group
	for n := range group {
		group[n] = n
	}
	by := map[string]int{}
	for _, n := range order { // those who capture come first
		chain := c.Interactions[n].Chain
		for _, capture := range chain.Captures {
			by[capture.Name] = n
		}
		for _, name := range chain.needs() {
			from, to := group[by[name]], group[n]
			for k := range group {
				if group[k] == to {
					group[k] = from
				}
			}
		}
	}
	var all [][]int
	at := map[int]int{}
	for _, n := range order {
		k, known := at[group[n]]
		if !known {
			k = len(all)
			at[group[n]] = k
			all = append(all, nil)
		}
		all[k] = append(all[k], n)
	}
	return all, nil
}

// chainProblems lists what is wrong with the contract's chains.
func (c Contract) chainProblems() Problems {
	var problems Problems
	by := map[string]string{}
	for n, i := range c.Interactions {
		who := i.Name(n)
		for _, text := range i.Chain.problems() {
			problems = append(problems, Problem{who, text})
		}
		for _, capture := range i.Chain.Captures {
			if other, taken := by[capture.Name]; taken {
				problems = append(problems, Problem{who, fmt.Sprintf("comments.strangler.chain captures %q, as interaction %s does: give each capture a name of its own", capture.Name, other)})
			}
			by[capture.Name] = who
		}
	}
	if len(problems) > 0 {
		return problems
	}
	if _, err := c.Order(); err != nil {
		problems = append(problems, Problem{Text: "comments.strangler.chain: " + err.Error()})
	}
	return problems
}

func (c Chain) problems() []string {
	var problems []string
	check := func(what, name, place string, parts ...string) {
		if name == "" {
			problems = append(problems, "comments.strangler.chain: a part of "+what+" has no name")
		}
		if p, err := parseSpot(place); err != nil || !slices.Contains(parts, p.part) {
			problems = append(problems, fmt.Sprintf("comments.strangler.chain: %s %q: %q is no place (accepted: $.%s…)", what, name, place, strings.Join(parts, "…, $.")))
		}
	}
	for _, x := range c.Captures {
		check("captures", x.Name, x.From, "body", "header")
	}
	for _, x := range c.Uses {
		check("uses", x.Name, x.In, "path", "query", "body")
	}
	for _, x := range c.Returns {
		check("returns", x.Name, x.In, "body", "header")
	}
	return problems
}
