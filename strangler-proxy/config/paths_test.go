package config_test

import (
	"fmt"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/route"
)

func TestAServiceReadsPathsAsTheMonolithDoesUnlessItSaysOtherwise(t *testing.T) {
	const text = `monolith: {url: http://127.0.0.1:1, paths: {%s}}
capabilities:
  billing:
    service: {url: http://127.0.0.1:2, paths: {%s}}
    routes: {"GET /invoices/{id}": {owner: monolith, encoded_slash: %v}}
`
	for _, row := range []struct {
		monolith, service string
		want              route.Profile // of the service
		routed            route.Profile
	}{
		{"", "", route.Profile{}, route.Profile{}},
		{"case: same, parameters: same", "", route.Profile{Case: route.Same, Parameters: route.Distinct}, route.Profile{Case: route.Same, Parameters: route.Same}},
		{"parameters: same", "parameters: same", route.Profile{Parameters: route.Same}, route.Profile{Parameters: route.Same}},
		{"double_slash: distinct, trailing_slash: distinct", "double_slash: same", route.Profile{DoubleSlash: route.Same, TrailingSlash: route.Distinct}, route.Profile{TrailingSlash: route.Distinct}},
		{"encoded_slash: refuse", "encoded_slash: distinct", route.Profile{EncodedSlash: route.Distinct}, route.Profile{}},
	} {
		c, err := config.Parse("strangler.yaml", fmt.Appendf(nil, text, row.monolith, row.service, false), nowhere)
		if err != nil {
			t.Errorf("%s beside %s: %v", row.monolith, row.service, err)
			continue
		}
		if got := c.Capabilities[0].Service.Paths; got != row.want || c.Paths() != row.routed {
			t.Errorf("%s beside %s: the service reads %+v and requests are routed by %+v; want %+v and %+v", row.monolith, row.service, got, c.Paths(), row.want, row.routed)
		}
	}
	_, err := config.Parse("strangler.yaml", fmt.Appendf(nil, text, "encoded_slash: same", "", true), nowhere)
	if err == nil || !strings.Contains(err.Error(), "encoded_slash: true has no effect") {
		t.Errorf("a route that keeps what is brought into one form: %v", err)
	}
}

func nowhere(string) (string, bool) { return "", false }
