package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/verify"
)

// followed is a move that is copied, whose follower catches up when settled.
func followed(t *testing.T, invoices int) (c *copied, settle func(context.Context, change.Position) error) {
	c = newCopied(t, invoices)
	must(t, c.run(t.Context(), nil))
	c.catchUp()
	var mu sync.Mutex
	return c, func(context.Context, change.Position) error {
		mu.Lock()
		defer mu.Unlock()
		c.catchUp()
		return nil
	}
}

// behind changes the follower behind the toolkit's back.
func (c *copied) behind(query string) {
	c.Helper()
	exec(c.T, c.follower.app, "SET strangler.applier = 'on'; SET session_replication_role = replica; "+query+"; RESET ALL")
}

// hashing counts how a verification went about it.
type hashing struct {
	change.Database
	change.Hasher
	mu                     sync.Mutex
	digests, fingerprinted int
	unable                 int
}

func (h *hashing) Digests(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range) (here, there change.Digest, ok bool, err error) {
	here, there, ok, err = h.Hasher.Digests(ctx, follower, plan, side, r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.digests++
	if !ok {
		h.unable++
	}
	return here, there, ok, err
}

func (h *hashing) Fingerprints(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range) (here, there []change.Fingerprint, ok bool, err error) {
	h.mu.Lock()
	h.fingerprinted++
	h.mu.Unlock()
	return h.Hasher.Fingerprints(ctx, follower, plan, side, r)
}

func (c *copied) verify(settle func(context.Context, change.Position) error, repair bool) (verify.Report, *hashing) {
	c.Helper()
	h := &hashing{Database: c.leader.db, Hasher: c.leader.db}
	r, err := verify.Run(c.Context(), verify.Options{Plan: c.plan, Owner: h, Follower: c.follower.db, OwnerSide: change.Monolith, Settle: settle, Repair: repair, Range: 20_000})
	must(c.T, err)
	return r, h
}

// TestEqualSidesHaveEqualHashes, of every type that can be hashed, and no row
// leaves either database.
func TestEqualSidesHaveEqualHashes(t *testing.T) {
	c, settle := followed(t, 1000)
	exec(t, c.leader.app, "UPDATE inv SET ratio = '-0', amount = 1.10, kind = '', raw = '' WHERE id = 5; UPDATE inv SET ratio = 'NaN', amount = NULL, kind = NULL, doc = 'null' WHERE id = 6; UPDATE inv SET made = 'infinity', ratio = '-Infinity' WHERE id = 7")
	must(t, settle(t.Context(), 0))
	report, h := c.verify(settle, false)
	if !report.Clean || report.Rows != 2000 || report.Rechecked > 0 {
		t.Errorf("%+v", report)
	}
	if h.unable > 0 || h.fingerprinted > 0 || h.digests < 2 {
		t.Errorf("%+v", h)
	}
}

// TestEveryKindOfDifferenceIsNarrowedToItsKeyAndColumn among many rows, and
// mended on request.
func TestEveryKindOfDifferenceIsNarrowedToItsKeyAndColumn(t *testing.T) {
	c, settle := followed(t, 60_000)
	exec(t, c.leader.app, "UPDATE inv SET kind = NULL, ratio = 1 WHERE id IN (30, 31)")
	must(t, settle(t.Context(), 0))
	for query, want := range map[string]string{
		"DELETE FROM invoices WHERE id = 40000":                                       "invoices 40000 missing ",
		"INSERT INTO invoice_lines VALUES (77777, 'nobody', 1)":                       "invoice_lines 77777,nobody extra ",
		"UPDATE invoices SET cents = cents + 1 WHERE id = 59999":                      "invoices 59999 different cents",
		"UPDATE invoices SET kind = '' WHERE id = 30":                                 "invoices 30 different kind",
		"UPDATE invoices SET state = 'draft' WHERE id = 31":                           "invoices 31 different state",
		"UPDATE invoices SET made = made + interval '1 microsecond' WHERE id = 2":     "invoices 2 different made",
		"UPDATE invoices SET doc = doc || '{\"x\": 1}' WHERE id = 3":                  "invoices 3 different doc",
		"UPDATE invoices SET raw = raw || '\\x00' WHERE id = 4":                       "invoices 4 different raw",
		"UPDATE invoices SET customer = gen_random_uuid() WHERE id = 6":               "invoices 6 different customer",
		"UPDATE invoices SET ok = NOT ok WHERE id = 8":                                "invoices 8 different ok",
		"UPDATE invoices SET ratio = ratio + 1e-9 WHERE id = 31":                      "invoices 31 different ratio",
		"UPDATE invoices SET small = small + 1 WHERE id = 9":                          "invoices 9 different small",
		"UPDATE invoice_lines SET quantity = NULL WHERE invoice = 10 AND code = 'c2'": "invoice_lines 10,c2 different quantity",
		"UPDATE invoices SET currency = 'USD' WHERE id = 12":                          "invoices 12 different currency",
		"UPDATE invoices SET number = number || ' ' WHERE id = 13":                    "invoices 13 different number",
		"UPDATE invoice_lines SET code = 'C2' WHERE invoice = 14 AND code = 'c2'":     "invoice_lines 14,C2 extra ",
		"UPDATE invoices SET small = 14, ratio = 3 WHERE id = 14":                     "invoices 14 different ratio",
	} {
		c.behind(query)
		report, h := c.verify(settle, false)
		var all []string
		for _, d := range report.Differences {
			all = append(all, fmt.Sprintf("%s %s %s %s", d.Table, d.Key, d.Kind, d.Column))
		}
		if report.Clean || !strings.Contains(strings.Join(all, "\n"), want) || len(all) > 2 {
			t.Errorf("%s: found %q", query, all)
		}
		if h.unable > 0 || h.fingerprinted == 0 {
			t.Errorf("%s: %d digests, %d unable", query, h.digests, h.unable)
		}
		if report, _ := c.verify(settle, true); !report.Clean || report.Repaired == 0 {
			t.Errorf("%s: not mended: %+v", query, report)
		}
	}
	if report, _ := c.verify(settle, false); !report.Clean {
		t.Errorf("%+v", report)
	}
}

// TestRowsOnTheirWayAreNoDifference: writers are at work during every
// verification.
func TestRowsOnTheirWayAreNoDifference(t *testing.T) {
	c, settle := followed(t, 60_000)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range uint64(2) {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(w, 5))
			for ctx.Err() == nil {
				c.write(random)
			}
		})
	}
	rechecked := int64(0)
	for range 5 {
		report, _ := c.verify(settle, false)
		rechecked += report.Rechecked
		if !report.Clean {
			t.Errorf("%+v", report)
		}
	}
	stop()
	writers.Wait()
	if rechecked == 0 {
		t.Error("no row was on its way: the writers did nothing")
	}
}

