package proxy

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the proxy's numbers, for Prometheus.
type Metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	held      prometheus.Histogram
	fallbacks *prometheus.CounterVec
	failures  *prometheus.CounterVec
	refused   *prometheus.CounterVec
	epoch     *prometheus.GaugeVec
}

// NewMetrics registers the proxy's numbers.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strangler_requests_total", Help: "Requests answered, by declared route, side and class of status.",
		}, []string{"route", "owner", "status"}),
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
	}
	r.MustRegister(m.requests, m.seconds, m.held, m.fallbacks, m.failures, m.refused, m.epoch)
	return m
}
