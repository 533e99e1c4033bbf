package control

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/strangler-proxy/control/api"
)

// recorded leaves a finished recording of reads in the state, some of which find
// nothing.
func (s *server) recorded(name string, found, missing int) string {
	s.t.Helper()
	dir := Tapes(s.config())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	r, err := tape.NewRecorder(path, tape.NewRedactor([]byte("key"), nil), tape.RecorderOptions{Queue: found + missing})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		s.t.Fatal(err)
	}
	for n := range found + missing {
		e := tape.Exchange{Route: "GET /invoices", Request: tape.Request{Method: "GET", Path: "/invoices", Query: "n=" + fmt.Sprint(n)}, Response: tape.Response{Status: 200}}
		if n >= found {
			e.Response.Status = 404
		}
		r.Offer(e)
	}
	if err := r.Stop(); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// distilled makes the shop's contract of a tape.
func (s *shop) distilled(path string, cover float64) {
	s.t.Helper()
	exchanges, _, err := tape.Load(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var text bytes.Buffer
	if err := tape.Distill(exchanges, tape.Options{Consumer: "clients", Provider: "billing", Cover: cover}).Contract.Write(&text); err != nil {
		s.t.Fatal(err)
	}
	s.write("billing.pact.json", text.String())
}

// pend makes the interactions of a status pending.
func (s *shop) pend(status int) {
	s.t.Helper()
	path := filepath.Join(filepath.Dir(s.path), "billing.pact.json")
	held, err := contract.Load(path)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range held.Interactions {
		held.Interactions[i].Pending = held.Interactions[i].Response.Status == status
	}
	if err := held.Save(path); err != nil {
		s.t.Fatal(err)
	}
}

func TestAContractThatLacksWhatWasRecordedIsNotEnough(t *testing.T) {
	s := newShop(t)
	c := s.start()
	path := c.recorded("billing-20260701T120000.000.ndjson", 990, 10)
	s.distilled(path, 0.95)
	c.prove("pass")
	f := says(t, c.canCutOver("GET /invoices"), "contract")
	for _, want := range []string{"the contract covers 99.00 % of the 1000 requests recorded last, 99.9 % are asked for", "it lacks GET /invoices answers 404 (10 times, such as GET /invoices?n=990)"} {
		if f.Verdict != api.Missing || !strings.Contains(f.Text, want) || !strings.HasPrefix(f.Command, "strangler contract distill "+path) {
			t.Errorf("%+v does not say %q", f, want)
		}
	}
	s.distilled(path, 1)
	c.prove("pass")
	if f := says(t, c.canCutOver("GET /invoices"), "contract"); f.Verdict != api.Pass {
		t.Errorf("with a contract of all of it: %+v", f)
	}
	s.pend(404)
	c.prove("pass")
	if f := says(t, c.canCutOver("GET /invoices"), "contract"); f.Verdict != api.Missing ||
		!strings.Contains(f.Text, "10 of the 1000 requests recorded last are covered by pending interactions only, which are held against nobody: GET /invoices answers 404 (10 times") {
		t.Errorf("with interactions that are held against nobody: %+v", f)
	}
	s.save(func(s *shop) {
		s.more += "    waive: [{gate: coverage, reason: nobody asks for those, by: Ada, until: 2099-01-31}]\n"
	})
	c.reload()
	if f := says(t, c.canCutOver("GET /invoices"), "contract"); f.Verdict != api.Waived || !strings.Contains(f.Text, "coverage waived by Ada until 2099-01-31: nobody asks for those (it was: 10 of") {
		t.Errorf("with a waiver of what is not covered: %+v", f)
	}
	c.prove("fail")
	if f := says(t, c.canCutOver("GET /invoices"), "contract"); f.Verdict != api.Fail {
		t.Errorf("a waiver of coverage opens a contract that fails: %+v", f)
	}
	s.save(func(s *shop) { s.more = "" })
	c.reload()
	few := c.recorded("billing-20260701T130000.000.ndjson", 9999, 1)
	s.distilled(few, 1)
	s.pend(404)
	c.prove("pass")
	if f := says(t, c.canCutOver("GET /invoices"), "contract"); f.Verdict != api.Pass || !strings.Contains(f.Text, "; 1 of the 10000 requests recorded last are covered by pending interactions only") {
		t.Errorf("with few of them: %+v", f)
	}
	c.recorded("billing-20260702T120000.000.ndjson", 5, 5)
	c.recorded("billing-later-20260703T120000.000.ndjson", 0, 9) // another capability's
	s.distilled(path, 0.95)
	c.prove("pass")
	if f := says(t, c.canCutOver("GET /invoices"), "contract"); !strings.Contains(f.Text, "covers 50.00 % of the 10 requests") {
		t.Errorf("of a later recording: %+v", f)
	}
}
