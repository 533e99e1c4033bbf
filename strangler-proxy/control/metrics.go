package control

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/upstream"
)

// inForce lists the backends that the config in force names, by name. Others
// may still be ending what they began, under the same names.
func (c *Control) inForce() []*upstream.Backend {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg == nil {
		return nil
	}
	var all []*upstream.Backend
	for key := range namedBackends(c.cfg) {
		if b := c.backends[key]; b != nil {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(one, two *upstream.Backend) int { return cmp.Compare(one.Name, two.Name) })
	return all
}

// backendStatus tells how every backend is doing.
func (c *Control) backendStatus() []api.Backend {
	var all []api.Backend
	for _, b := range c.inForce() {
		s := b.Stats()
		out := api.Backend{
			Name: b.Name, Breaker: string(s.Breaker), BreakerOpened: s.Opened, UnderWay: s.InFlight, Connections: s.Connections, Waiting: s.Waiting,
			Refused: map[string]int64{"requests": s.RefusedRequests, "connections": s.RefusedConnections, "breaker": s.RefusedOpen},
			Retries: s.Retries, RetriesRefused: s.RetriesRefused, Fallbacks: s.Fallbacks,
		}
		for _, e := range s.Endpoints {
			out.Idle += e.Idle
			one := api.Endpoint{
				URL: e.URL, State: string(e.State), UnderWay: e.InFlight, Outcomes: map[string]int64{}, Ejections: e.Ejections, ChecksWell: e.Checks.Well, ChecksIll: e.Checks.Ill,
			}
			for o, n := range e.Outcomes {
				one.Outcomes[upstream.Outcome(o).String()] = n
			}
			out.Endpoints = append(out.Endpoints, one)
		}
		all = append(all, out)
	}
	return all
}

// backendMetrics are the numbers of the backends, for Prometheus. They are read
// when somebody asks: requests spend nothing on them.
type backendMetrics struct {
	backends                                    func() []*upstream.Backend
	underWay, connections, idle, waiting        *prometheus.Desc
	requests, refused, retries, denied          *prometheus.Desc
	fallbacks, breaker, changes                 *prometheus.Desc
	endpoint, endpointUnderWay, ejected, checks *prometheus.Desc
}

func newBackendMetrics(backends func() []*upstream.Backend) *backendMetrics {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("strangler_backend_"+name, help, append([]string{"backend"}, more...), nil)
	}
	return &backendMetrics{
		backends:         backends,
		underWay:         desc("under_way", "Requests that the backend is at work on."),
		connections:      desc("connections", "Open connections."),
		idle:             desc("connections_idle", "Open connections that nobody uses, of those over which HTTP/1.1 is spoken."),
		waiting:          desc("waiting", "Requests that wait for a connection."),
		requests:         desc("requests_total", "Requests sent, by endpoint and how they went.", "endpoint", "outcome"),
		refused:          desc("refused_total", "Requests not sent: too many under way (requests), no connection to be had (connections), or the breaker was open (breaker).", "reason"),
		retries:          desc("retries_total", "Requests sent once more."),
		denied:           desc("retries_refused_total", "Requests not sent once more because the retry budget was used up."),
		fallbacks:        desc("fallbacks_total", "Reads that the monolith answered in the backend's place."),
		breaker:          desc("breaker", "1 for the state that the breaker is in.", "state"),
		changes:          desc("breaker_changes_total", "Times that the breaker opened and closed.", "to"),
		endpoint:         desc("endpoint", "1 for the state that the endpoint is in.", "endpoint", "state"),
		endpointUnderWay: desc("endpoint_under_way", "Requests that the endpoint is at work on.", "endpoint"),
		ejected:          desc("ejections_total", "Times that the endpoint was left out because requests to it failed.", "endpoint"),
		checks:           desc("checks_total", "Times that the endpoint was asked whether it is well, by what was found.", "endpoint", "result"),
	}
}

// Describe implements [prometheus.Collector].
func (m *backendMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.underWay, m.connections, m.idle, m.waiting, m.requests, m.refused, m.retries, m.denied, m.fallbacks, m.breaker, m.changes, m.endpoint, m.endpointUnderWay, m.ejected, m.checks,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *backendMetrics) Collect(to chan<- prometheus.Metric) {
	for _, b := range m.backends() {
		m.collect(b.Name, b.Stats(), to)
	}
}

func (m *backendMetrics) collect(name string, s upstream.Stats, to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), append([]string{name}, labels...)...)
	}
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{name}, labels...)...)
	}
	gauge(m.underWay, s.InFlight)
	gauge(m.connections, s.Connections)
	gauge(m.waiting, s.Waiting)
	counter(m.refused, s.RefusedRequests, "requests")
	counter(m.refused, s.RefusedConnections, "connections")
	counter(m.refused, s.RefusedOpen, "breaker")
	counter(m.retries, s.Retries)
	counter(m.denied, s.RetriesRefused)
	counter(m.fallbacks, s.Fallbacks)
	for _, state := range []upstream.State{upstream.Closed, upstream.Opened, upstream.HalfOpen} {
		gauge(m.breaker, oneIf(s.Breaker == state), string(state))
	}
	counter(m.changes, s.Opened, string(upstream.Opened))
	counter(m.changes, s.Closed, string(upstream.Closed))
	idle := 0
	for _, e := range s.Endpoints {
		idle += e.Idle
		gauge(m.endpointUnderWay, e.InFlight, e.URL)
		for _, state := range []upstream.EndpointState{upstream.Usable, upstream.Sick, upstream.Ejected} {
			gauge(m.endpoint, oneIf(e.State == state), e.URL, string(state))
		}
		for o, n := range e.Outcomes {
			counter(m.requests, n, e.URL, upstream.Outcome(o).String())
		}
		counter(m.ejected, e.Ejections, e.URL)
		counter(m.checks, e.Checks.Well, e.URL, "well")
		counter(m.checks, e.Checks.Ill, e.URL, "ill")
	}
	gauge(m.idle, int64(idle))
}

func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
