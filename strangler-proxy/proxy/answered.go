package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

// answered counts requests by route, side and class of status, and implements
// [prometheus.Collector]. Counters of Prometheus' own would each be a few steps
// away from the route: with thousands of routes none of these steps is in the
// processor's cache, and counting costs more than routing.
type answered struct {
	desc *prometheus.Desc

	mu     sync.Mutex
	routes map[string]*counters // never forgotten: what was counted stays counted
}

// counters are a route's numbers.
type counters struct {
	name  string
	sides [len(sides)][classes]atomic.Int64
}

// sides are who may have answered; "": nobody of them.
var sides = [...]change.Side{"", change.Monolith, change.Service}

func sideIndex(s change.Side) int {
	switch s {
	case change.Monolith:
		return 1
	case change.Service:
		return 2
	}
	return 0
}

// classes of status, by their first digit.
const classes = 6

func newAnswered() *answered {
	desc := prometheus.NewDesc("strangler_requests_total", "Requests answered, by declared route, side and class of status.",
		[]string{"route", "owner", "status"}, nil)
	return &answered{desc: desc, routes: map[string]*counters{}}
}

// of returns the numbers of a route.
func (a *answered) of(name string) *counters {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.routes[name]
	if c == nil {
		c = &counters{name: name}
		a.routes[name] = c
	}
	return c
}

// ofTable returns the numbers of a table's routes by their places. Most routes
// have the place that they had in the table before.
func (a *answered) ofTable(t *route.Table, before *obeyed) []*counters {
	var had []*counters
	if before != nil {
		had = before.counters
	}
	all := make([]*counters, 0, len(had))
	for i, r := range t.Routes() {
		if i < len(had) && had[i].name == r.ID {
			all = append(all, had[i])
		} else {
			all = append(all, a.of(r.ID))
		}
	}
	return all
}

// Describe implements [prometheus.Collector].
func (a *answered) Describe(to chan<- *prometheus.Desc) { to <- a.desc }

// Collect implements [prometheus.Collector].
func (a *answered) Collect(to chan<- prometheus.Metric) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, c := range a.routes {
		for side := range c.sides {
			for class := range c.sides[side] {
				if n := c.sides[side][class].Load(); n > 0 {
					status := string(rune('0'+class)) + "xx"
					to <- prometheus.MustNewConstMetric(a.desc, prometheus.CounterValue, float64(n), name, string(sides[side]), status)
				}
			}
		}
	}
}
