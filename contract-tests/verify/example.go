package verify

import (
	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
)

// Contradictions lists where the examples of a contract break the rules beside
// them: such a rule, or its example, is not what somebody meant.
func Contradictions(c contract.Contract) contract.Problems {
	var problems contract.Problems
	note := func(name, whose string, found []compare.Difference) {
		for _, d := range found {
			problems = append(problems, contract.Problem{Interaction: name, Text: whose + " breaks its own rule: " + d.String()})
		}
	}
	for n, i := range c.Interactions {
		answer := compare.Message{Status: i.Response.Status, Header: i.Response.Header, Body: i.Response.Body}
		note(i.Name(n), "the answer's example", compare.Responses(answer, answer, i.Response.Rules, compare.Options{}))
		q := compare.Request{Method: i.Request.Method, Path: i.Request.Path, Query: i.Request.Query, Header: i.Request.Header, Body: i.Request.Body}
		note(i.Name(n), "the request's example", compare.Requests(q, q, i.Request.Rules, compare.Options{}))
	}
	return problems
}

// Leniencies lists where a contract asks for less than its examples show, and
// probably for less than somebody meant.
func Leniencies(c contract.Contract) contract.Problems {
	var problems contract.Problems
	for n, i := range c.Interactions {
		answer := compare.Message{Status: i.Response.Status, Header: i.Response.Header, Body: i.Response.Body}
		for _, path := range compare.Unbounded(answer, i.Response.Rules) {
			problems = append(problems, contract.Problem{Interaction: i.Name(n), Text: "the answer's list " + path + " may be empty, because its rule has no min"})
		}
	}
	return problems
}
