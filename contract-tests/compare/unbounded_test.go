package compare_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

func TestListsThatMayBeShorterThanTheirExampleAreNamed(t *testing.T) {
	r := rules(t, `{
		"$.a":{"matchers":[{"match":"type"}]},
		"$.min":{"matchers":[{"match":"type","min":1}]},
		"$.max":{"matchers":[{"match":"type","max":3}]},
		"$.some":{"matchers":[{"match":"arrayContains","variants":[]}]},
		"$.any":{"matchers":[{"match":"unordered"}]},
		"$.min[*].inner":{"matchers":[{"match":"type"}]}
	}`)
	example := answer(`{"a":[{"deep":[1]},2],"min":[{"inner":[1],"plain":[1]}],"max":[1],"some":[1],"any":[1],"none":[1],"empty":[]}`)
	want := []string{"$.body.a", "$.body.a[0].deep", "$.body.min[0].inner", "$.body.min[0].plain", "$.body.max"}
	if diff := cmp.Diff(want, compare.Unbounded(example, r)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, m := range []compare.Message{answer(`{"a":`), of("text/plain", "[1]"), {}} {
		if got := compare.Unbounded(m, r); got != nil {
			t.Errorf("%q: %v", m.Body, got)
		}
	}
	if got := compare.Unbounded(example, match.Rules{}); got != nil {
		t.Errorf("without rules: %v", got)
	}
}
