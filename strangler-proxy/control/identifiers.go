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
	at      time.Time
	looking bool   // somebody looks whether the contract has changed
	of      string // names the contract as it was; "" before the first look
	routes  map[string]contract.Identifiers
	named   string // digest of the places that rules call so; "" where there are none
}

// identifiers returns where a route's answers and requests hold identifiers that
// each side may choose, as the capability's contract says.
func (c *Control) identifiers(capability, routeID string) contract.Identifiers {
	return c.identity(capability).routes[routeID]
}

// identity is asked on the way of requests as well: of many that ask at once, one
// looks at the file, and the others go by what was known. Only the first look is
// waited for.
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
	if known && (have.looking || time.Since(have.at) < identifiersAge) {
		return have
	}
	if k.known == nil {
		k.known = map[string]identity{}
	}
	if !known {
		have = have.renewed(path)
		k.known[capability] = have
		return have
	}
	have.looking = true
	k.known[capability] = have
	k.mu.Unlock()
	have = have.renewed(path)
	k.mu.Lock()
	k.known[capability] = have
	return have
}

// renewed is what the contract says now.
func (i identity) renewed(path string) identity {
	digest, err := "", error(nil)
	if path != "" {
		// What does not exist, or cannot be read, the contract gate tells.
		digest, err = ContractDigest(path)
	}
	i.looking = false
	if of := path + " " + digest; of != i.of {
		i = identity{of: of}
		if path != "" && err == nil {
			i.read(path)
		}
	}
	i.at = time.Now()
	return i
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
