package control

import (
	"fmt"
	"os"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/trace"
)

// openAccessLog opens what requests are logged to, if they are.
func (c *Control) openAccessLog(cfg *config.Config, m *proxy.Metrics) error {
	switch cfg.AccessLog {
	case "off":
		return nil
	case "stdout":
		c.access = proxy.NewAccessLog(c.o.Access, m)
		return nil
	}
	f, err := os.OpenFile(cfg.Resolve(cfg.AccessLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("access_log: %w", err)
	}
	c.logged, c.access = f, proxy.NewAccessLog(f, m)
	return nil
}

// openTracer makes what spans are sent by, if they are wanted.
func (c *Control) openTracer(t config.Tracing) error {
	if t.Endpoint == "" {
		return nil
	}
	found, err := trace.New(trace.Options{
		Endpoint: t.Endpoint, Headers: t.Headers, Service: t.Service, Sample: t.Sample / 100, Metrics: c.registry, Log: c.o.Log,
	})
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	c.tracer = found
	return nil
}
