package shop_test

import (
	"maps"
	"strings"
	"testing"

	"stranglerfig/contract-tests/shop"
	"stranglerfig/strangler-proxy/control/api"
)

// TestAPairIsFilledAndItsEffectsAreComparedWhateverTheDatabases fills a pair,
// with PostgreSQL on either side and on both, and checks the contract there: the
// right build passes, and one that writes something else does not, although it
// answers the same. Nothing of ours stays in the databases.
func TestAPairIsFilledAndItsEffectsAreComparedWhateverTheDatabases(t *testing.T) {
	server := postgres(t)
	wrong := buildWith(t, "billing-paid-for-void", "extracted/billing/invoices/service.go", "setStatus(tx, id, row.Status, row.UpdatedAt)", "setStatus(tx, id, paid, row.UpdatedAt)")
	for name, on := range map[string]struct{ monolith, service bool }{
		"from PostgreSQL to SQLite":     {monolith: true},
		"from SQLite to PostgreSQL":     {service: true},
		"from PostgreSQL to PostgreSQL": {monolith: true, service: true},
	} {
		for _, build := range []string{"billing", wrong} {
			t.Run(name+" with "+build, func(t *testing.T) {
				o := shop.Options{Scratch: true, ScratchSize: 300, Billing: build}
				if on.monolith {
					o.ScratchDatabase = database(t, server.DSN)
				}
				if on.service {
					o.ScratchBillingDatabase = database(t, server.DSN)
				}
				w := world(t, o)
				fill := []string{"data", "fill", "billing", "--pair", w.ScratchDatabases()}
				run(t, w, fill...)
				filled(t, w)
				refused(t, w, api.ExitNo, []string{"fill the pair: ", "invoices: is not empty"}, fill...)
				bare(t, w, on.monolith, on.service)
				verify := append([]string{"contract", "verify", "billing", "--effects", w.ScratchDatabases()}, pairOf(w)...)
				if build == wrong {
					refused(t, w, api.ExitNo, []string{"in the databases: $.rows.invoices.status: value: expected void, got paid", "20 passed, 1 failed"}, verify...)
				} else if out := run(t, w, verify...); !strings.Contains(out, "21 passed, 0 failed") {
					t.Errorf("verified:\n%s", out)
				}
				bare(t, w, on.monolith, on.service)
			})
		}
	}
}

// filled checks that the pair's service holds what its monolith does.
func filled(t *testing.T, w *shop.World) {
	t.Helper()
	ours, err := w.Count(t.Context(), "scratch-shop.db", "SELECT 'invoices', count(*) FROM inv UNION ALL SELECT 'payments', count(*) FROM inv_pay")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := w.Count(t.Context(), "scratch-billing.db", "SELECT 'invoices', count(*) FROM invoices UNION ALL SELECT 'payments', count(*) FROM payments")
	if err != nil || !maps.Equal(ours, theirs) || ours["invoices"] != 300 {
		t.Errorf("the monolith holds %v, the service %v, %v", ours, theirs, err)
	}
}

// bare checks that nothing of ours is in the pair's databases.
func bare(t *testing.T, w *shop.World, monolith, service bool) {
	t.Helper()
	for file, onPostgres := range map[string]bool{"scratch-shop.db": monolith, "scratch-billing.db": service} {
		query := "SELECT name, 1 FROM sqlite_schema WHERE name LIKE '%strangler%'"
		if onPostgres {
			query = `SELECT 'trigger ' || tgname, 1 FROM pg_trigger WHERE NOT tgisinternal
				UNION ALL SELECT 'schema ' || nspname, 1 FROM pg_namespace WHERE nspname LIKE '%strangler%'
				UNION ALL SELECT 'publication ' || pubname, 1 FROM pg_publication
				UNION ALL SELECT 'slot ' || slot_name, 1 FROM pg_replication_slots WHERE database = current_database()`
		}
		if left, err := w.Count(t.Context(), file, query); err != nil || len(left) > 0 {
			t.Errorf("%s still holds %v, %v", file, left, err)
		}
	}
}
