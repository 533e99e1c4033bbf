package verify_test

import (
	"strings"
	"testing"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/verify"
)

func TestWhatAContractProbablyDoesNotMeanIsNamed(t *testing.T) {
	lines, err := match.ParsePath("$.lines")
	if err != nil {
		t.Fatal(err)
	}
	total, err := match.ParsePath("$.total")
	if err != nil {
		t.Fatal(err)
	}
	example := func(key string, rules match.Rules) contract.Interaction {
		return contract.Interaction{Key: key, Request: contract.Request{Method: "GET", Path: "/orders/7"},
			Response: contract.Response{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(`{"total":"3","lines":[1]}`), Rules: rules}}
	}
	c := of(
		example("fine", match.Rules{}.WithBody(lines, match.EachLike(1))),
		example("lenient", match.Rules{}.WithBody(lines, match.Matcher{Kind: match.Type})),
		example("broken", match.Rules{}.WithBody(total, match.Matcher{Kind: match.Integer})),
	)
	if found := verify.Leniencies(c); len(found) != 1 || found[0].Interaction != "lenient" || !strings.Contains(found[0].Text, "$.body.lines may be empty") {
		t.Errorf("%v", found)
	}
	if found := verify.Contradictions(c); len(found) != 1 || found[0].Interaction != "broken" || !strings.Contains(found[0].Text, "breaks its own rule: $.body.total: type") {
		t.Errorf("%v", found)
	}
}
