package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Preference says which side of a conflict [Merge] keeps.
type Preference string

// The preferences. Without one, a conflict is left to the caller.
const (
	Neither Preference = ""
	Old     Preference = "old"
	New     Preference = "new"
)

// Conflict is a pair of interactions that cannot both be right: they share a
// key and say different things, or the same request in the same state is
// answered differently.
type Conflict struct {
	Old  string `json:"old"`  // the key it has in the old contract
	New  string `json:"new"`  // and in the new one
	Text string `json:"text"` // what they disagree about
}

// String is the conflict on one line.
func (c Conflict) String() string {
	if c.Old == c.New {
		return "interaction " + c.Old + ": " + c.Text
	}
	return "interactions " + c.Old + " and " + c.New + ": " + c.Text
}

// Merged tells what a merge did.
type Merged struct {
	Added     int        `json:"added"`
	Same      int        `json:"same"`     // there already
	Replaced  int        `json:"replaced"` // conflicts decided for the new
	Kept      int        `json:"kept"`     // conflicts decided for the old
	Conflicts []Conflict `json:"conflicts,omitempty"`
}

// Merge adds the interactions of another contract. What is there already is
// left alone, also if only its weight or source differ. Conflicts are decided
// by the preference, or else listed, and then the result is not to be used.
// Consumer and provider are the old ones'.
func Merge(old, other Contract, prefer Preference) (Contract, Merged) {
	result := Contract{Consumer: old.Consumer, Provider: old.Provider, Interactions: slices.Clone(old.Interactions)}
	var m Merged
	for _, i := range other.Interactions {
		at, text := result.rival(i)
		switch {
		case at < 0:
			m.Added++
			result.Interactions = append(result.Interactions, i)
		case text == "":
			m.Same++
		case prefer == New:
			m.Replaced++
			i.Key = result.Interactions[at].Key
			result.Interactions[at] = i
		case prefer == Old:
			m.Kept++
		default:
			m.Conflicts = append(m.Conflicts, Conflict{Old: result.Interactions[at].Key, New: i.Key, Text: text})
		}
	}
	return result, m
}

// rival finds the interaction that stands in another's way, and what they
// disagree about: nothing if they say the same.
func (c Contract) rival(i Interaction) (at int, text string) {
	asked, said := i.asks(), i.says()
	if n := slices.IndexFunc(c.Interactions, func(have Interaction) bool {
		return bytes.Equal(have.asks(), asked) && bytes.Equal(have.says(), said)
	}); n >= 0 {
		return n, ""
	}
	for n, have := range c.Interactions {
		alike := bytes.Equal(have.asks(), asked)
		switch {
		case alike && have.Response.Status != i.Response.Status:
			return n, fmt.Sprintf("%s %s is answered %d in one and %d in the other", i.Request.Method, i.Request.Path, have.Response.Status, i.Response.Status)
		case alike:
			return n, fmt.Sprintf("%s %s is answered differently", i.Request.Method, i.Request.Path)
		case have.Key == i.Key && i.Key != "":
			return n, fmt.Sprintf("the key stands for %s %s (%s) in one and for %s %s (%s) in the other",
				have.Request.Method, have.Request.Path, have.Description, i.Request.Method, i.Request.Path, i.Description)
		}
	}
	return -1, ""
}

// asks is what the interaction is about, in a form that can be compared.
func (i Interaction) asks() []byte {
	return plain([]any{i.States, i.Request.Method, i.Request.Path, emptied(i.Request.Query), emptied(i.Request.Header), document(i.Request.Body), i.Request.Rules, i.Request.Generators, i.Chain.Uses})
}

// says is what it expects. The name of an interaction says nothing.
func (i Interaction) says() []byte {
	return plain([]any{i.Response.Status, emptied(i.Response.Header), i.Response.Body == nil, document(i.Response.Body), i.Response.Rules, i.Chain.Captures, i.Chain.Returns})
}

// emptied makes no difference between no values and an empty map of them.
func emptied(values map[string][]string) map[string][]string {
	if len(values) == 0 {
		return nil
	}
	return values
}

// document is a body as it is compared: JSON without its layout.
func document(body []byte) string { return string(compact(body)) }

// plain cannot fail: everything it is given was read from JSON or can be.
func plain(v any) []byte {
	data, _ := json.Marshal(v)
	return data
}
