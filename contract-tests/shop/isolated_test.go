package shop_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"stranglerfig/contract-tests/shop"
	"stranglerfig/strangler-proxy/control/api"
)

// chained is a contract by which what pays or voids an invoice is about the one
// that was issued.
const chained = `{"consumer": {"name": "clerks"}, "provider": {"name": "billing"}, "interactions": [
 {"type": "Synchronous/HTTP", "description": "issued", "request": {"method": "POST", "path": "/invoices"},
  "response": {"status": 201, "body": {"content": {"id": 1}}},
  "comments": {"strangler": {"route": "POST /invoices", "chain": {"captures": [{"name": "invoice", "from": "$.body.id"}]}}}},
 {"type": "Synchronous/HTTP", "description": "paid", "request": {"method": "POST", "path": "/invoices/1/payments"}, "response": {"status": 201},
  "comments": {"strangler": {"route": "POST /invoices/{id}/payments", "chain": {"uses": [{"name": "invoice", "in": "$.path[1]"}]}}}},
 {"type": "Synchronous/HTTP", "description": "void", "request": {"method": "POST", "path": "/invoices/1/void"}, "response": {"status": 200, "body": {"content": {"id": 1}}},
  "comments": {"strangler": {"route": "POST /invoices/{id}/void", "chain": {"uses": [{"name": "invoice", "in": "$.path[1]"}], "returns": [{"name": "invoice", "in": "$.body.id"}]}}}}]}`

// chain has billing go by that contract.
func chain(t *testing.T, w *shop.World) {
	t.Helper()
	path := filepath.Join(w.Dir, "billing.pact.json")
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte(chained), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// clerk posts to the shop, which must not refuse it, and returns the id that it
// answers with.
func clerk(t *testing.T, w *shop.World, path, body string) int64 {
	t.Helper()
	id, ok := tell(t, w, path, body)
	if !ok {
		t.Fatalf("POST %s is refused", path)
	}
	return id
}

// tell posts to the shop and returns the id that it answers with, false where it
// refuses.
func tell(t *testing.T, w *shop.World, path, body string) (id int64, ok bool) {
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+w.Addr.Proxy+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, false
	}
	req.Header.Set("Authorization", "Bearer "+shop.Token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, false
	}
	defer res.Body.Close()
	var answer struct{ ID int64 }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode >= 500 {
		t.Errorf("POST %s: %d, %v", path, res.StatusCode, err)
	}
	return answer.ID, res.StatusCode < 300
}

// TestRowsRaiseNoFalseAlarmWhileManyClientsWriteToTheSame: they pay the same
// invoices and void each other's, so that a row moves while it is looked at.
func TestRowsRaiseNoFalseAlarmWhileManyClientsWriteToTheSame(t *testing.T) {
	w := world(t, shop.Options{Isolated: true})
	chain(t, w)
	const clients, each = 6, 30
	var all sync.WaitGroup
	shared := make(chan int64, 3*clients*each)
	for range clients {
		all.Go(func() {
			for n := range each {
				id, ok := tell(t, w, "/invoices", `{"customer_id": 1, "amount": 12.5, "note": "shared"}`)
				if !ok {
					continue
				}
				for range 3 {
					shared <- id
				}
				other := <-shared
				if n%5 == 4 {
					tell(t, w, fmt.Sprintf("/invoices/%d/void", other), `{}`) // which may be too late
					continue
				}
				tell(t, w, fmt.Sprintf("/invoices/%d/payments", other), `{"amount": 6.25, "ref": "shared"}`)
			}
		})
	}
	all.Wait()
	sum := api.Rows{}
	for route, n := range map[string]int64{"POST /invoices": clients * each, "POST /invoices/{id}/payments": clients * each * 4 / 5, "POST /invoices/{id}/void": clients * each / 5} {
		found := isolated(t, w, route, n)
		if found.Mismatched > 0 || found.Rows.Failed > 0 {
			t.Errorf("%s: %+v %+v", route, found, found.Rows)
		}
		sum.Alike, sum.Skewed, sum.Different = sum.Alike+found.Rows.Alike, sum.Skewed+found.Rows.Skewed, sum.Different+found.Rows.Different
	}
	t.Logf("%+v", sum)
	if sum.Different > 0 || sum.Alike < clients*each {
		t.Errorf("%+v", sum)
	}
}

