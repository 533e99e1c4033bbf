package control

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/change"
)

// ready starts a control whose billing could be cut over.
func ready(t *testing.T) (*shop, *server) {
	t.Helper()
	s := newShop(t)
	s.save(withData)
	s.databases()
	c := s.start()
	for _, verb := range []string{"prepare", "copy", "verify", "rehearse"} {
		if err := c.operate(verb); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	c.prove("pass")
	return s, c
}

// TestARollbackIsNotUndoneByAnUnrelatedSave rolls back while the file cannot be
// edited, and saves it later with the old words and a comment.
func TestARollbackIsNotUndoneByAnUnrelatedSave(t *testing.T) {
	s, c := ready(t)
	if err := c.operate("cutover"); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.write(filepath.Base(s.path), string(good)+"\nnonsense: [") // an editor's half-finished draft
	if err := c.operate("rollback"); err != nil {
		t.Fatal(err)
	}
	s.write(filepath.Base(s.path), string(good)+"\n# a comment\n")
	for range 3 {
		c.reload()
		if owner, _ := c.proxy.Owner("billing"); owner != change.Monolith || c.postedTo() != "monolith" {
			t.Fatal("a save that changed no owner word undid the rollback")
		}
	}
}

// TestAMismatchSurvivesARestart has answers that differ.
func TestAMismatchSurvivesARestart(t *testing.T) {
	s := newShop(t)
	s.save(func(s *shop) { s.routes = "GET /invoices: shadow" })
	c := s.start()
	c.prove("pass")
	c.by()
	for deadline := time.Now().Add(20 * time.Second); !c.shadow.Idle() || len(c.shadow.Counts()) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was compared")
		}
		runtime.Gosched()
	}
	s.wants("service")
	if r := c.reload().Routes[0]; r.Actual == "service" {
		t.Fatalf("with a mismatch: %+v", r)
	}
	c.stop()
	c = s.start()
	if r := c.reload().Routes[0]; r.Actual == "service" {
		t.Errorf("after a restart: %+v", r)
	}
}

// TestARouteThatWasRemovedBeginsAnew takes a canary out of the file and puts it
// back when its evidence is void.
func TestARouteThatWasRemovedBeginsAnew(t *testing.T) {
	s := newShop(t)
	s.save(func(s *shop) { s.routes = "GET /invoices: canary 100%; GET /other: monolith" })
	c := s.start()
	c.prove("pass")
	c.reload()
	s.save(func(s *shop) { s.routes = "GET /other: monolith" })
	c.reload()
	c.stop()
	s.save(func(s *shop) { s.routes = "GET /invoices: canary 100%; GET /other: monolith" })
	s.write("billing.pact.json", `{"changed": true}`)
	c = s.start()
	if r := c.reload().Routes[0]; r.Actual != "monolith" {
		t.Errorf("%+v", r)
	}
}

// TestARefusedFileTakesNothingAway refuses a file that changes a mapping under
// way, and with it other backends.
func TestARefusedFileTakesNothingAway(t *testing.T) {
	s, c := ready(t)
	good, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(good), "columns: {id: id, note: nt}", "columns: {id: id}", 1)
	bad = strings.Replace(bad, s.service.URL, s.service.URL+"0", 1)
	bad = strings.Replace(bad, s.monolith.URL, s.monolith.URL+"0", 1)
	s.write(filepath.Base(s.path), bad)
	if err := c.Reload(t.Context()); err == nil {
		t.Fatal("the mapping of a move under way was changed")
	}
	if m, sv := c.sides("billing"); m == nil || sv == nil {
		t.Error("the backends of the file in force are gone")
	}
	res, err := http.Get(c.URL + "/invoices")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	s.write(filepath.Base(s.path), string(good))
	c.reload()
	if err := c.operate("cutover"); err != nil {
		t.Error(err)
	}
}
