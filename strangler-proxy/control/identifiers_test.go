package control

import (
	"testing"

	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

// numbered is a contract by which each side has invoices' ids of its own.
const numbered = `{"consumer":{"name":"a"},"provider":{"name":"b"},"interactions":[{"type":"Synchronous/HTTP","description":"list",
 "request":{"method":"GET","path":"/invoices"},"response":{"status":200,"body":{"content":{"id":1}}},
 "comments":{"strangler":{"route":"GET /invoices","matchingRules":{"body":{"$.id":{"matchers":[{"match":"id"}]}}}}}}]}`

// afresh has the contract be looked at again, as it is after a while.
func (s *server) afresh() {
	s.identities.mu.Lock()
	clear(s.identities.known)
	s.identities.mu.Unlock()
}

func TestTheContractSaysWhichIdentifiersMirroredAnswersMayHaveOfTheirOwn(t *testing.T) {
	s, c := shadowing(t, true)
	s.own.Store(true)
	c.compare(1)
	c.says(api.Fail, "0 of 1 mirrored answers agree")
	s.write("billing.pact.json", numbered)
	c.afresh()
	c.says(api.Missing, "what the contract calls an identifier changed since") // it begins anew
	c.compare(8)
	c.says(api.Pass, "8 of 8 mirrored answers agree")
	if n, _ := c.shadow.Count(shadowed, shadow.Forward); n.Noise != 8 {
		t.Errorf("%+v", n)
	}
	s.write("billing.pact.json", "{}") // nothing says so any more
	c.afresh()
	c.says(api.Missing, "what the contract calls an identifier changed since")
	c.compare(1)
	c.says(api.Fail, "0 of 1")
}
