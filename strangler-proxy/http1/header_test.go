package http1_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

func TestAHeaderHasEachFieldThatIsNotSkipped(t *testing.T) {
	fields := []http1.Field{{"accept", "a"}, {"X-Two", "1"}, {"Connection", "close"}, {"x-two", "2"}, {"X-Last", ""}}
	var got http.Header = http1.Header(fields, func(i int) bool { return fields[i].Name == "Connection" })
	want := http.Header{"Accept": {"a"}, "X-Two": {"1", "2"}, "X-Last": {""}}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("%v", got)
	}
	got.Add("Accept", "b")
	if got.Get("X-Two") != "1" {
		t.Errorf("what is added to one field is another one's: %v", got)
	}
}
