package control

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"time"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// newBackend makes a backend as the config declares it.
func newBackend(n named, log *slog.Logger) (*upstream.Backend, error) {
	secure, err := backendTLS(n.TLS, func(err error) { log.Error("the new certificate is not shown", "backend", n.name, "error", err) })
	if err != nil {
		return nil, fmt.Errorf("%s: tls: %w", n.name, err)
	}
	return upstream.New(upstream.Options{
		Name: n.name, URLs: n.URLs, Protocol: upstream.Protocol(n.Protocol), TLS: secure,
		Timeouts: upstream.Timeouts{Dial: n.Timeouts.Dial, Answer: orUnbounded(n.Timeouts.Answer), Idle: orUnbounded(n.Timeouts.Idle)},
		Limits:   upstream.Limits{Connections: n.Limits.Connections, Requests: n.Limits.Requests},
		Breaker:  upstream.BreakerOptions{Failures: n.Breaker.Failures, Pause: n.Breaker.Pause},
		Health:   upstream.Health{Path: n.Health, Interval: n.HealthInterval}, Log: log,
	})
}

// orUnbounded turns the config's 0, any time, into what a backend calls so.
func orUnbounded(d time.Duration) time.Duration {
	if d == 0 {
		return upstream.Unbounded
	}
	return d
}

// backendTLS reads what a backend and this proxy know each other by. failed is
// told why a certificate of ours that has changed is not used.
func backendTLS(t config.BackendTLS, failed func(error)) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		raw, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s has no certificate in PEM", t.CA)
		}
	}
	if t.Certificate != "" {
		ours, err := listener.LoadCertificates(listener.CertificateOptions{Certificate: t.Certificate, Key: t.Key, Failed: failed})
		if err != nil {
			return nil, err
		}
		c.GetClientCertificate = ours.Shown
	}
	return c, nil
}

// manners returns how the backends of a config like to be spoken to.
func (c *Control) manners(cfg *config.Config) map[*upstream.Backend]proxy.Manners {
	all := map[*upstream.Backend]proxy.Manners{}
	for key, n := range namedBackends(cfg) {
		m := proxy.Manners{OwnHost: n.OwnHost, Rewrite: n.Rewrite, Parameters: n.Paths.Parameters == route.Same, BodyMethod: n.BodyMethod}
		if m != (proxy.Manners{}) {
			all[c.backends[key]] = m
		}
	}
	return all
}
