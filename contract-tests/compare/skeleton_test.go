package compare

import "testing"

func TestASkeletonSaysWhichMembersThereAreAndOfWhichKind(t *testing.T) {
	for body, want := range map[string]string{
		`{"b": 1, "a": "x", "c": [true, "y"], "d": [], "e": null, "f": {}}`: "{a:sb:nc:[b]d:[]e:0f:{}}",
		`{"a": 1, "a": "x"}`: "{a:s}",
		`{"\u0061": 1}`:      "{a:n}",
		`[{"a": 1}, 2]`:      "[{a:n}]",
		`17`:                 "n",
		` "x" `:              "s",
	} {
		if got, isJSON := AppendSkeleton([]byte("before "), []byte(body)); string(got) != "before "+want || !isJSON {
			t.Errorf("%s: %q, %t", body, got, isJSON)
		}
	}
	for _, body := range []string{"", "{", "<p>", `{"a": 1} 2`} {
		if got, isJSON := AppendSkeleton([]byte("before"), []byte(body)); string(got) != "before" || isJSON {
			t.Errorf("%s: %q, %t", body, got, isJSON)
		}
	}
}
