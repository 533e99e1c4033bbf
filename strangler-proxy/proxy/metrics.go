package proxy

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/migrations/change"
)

// Metrics are the proxy's numbers, for Prometheus.
type Metrics struct {
	requests  *requestCounts
	seconds   *prometheus.HistogramVec
	took      [len(sides)]atomic.Pointer[prometheus.Observer] // seconds of each side
	held      prometheus.Histogram
	fallbacks *prometheus.CounterVec
	failures  *prometheus.CounterVec
	refused   *prometheus.CounterVec
	epoch     *prometheus.GaugeVec
	unlogged  prometheus.Counter
}

// NewMetrics registers the proxy's numbers.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: newRequestCounts(),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strangler_request_seconds", Help: "Time to answer, including time held.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"owner"}),
		held: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "strangler_held_seconds", Help: "Time that writes waited for a switch.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strangler_fallbacks_total", Help: "Reads that the monolith answered in the service's place.",
		}, []string{"route"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strangler_upstream_failures_total", Help: "Requests that a backend did not answer.",
		}, []string{"backend"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strangler_refused_total", Help: "Requests refused by the proxy itself, by reason.",
		}, []string{"reason"}),
		epoch: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "strangler_epoch", Help: "Epoch of the present owner of a capability's writes.",
		}, []string{"capability"}),
		unlogged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "strangler_access_log_dropped_total", Help: "Lines of the access log that could not be written.",
		}),
	}
	r.MustRegister(m.requests, m.seconds, m.held, m.fallbacks, m.failures, m.refused, m.epoch, m.unlogged)
	return m
}

// Refused counts a request that the proxy itself refused.
func (p *Proxy) Refused(reason string) { p.o.Metrics.refused.WithLabelValues(reason).Inc() }

// count counts an answered request.
func (m *Metrics) count(c *counters, s change.Side, status int, took time.Duration) {
	side := sideIndex(s)
	c.sides[side][min(status/100, classes-1)].Add(1)
	seconds := m.took[side].Load()
	if seconds == nil {
		found := m.seconds.WithLabelValues(string(s))
		seconds = &found
		m.took[side].Store(seconds)
	}
	(*seconds).Observe(took.Seconds())
}

// statusGone stands for a client that went away before it was answered.
const statusGone = 499

// noRoute names requests for what no capability declares.
const noRoute = "-"

// routeID names the flight's route.
func (f *flight) routeID() string {
	if f.route == nil {
		return noRoute
	}
	return f.route.ID
}

// account counts and logs a request that has ended.
func (p *Proxy) account(f *flight) {
	took := time.Since(f.begun)
	status := f.status
	if status == 0 {
		status = statusGone
	}
	c := p.undeclared
	if f.route != nil {
		c = f.obeyed.counters[f.route.Place()]
	}
	p.o.Metrics.count(c, f.decision.Side, status, took)
	if f.held > time.Millisecond {
		p.o.Metrics.held.Observe(f.held.Seconds())
	}
	if f.span != nil {
		p.conclude(f, status)
	}
	if p.o.Log != nil {
		p.o.Log.note(f, status, took)
	}
}
