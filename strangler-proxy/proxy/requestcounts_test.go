package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

// requestsTotal reads strangler_requests_total as Prometheus does.
func requestsTotal(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "strangler_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			name := ""
			for _, label := range m.GetLabel() {
				name += label.GetName() + "=" + label.GetValue() + " "
			}
			found[name] = m.GetCounter().GetValue()
		}
	}
	return found
}

func TestWhatWasCountedOfARouteIsNotForgottenWithIt(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	table := func(paths ...string) *route.Table {
		var routes []route.Route
		for _, path := range paths {
			r, err := route.Parse("GET " + path)
			if err != nil {
				t.Fatal(err)
			}
			r.Owner = route.Owner{Stage: route.Monolith}
			routes = append(routes, r)
		}
		compiled, problems := route.Compile(routes, route.Profile{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return compiled
	}
	before := &obeyed{counters: m.requests.ofTable(table("/a", "/b"), nil)}
	m.count(before.counters[0], change.Monolith, 200, time.Millisecond)
	m.count(before.counters[1], change.Service, 503, time.Millisecond)
	m.count(m.requests.of(noRoute), "", statusGone, time.Millisecond)

	without := &obeyed{counters: m.requests.ofTable(table("/b"), before)}
	m.count(without.counters[0], change.Service, 503, time.Millisecond)
	m.count(m.requests.ofTable(table("/c", "/a"), without)[1], change.Monolith, 204, time.Millisecond)

	want := map[string]float64{
		"owner=monolith route=GET /a status=2xx ": 2,
		"owner=service route=GET /b status=5xx ":  2,
		"owner= route=- status=4xx ":              1,
	}
	if got := requestsTotal(t, registry); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, not %v", got, want)
	}
}
