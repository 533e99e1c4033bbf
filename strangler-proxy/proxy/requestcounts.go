package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

// requestCounts counts answered requests by route, side and class of status,
// and implements [prometheus.Collector]. Counters of Prometheus' own would each
// be a few steps away from the route: with thousands of routes none of these
// steps is in the processor's cache, and counting costs more than routing.
type requestCounts struct {
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

func newRequestCounts() *requestCounts {
	desc := prometheus.NewDesc("strangler_requests_total", "Requests answered, by declared route, side and class of status.",
		[]string{"route", "owner", "status"}, nil)
	return &requestCounts{desc: desc, routes: map[string]*counters{}}
}

// of returns the numbers of a route.
func (n *requestCounts) of(name string) *counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.routes[name]
	if c == nil {
		c = &counters{name: name}
		n.routes[name] = c
	}
	return c
}

// ofTable returns the numbers of a table's routes by their places. Most routes
// have the place that they had in the table before.
func (n *requestCounts) ofTable(t *route.Table, before *obeyed) []*counters {
	var had []*counters
	if before != nil {
		had = before.counters
	}
	all := make([]*counters, 0, len(had))
	for i, r := range t.Routes() {
		if i < len(had) && had[i].name == r.ID {
			all = append(all, had[i])
		} else {
			all = append(all, n.of(r.ID))
		}
	}
	return all
}

// Describe implements [prometheus.Collector].
func (n *requestCounts) Describe(to chan<- *prometheus.Desc) { to <- n.desc }

// Collect implements [prometheus.Collector].
func (n *requestCounts) Collect(to chan<- prometheus.Metric) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, c := range n.routes {
		for side := range c.sides {
			for class := range c.sides[side] {
				if times := c.sides[side][class].Load(); times > 0 {
					status := string(rune('0'+class)) + "xx"
					to <- prometheus.MustNewConstMetric(n.desc, prometheus.CounterValue, float64(times), name, string(sides[side]), status)
				}
			}
		}
	}
}
