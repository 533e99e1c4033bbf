package shadow

import (
	"github.com/prometheus/client_golang/prometheus"
)

// gauges tell how far each route's comparison is, whenever they are asked.
type gauges struct{ s *Shadow }

var (
	missing = prometheus.NewDesc("strangler_shadow_missing", "Clean comparisons that the stop rule still asks for.", []string{"route", "direction"}, nil)
	logE    = prometheus.NewDesc("strangler_shadow_log_e", "Natural logarithm of the e-value against the rate of mismatches that must be ruled out.", []string{"route", "direction"}, nil)
	open    = prometheus.NewDesc("strangler_shadow_unexplained", "Comparisons that differ in a way that nobody allows.", []string{"route", "direction"}, nil)
	held    = prometheus.NewDesc("strangler_shadow_held_bytes", "Bytes of mirrored bodies that wait or are under way.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (g gauges) Describe(to chan<- *prometheus.Desc) {
	to <- missing
	to <- logE
	to <- open
	to <- held
}

// Collect implements [prometheus.Collector].
func (g gauges) Collect(to chan<- prometheus.Metric) {
	for _, c := range g.s.Counts() {
		gauge := func(d *prometheus.Desc, value float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, c.Route, string(c.Direction))
		}
		gauge(missing, float64(c.Test.Missing(c.Rule)))
		gauge(logE, c.Test.LogE(c.Rule))
		gauge(open, float64(c.Mismatched))
	}
	to <- prometheus.MustNewConstMetric(held, prometheus.GaugeValue, float64(g.s.Held()))
}
