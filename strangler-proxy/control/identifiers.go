package control

import (
	"encoding/json"
	"sync"
	"time"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// identifiersAge is how long it may take until the shadow goes by a contract
// that was changed.
const identifiersAge = 2 * time.Second

// identities remembers where the capabilities' contracts say that identifiers
// are: every mirrored answer asks for it, and the files change seldom.
type identities struct {
	mu    sync.Mutex
	known map[string]identity // by capability
}

type identity struct {
	at     time.Time
	of     string // names the contract as it was
	routes map[string]contract.Identifiers
	named  string // digest of the places that rules call so; "" where there are none
}

// identifiers returns where a route's answers and requests hold identifiers that
// each side may choose, as the capability's contract says.
func (c *Control) identifiers(capability, routeID string) contract.Identifiers {
	return c.identity(capability).routes[routeID]
}

func (c *Control) identity(capability string) identity {
	path := ""
	if cfg := c.config(); cfg != nil {
		if p, ok := cfg.Capability(capability); ok {
			path = p.Contract
		}
	}
	k := &c.identities
	k.mu.Lock()
	defer k.mu.Unlock()
	have, known := k.known[capability]
	if known && time.Since(have.at) < identifiersAge {
		return have
	}
	if k.known == nil {
		k.known = map[string]identity{}
	}
	have.at = time.Now()
	digest, err := "", error(nil)
	if path != "" {
		// What does not exist, or cannot be read, the contract gate tells.
		digest, err = ContractDigest(path)
	}
	if of := path + " " + digest; !known || of != have.of {
		have = identity{at: have.at, of: of}
		if path != "" && err == nil {
			have.read(path)
		}
	}
	k.known[capability] = have
	return have
}

func (i *identity) read(path string) {
	c, err := contract.Load(path)
	if err != nil {
		return
	}
	i.routes = c.Identifiers()
	named := map[string]map[int]match.Rules{}
	for id, r := range i.routes {
		for status, rules := range r.Named {
			if rules.Empty() {
				continue
			}
			if named[id] == nil {
				named[id] = map[int]match.Rules{}
			}
			named[id][status] = rules
		}
	}
	if raw, err := json.Marshal(named); err == nil && len(named) > 0 {
		i.named = digestOf(raw)
	}
}