// isolated is what was found of writes on a route, once so many are counted.
func isolated(t *testing.T, w *shop.World, route string, n int64) (found api.Shadow) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d writes of %s are compared", n, route), func() bool {
		out, _ := w.Strangler(t.Context(), "shadow", "status", "billing", "--json") // which may say that it is not enough
		var all api.Shadows
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, r := range all.Routes {
			if r.Route == route && r.Direction == "isolated" {
				found = r
			}
		}
		return found.Compared+found.Incomparable+found.Dropped == n
	})
	return found
}

// TestTheRowsOfMirroredWritesAreHeldAgainstTheMonoliths: the isolated store has
// begun empty, so that it numbers otherwise than the monolith; what one build
// writes wrongly is told although its answers do not show it.
func TestTheRowsOfMirroredWritesAreHeldAgainstTheMonoliths(t *testing.T) {
	wrong := buildWith(t, "billing-isolated", "extracted/billing/invoices/service.go", "setStatus(tx, id, row.Status, row.UpdatedAt)", "setStatus(tx, id, paid, row.UpdatedAt)")
	for _, build := range []string{"billing", wrong} {
		t.Run(build, func(t *testing.T) { mirrorWrites(t, shop.Options{Isolated: true, Billing: build}, build == wrong) })
	}
}

// TestTheRowsOfMirroredWritesAreComparedOnPostgreSQLToo, on both sides.
func TestTheRowsOfMirroredWritesAreComparedOnPostgreSQLToo(t *testing.T) {
	server := postgres(t)
	build := buildWith(t, "billing-isolated-pg", "extracted/billing/invoices/service.go", "setStatus(tx, id, row.Status, row.UpdatedAt)", "setStatus(tx, id, paid, row.UpdatedAt)")
	mirrorWrites(t, shop.Options{Isolated: true, Billing: build, Database: database(t, server.DSN), IsolatedDatabase: database(t, server.DSN)}, true)
}

// mirrorWrites has invoices issued, paid and voided, and looks at what was found
// of their rows.
func mirrorWrites(t *testing.T, o shop.Options, wrong bool) {
	w := world(t, o)
	chain(t, w)
	const n = 6
	var ids []int64
	for range n {
		ids = append(ids, clerk(t, w, "/invoices", `{"customer_id": 1, "amount": 12.5, "note": "isolated"}`))
	}
	alike := func(what string, n int64, found api.Shadow) {
		t.Helper()
		if found.Matched != n || found.Rows == nil || found.Rows.Alike < n || found.Rows.Different+found.Rows.Failed > 0 {
			t.Fatalf("%s: %+v %+v", what, found, found.Rows)
		}
	}
	alike("issued", n, isolated(t, w, "POST /invoices", n))
	for _, id := range ids[:3] {
		clerk(t, w, fmt.Sprintf("/invoices/%d/payments", id), `{"amount": 2.5, "ref": "isolated"}`)
	}
	alike("paid", 3, isolated(t, w, "POST /invoices/{id}/payments", 3))
	for _, id := range ids[3:] {
		clerk(t, w, fmt.Sprintf("/invoices/%d/void", id), `{}`)
	}
	void := isolated(t, w, "POST /invoices/{id}/void", 3)
	if !wrong {
		alike("void", 3, void)
		// A file that no longer names the database leaves nothing in it.
		installed := func() int {
			left, err := w.Count(t.Context(), "isolated.db", "SELECT name, 1 FROM sqlite_schema WHERE name LIKE '%strangler%'")
			if err != nil {
				t.Fatal(err)
			}
			return len(left)
		}
		if installed() == 0 {
			t.Error("the store's log is not there")
		}
		reword(t, w, `, database: "sqlite:isolated.db"}}`, "}}")
		eventually(t, "nothing stays in the store's database", func() bool { return installed() == 0 })
		return
	}
	if void.Mismatched != 3 || void.Rows.Different != 3 || len(void.Differences) != 1 || void.Differences[0].Fingerprint != "value $.rows.invoices.status" || void.Differences[0].Expected != "void" || void.Differences[0].Actual != "paid" {
		t.Errorf("void: %+v %+v", void, void.Rows)
	}
	refused(t, w, api.ExitNo, []string{"POST /invoices/{id}/void", "value at $.rows.invoices.status"}, "shadow", "differences", "billing")
}
