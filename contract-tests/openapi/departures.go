package openapi

import (
	"net/http"
	"net/url"
	"strings"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
)

// Departures lists where the examples of a contract depart from the
// description: of its own examples, which nobody else holds against their
// schemas.
func (d *Description) Departures(c contract.Contract) contract.Problems {
	var problems contract.Problems
	for n, i := range c.Interactions {
		address := url.URL{Scheme: "http", Host: "description", RawQuery: url.Values(i.Request.Query).Encode()}
		var err error
		if address.Path, err = url.PathUnescape(i.Request.Path); err == nil {
			address.RawPath = i.Request.Path
		}
		request := &http.Request{Method: i.Request.Method, URL: &address, Host: address.Host, Header: http.Header(i.Request.Header)}
		if i.Response.Body == nil {
			continue // the contract says nothing that could depart
		}
		answer := compare.Message{Status: i.Response.Status, Header: i.Response.Header, Body: i.Response.Body}
		for _, found := range d.Check(request, i.Request.Body, answer) {
			if found.Kind == compare.Missing && strings.HasPrefix(found.Path, "$.header.") {
				continue // a header that has no example
			}
			problems = append(problems, contract.Problem{Interaction: i.Name(n), Text: "its example departs from the description: " + found.String()})
		}
	}
	return problems
}
