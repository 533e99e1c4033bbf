package control

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

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

// TestNobodyWaitsForALookAtTheContract: the file may be on a disk that hangs, and
// requests ask what it says.
func TestNobodyWaitsForALookAtTheContract(t *testing.T) {
	s := newShop(t)
	s.write("billing.pact.json", numbered)
	c := s.start()
	before := c.identity("billing")
	if before.named == "" {
		t.Fatal("the contract names identifiers, and nothing was read")
	}
	path := filepath.Join(filepath.Dir(s.path), "billing.pact.json")
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	looking := func() bool {
		c.identities.mu.Lock()
		defer c.identities.mu.Unlock()
		return c.identities.known["billing"].looking
	}
	c.identities.mu.Lock()
	old := c.identities.known["billing"]
	old.at = time.Time{} // it is time to look again
	c.identities.known["billing"] = old
	c.identities.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { c.identity("billing") }) // hangs
	for !looking() {
		runtime.Gosched()
	}
	if now := c.identity("billing"); now.named != before.named {
		t.Errorf("%+v", now)
	}
	hung, err := os.OpenFile(path, os.O_RDWR, 0) // lets the look go on
	if err != nil {
		t.Fatal(err)
	}
	if _, err = hung.WriteString("{}"); err != nil {
		t.Error(err)
	}
	os.Remove(path)
	hung.Close()
	wg.Wait()
}
