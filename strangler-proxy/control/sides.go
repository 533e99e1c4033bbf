package control

import (
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/upstream"
)

// sides returns both backends of a capability.
func (c *Control) sides(capability string) (monolith, service *upstream.Backend) {
	f := c.found.Load()
	if f == nil {
		return nil, nil
	}
	return f.monolith, f.services[capability]
}

// found are the backends of a config. They are looked up for every mirrored
// request, on the loop of its client, where nobody may wait for a lock.
type found struct {
	config   *config.Config
	monolith *upstream.Backend
	services map[string]*upstream.Backend // by capabilities
}

// enforce says which config is in force, whose backends there are.
func (c *Control) enforce(cfg *config.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg = cfg
	if f := c.found.Load(); f != nil && f.config == cfg {
		return
	}
	f := &found{cfg, c.backends[cfg.Monolith.Key()], make(map[string]*upstream.Backend, len(cfg.Capabilities))}
	for _, p := range cfg.Capabilities {
		f.services[p.Name] = c.backends[p.Service.Key()]
	}
	c.found.Store(f)
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
