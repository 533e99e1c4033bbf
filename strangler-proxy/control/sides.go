package control

import (
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/upstream"
)

// sides returns both backends of a capability.
func (c *Control) sides(capability string) (monolith, service *upstream.Backend) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg == nil {
		return nil, nil
	}
	if c.found.config != c.cfg {
		c.found = found{c.cfg, c.backends[c.cfg.Monolith.Key()], map[string]*upstream.Backend{}}
	}
	service, known := c.found.services[capability]
	if !known {
		if p, ok := c.cfg.Capability(capability); ok {
			service = c.backends[p.Service.Key()]
			c.found.services[capability] = service
		}
	}
	return c.found.monolith, service
}

// found are the backends of a config, as far as anybody asked for them: finding
// one by its key for every mirrored request would cost more than sending it.
type found struct {
	config   *config.Config
	monolith *upstream.Backend
	services map[string]*upstream.Backend // by capabilities
}

// sideConfig returns what the config says about one side of a capability.
func sideConfig(cfg *config.Config, p *config.Capability, side change.Side) config.Backend {
	if side == change.Service {
		return p.Service
	}
	return cfg.Monolith
}

// leader returns the side whose data leads, the monolith while nobody has been
// named.
func (c *Control) leader(capability string) change.Side {
	if owner, known := c.proxy.Owner(capability); known {
		return owner
	}
	return change.Monolith
}
