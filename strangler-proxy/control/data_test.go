package control

import (
	"database/sql"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"stranglerfig/strangler-proxy/control/api"
)

// withData makes billing's data move between two new databases.
func withData(s *shop) {
	s.routes = "GET /invoices: monolith; POST /invoices: monolith"
	s.more = "    data:\n      invoices: {from: inv, key: id, columns: {id: id, note: nt}}\n"
	for name, schema := range map[string]string{
		"shop.db": "CREATE TABLE inv (id INTEGER PRIMARY KEY, nt TEXT)", "billing.db": "CREATE TABLE invoices (id INTEGER PRIMARY KEY, note TEXT)",
	} {
		db, err := sql.Open("sqlite", filepath.Join(filepath.Dir(s.path), name))
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := db.Exec(schema); err != nil {
			s.t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// databases adds them to what was saved.
func (s *shop) databases() {
	s.t.Helper()
	raw, err := os.ReadFile(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.Replace(string(raw), "{url: "+s.monolith.URL+"}", "{url: "+s.monolith.URL+", database: sqlite:shop.db}", 1)
	text = strings.Replace(text, "{url: "+s.service.URL+"}", "{url: "+s.service.URL+", database: sqlite:billing.db}", 1)
	s.write(filepath.Base(s.path), text)
}

// operate runs a verb on billing.
func (s *server) operate(verb string) error {
	return s.api.Watch(s.t.Context(), "/v1/capabilities/billing/"+verb, api.OperateRequest{}, nil, nil)
}

// postedTo is who answers a write.
func (s *server) postedTo() string {
	s.t.Helper()
	res, err := http.Post(s.URL+"/invoices", "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	return readAll(s.t, res)
}

func TestACutoverNeedsItsGatesAndThenMovesTheWritesAndTheWords(t *testing.T) {
	s := newShop(t)
	s.save(withData)
	s.databases()
	c := s.start()
	var refused *api.Error
	if err := c.operate("cutover"); !errors.As(err, &refused) || refused.Code != api.ExitNotEnough {
		t.Fatalf("%v", err)
	}
	for _, command := range []string{"strangler contract verify billing", "strangler data prepare billing", "strangler data rehearse billing"} {
		if !strings.Contains(refused.Hint, command) {
			t.Errorf("the hint is %q; want it to say %q", refused.Hint, command)
		}
	}
	for _, verb := range []string{"prepare", "copy", "verify", "rehearse"} {
		if err := c.operate(verb); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	if err := c.operate("cutover"); !errors.As(err, &refused) || refused.Hint != "strangler contract verify billing" {
		t.Fatalf("but for the contract: %v", err)
	}
	c.prove("pass")
	if by := c.postedTo(); by != "monolith" {
		t.Errorf("before, the %s gets the writes", by)
	}
	if err := c.operate("cutover"); err != nil {
		t.Fatal(err)
	}
	if by := c.postedTo(); by != "service" {
		t.Errorf("after it, the %s gets the writes", by)
	}
	if text, err := os.ReadFile(s.path); err != nil || !strings.Contains(string(text), "POST /invoices: service\n") || !strings.Contains(string(text), "GET /invoices: monolith\n") {
		t.Errorf("the file says\n%s", text)
	}
	if err := c.operate("rollback"); err != nil {
		t.Fatal(err)
	}
	if by := c.postedTo(); by != "monolith" {
		t.Errorf("after the way back, the %s gets the writes", by)
	}
}

func TestWritesWithoutTheirDataGoNowhere(t *testing.T) {
	s := newShop(t)
	s.save(withData)
	s.databases()
	c := s.start()
	raw, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.write(filepath.Base(s.path), strings.Replace(string(raw), "POST /invoices: monolith", "POST /invoices: service", 1))
	for { // the switch that this asks for is refused on its own
		r := c.reload().Routes[1]
		if r.Actual != "monolith" || r.Wanted != "service" {
			t.Fatalf("%+v", r)
		}
		if strings.Contains(r.Why, "cutover of billing is refused") {
			break
		}
	}
	if by := c.postedTo(); by != "monolith" {
		t.Errorf("the %s gets the writes", by)
	}
}

// TestEveryDifferenceIsToldToWhoAsks, more of them than are listed at the end.
func TestEveryDifferenceIsToldToWhoAsks(t *testing.T) {
	s := newShop(t)
	s.save(withData)
	s.databases()
	c := s.start()
	for _, verb := range []string{"prepare", "copy"} {
		if err := c.operate(verb); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(filepath.Dir(s.path), "billing.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{
		"UPDATE strangler_context SET applier = 1",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) INSERT INTO invoices SELECT i, 'stray' FROM n",
		"UPDATE strangler_context SET applier = 0",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	for asked, want := range map[bool]int{false: 0, true: 1500} {
		told := map[string]bool{}
		var report struct {
			Differences []any
			Dropped     int
		}
		err := c.api.Watch(t.Context(), "/v1/capabilities/billing/verify", api.OperateRequest{All: asked}, func(e api.Event) {
			if e.Difference != nil {
				told[string(e.Difference)] = true
			}
		}, &report)
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Code != api.ExitNo || len(told) != want || len(report.Differences) != 1000 || report.Dropped != 500 {
			t.Errorf("asked %t: %d were told, %d listed, %d more, %v", asked, len(told), len(report.Differences), report.Dropped, err)
		}
		if asked && !told[`{"table":"invoices","key":"7","kind":"extra"}`] {
			t.Error("one is missing, or looks different")
		}
	}
}