// TestAValueThatIsRefusedIsNamedAllTheSame, although it cannot be hashed.
func TestAValueThatIsRefusedIsNamedAllTheSame(t *testing.T) {
	c, _ := followed(t, 100)
	exec(t, c.leader.app, "SET strangler.applier = 'on'; UPDATE inv SET st = 9 WHERE id = 50")
	stuck := func(context.Context, change.Position) error { return nil } // the stream cannot pass it
	report, h := c.verify(stuck, false)
	if report.Clean || h.fingerprinted == 0 || len(report.Differences) != 1 || report.Differences[0].Key != "50" || report.Differences[0].Kind != "unmappable" {
		t.Errorf("%+v", report)
	}
}

// TestTheServiceIsHashedAsTheMonolithShouldHoldIt once it owns.
func TestTheServiceIsHashedAsTheMonolithShouldHoldIt(t *testing.T) {
	c, _ := followed(t, 500)
	stuck := func(context.Context, change.Position) error { return nil }
	run := func() (verify.Report, *hashing) {
		h := &hashing{Database: c.follower.db, Hasher: c.follower.db}
		r, err := verify.Run(t.Context(), verify.Options{Plan: c.plan, Owner: h, Follower: c.leader.db, OwnerSide: change.Service, Settle: stuck})
		must(t, err)
		return r, h
	}
	if report, h := run(); !report.Clean || h.unable > 0 || h.fingerprinted > 0 || report.Rows != 1000 {
		t.Errorf("%+v %+v", report, h)
	}
	exec(t, c.leader.app, "UPDATE inv SET amount = amount + 0.01 WHERE id = 20")
	if report, _ := run(); len(report.Differences) != 1 || report.Differences[0].Column != "amount" {
		t.Errorf("%+v", report)
	}
}
