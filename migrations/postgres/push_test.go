package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// The invoices of a monolith and of a service, with every transform that can be
// written in SQL.
const (
	monolithInvoices = `CREATE TABLE inv (id bigint PRIMARY KEY, no varchar(40) NOT NULL UNIQUE, amount numeric(12, 2), st int NOT NULL, kind text,
			cust uuid, made timestamptz NOT NULL DEFAULT now(), doc jsonb, raw bytea, tiny int2, ratio float8, ok bool);
		CREATE TABLE lines (inv bigint REFERENCES inv ON DELETE CASCADE ON UPDATE CASCADE, code text, qty int, PRIMARY KEY (inv, code))`
	serviceInvoices = `CREATE TYPE state AS ENUM ('draft', 'issued', 'paid');
		CREATE TABLE invoices (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number text NOT NULL, cents bigint, state state NOT NULL, kind text,
			customer uuid, made timestamptz NOT NULL, doc jsonb, raw bytea, small bigint, ratio float8, ok bool, currency text NOT NULL, note text DEFAULT 'none',
			CONSTRAINT number_once UNIQUE (number));
		CREATE INDEX invoices_made ON invoices (made DESC NULLS LAST) WHERE cents > 0;
		CREATE UNIQUE INDEX invoices_lower ON invoices (lower(number));
		CREATE TABLE invoice_lines (invoice bigint REFERENCES invoices ON DELETE CASCADE, code varchar(20), quantity int CHECK (quantity > -1000), PRIMARY KEY (invoice, code));
		CREATE INDEX lines_code ON invoice_lines (code);
		CREATE INDEX lines_kept ON invoice_lines (quantity);
		COMMENT ON INDEX lines_kept IS 'what its definition does not tell';
		CREATE INDEX lines_ordered ON invoice_lines (code, quantity);
		ALTER TABLE invoice_lines CLUSTER ON lines_ordered;
		CREATE INDEX lines_measured ON invoice_lines ((quantity + 1));
		ALTER INDEX lines_measured ALTER COLUMN 1 SET STATISTICS 0`
)

func invoicesPlan(t testing.TB) *mapping.Plan {
	t.Helper()
	digits, currency := 2, "EUR"
	plan, problems := mapping.Compile(mapping.Spec{Capability: "move", Tables: []mapping.TableSpec{
		{To: "invoices", From: "inv", Key: []string{"id"}, Columns: []mapping.ColumnSpec{
			{To: "id", From: "id"}, {To: "number", From: "no"}, {To: "cents", From: "amount", Scale: &digits},
			{To: "state", From: "st", Enum: []mapping.EnumPair{{From: "0", To: "draft"}, {From: "1", To: "issued"}, {From: "2", To: "paid"}}},
			{To: "kind", From: "kind"}, {To: "customer", From: "cust"}, {To: "made", From: "made"}, {To: "doc", From: "doc"}, {To: "raw", From: "raw"},
			{To: "small", From: "tiny"}, {To: "ratio", From: "ratio"}, {To: "ok", From: "ok"}, {To: "currency", Constant: &currency},
		}},
		{To: "invoice_lines", From: "lines", Key: []string{"invoice", "code"}, Columns: []mapping.ColumnSpec{
			{To: "invoice", From: "inv"}, {To: "code", From: "code"}, {To: "quantity", From: "qty"},
		}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return plan
}

// tables returns one side's view of a plan.
func tables(plan *mapping.Plan, of change.Side) []change.Table {
	var all []change.Table
	for _, t := range plan.Tables {
		if of == change.Monolith {
			all = append(all, change.Table{Name: t.From, Columns: t.SourceColumns(), Key: t.SourceKey()})
		} else {
			all = append(all, change.Table{Name: t.To, Columns: t.TargetColumns(), Key: t.TargetKey()})
		}
	}
	return all
}

// copied is a move whose copy is tested.
type copied struct {
	*testing.T
	plan             *mapping.Plan
	leader, follower *side
}

func newCopied(t *testing.T, invoices int) *copied {
	t.Helper()
	needServer(t)
	c := &copied{T: t, plan: invoicesPlan(t)}
	c.leader = prepared(t, change.Leading, monolithInvoices, tables(c.plan, change.Monolith)...)
	exec(t, c.leader.app, `INSERT INTO inv (id, no, amount, st, kind, cust, doc, raw, tiny, ratio, ok)
		SELECT i, 'INV-' || i, CASE WHEN i % 7 > 0 THEN i / 100.0 END, i % 3, repeat(chr(64 + i % 60), i % 20), gen_random_uuid(),
			jsonb_build_object('i', i, 'q', '"\'), decode(lpad(to_hex(i), 8, '0'), 'hex'), i % 30000, i / 7.0, i % 2 = 0 FROM generate_series(1, $1) AS i`, invoices)
	exec(t, c.leader.app, "INSERT INTO lines SELECT id, 'c' || n, n FROM inv, generate_series(1, 2) AS n WHERE id % 2 = 0")
	exec(t, c.leader.app, "ANALYZE")
	c.follower = fresh(t, serviceInvoices, tables(c.plan, change.Service)...)
	must(t, c.follower.db.Prepare(t.Context(), change.Following))
	return c
}

func (c *copied) run(ctx context.Context, progress func(change.Progress)) error {
	return backfill.Run(ctx, backfill.Options{Plan: c.plan, Source: c.leader.db, Target: c.follower.db, Progress: progress})
}

// catchUp follows the leader through the mapping from where the copy began.
func (c *copied) catchUp() {
	c.Helper()
	start := ^change.Position(0)
	for i := range c.plan.Tables {
		l, err := c.follower.db.Loaded(c.Context(), i)
		must(c.T, err)
		if !l.Done {
			c.Fatalf("table %d is not copied: %+v", i, l)
		}
		start = min(start, l.At)
	}
	cp, err := c.follower.db.TakeStream(c.Context(), "stream", "runner", start)
	must(c.T, err)
	for {
		b, err := c.leader.db.Read(c.Context(), cp.Position, 1000)
		must(c.T, err)
		if b.To == cp.Position {
			return
		}
		for i, ch := range b.Changes {
			t := c.plan.Tables[ch.Table]
			b.Changes[i].Key, err = t.ForwardKey(ch.Key)
			must(c.T, err)
			if ch.Kind == change.Put {
				b.Changes[i].Row, err = t.Forward(ch.Row)
				must(c.T, err)
			}
		}
		must(c.T, c.follower.db.Apply(c.Context(), "stream", "runner", b))
		cp.Position = b.To
	}
}

// compare fails unless the follower holds what the mapping makes of the leader.
func (c *copied) compare() {
	c.Helper()
	leader := c.leader.rows("(SELECT id, no, (amount * 100)::bigint, (ARRAY['draft', 'issued', 'paid'])[st + 1], kind, cust, made, doc, raw, tiny, ratio, ok, 'EUR', 'none' FROM inv)")
	follower := c.follower.rows("invoices")
	if !slices.Equal(leader, follower) {
		c.Fatalf("%d invoices and %d copies differ", len(leader), len(follower))
	}
	if leader, follower := c.leader.rows("lines"), c.follower.rows("invoice_lines"); !slices.Equal(leader, follower) || len(leader) == 0 {
		c.Fatalf("%d lines and %d copies differ", len(leader), len(follower))
	}
}

// definitions describes the indexes and constraints of the service's tables.
func (c *copied) definitions() []string {
	return c.follower.rows(`(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid IN ('invoices'::regclass, 'invoice_lines'::regclass)
		UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('invoices'::regclass, 'invoice_lines'::regclass))`)
}

// TestACopyInPartsBesideWritersAndTheLogAfterItAreTheSource: writers insert,
// delete, renumber and swap unique values all the while.
func TestACopyInPartsBesideWritersAndTheLogAfterItAreTheSource(t *testing.T) {
	c := newCopied(t, 90_000)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range uint64(2) {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(w, 3))
			for ctx.Err() == nil {
				c.write(random)
			}
		})
	}
	must(t, c.follower.db.BeginLoad(t.Context()))
	err := c.run(t.Context(), func(change.Progress) {})
	stop()
	writers.Wait()
	must(t, err)
	if n := c.follower.number("SELECT count(*) FROM strangler.part WHERE tab = 0 AND done"); n != 4 {
		t.Errorf("it was copied in %d parts", n)
	}
	c.catchUp()
	must(t, c.follower.db.FinishLoad(t.Context()))
	c.compare()
}

func (c *copied) write(random *rand.Rand) {
	a, b := 1+random.IntN(90_000), 1+random.IntN(90_000)
	for _, q := range []string{
		"UPDATE inv SET amount = amount + 1, st = (st + 1) % 3 WHERE id = $1 OR id = $2",
		"UPDATE inv SET id = id + 1000000 WHERE id = $1 AND $2 > 0",
		"DELETE FROM inv WHERE id = $1 AND $2 > 0",
		"WITH gone AS (DELETE FROM inv WHERE id = $1 RETURNING no) INSERT INTO inv (id, no, amount, st) SELECT 2000000 + $2, no || '/2', 1, 0 FROM gone ON CONFLICT DO NOTHING",
		"UPDATE lines SET code = 'x' || code WHERE inv = $1 AND $2 > 0",
	} {
		if _, err := c.leader.app.Exec(q, a, b); err != nil && !strings.Contains(err.Error(), "duplicate") && !strings.Contains(err.Error(), "deadlock") {
			c.Error(err)
		}
	}
}

// TestACopyInPartsThatWasInterruptedGoesOnUnderAnotherCut: a unique value has
// moved from a row that is copied to one that is not.
func TestACopyInPartsThatWasInterruptedGoesOnUnderAnotherCut(t *testing.T) {
	c := newCopied(t, 60_000)
	before := c.definitions()
	must(t, c.follower.db.BeginLoad(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	err := c.run(ctx, func(p change.Progress) {
		if p.Done > 5000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the copy was not interrupted: %v", err)
	}
	held, err := c.follower.db.Loaded(t.Context(), 0)
	must(t, err)
	if held.Done || held.Rows < 5000 || held.Rows >= 60_000 {
		t.Fatalf("%+v", held)
	}
	c.expectNoSnapshot()
	done := c.follower.number("SELECT min(id) FROM invoices")
	open := c.follower.number("SELECT max(i) FROM generate_series(1, 60000) AS i WHERE NOT EXISTS (SELECT 1 FROM invoices WHERE id = i)")
	exec(t, c.leader.app, "UPDATE inv SET no = 'swapped' WHERE id = $1", open)
	exec(t, c.leader.app, "UPDATE inv SET no = 'INV-' || $2::bigint WHERE id = $1", done, open)
	exec(t, c.leader.app, "UPDATE inv SET no = 'INV-' || $2::bigint WHERE id = $1", open, done)
	c.leader.db.Close()
	c.leader.db = opened(t, c.leader.dsn, change.Monolith, tables(c.plan, change.Monolith))
	c.follower.db.Close()
	c.follower.db = opened(t, c.follower.dsn, change.Monolith, tables(c.plan, change.Service))
	must(t, c.follower.db.BeginLoad(t.Context()))
	must(t, c.run(t.Context(), nil))
	if n := c.follower.number("SELECT sum(rows) FROM strangler.part WHERE tab = 0"); n != 60_000 {
		t.Errorf("%d rows were copied, some of them twice or never", n)
	}
	if err := c.follower.db.FinishLoad(t.Context()); !errors.Is(err, change.ErrUnfinished) {
		t.Errorf("two rows have one number, and it is unique: %v", err)
	}
	c.catchUp()
	must(t, c.follower.db.FinishLoad(t.Context()))
	c.compare()
	if after := c.definitions(); !slices.Equal(before, after) {
		t.Errorf("before %v\nafter %v", before, after)
	}
}

// expectNoSnapshot waits until the server has noticed that nobody holds one.
func (c *copied) expectNoSnapshot() {
	c.Helper()
	const holders = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL
		AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`
	for n := c.leader.number(holders); n > 0; n = c.leader.number(holders) {
		select {
		case <-c.Context().Done():
			c.Fatalf("%d connections still hold a snapshot", n)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestWhatALoadSetsAsideIsBuiltAgainByACancel, or by whoever comes next.
func TestWhatALoadSetsAsideIsBuiltAgainByACancel(t *testing.T) {
	c := newCopied(t, 10)
	before := c.definitions()
	for name, end := range map[string]func() error{
		"cancelled": func() error {
			return errors.Join(c.follower.db.Unprepare(t.Context(), true), c.follower.db.Prepare(t.Context(), change.Following))
		},
		"finished by another": func() error {
			return opened(t, c.follower.dsn, change.Monolith, tables(c.plan, change.Service)).FinishLoad(t.Context())
		},
	} {
		planned, err := c.follower.db.PrepareStatements(t.Context(), change.Following)
		must(t, err)
		if !slices.Contains(planned, "-- before the copy: DROP INDEX invoices_made") {
			t.Errorf("%s: a dry run says nothing of the indexes that are set aside: %v", name, planned)
		}
		must(t, c.follower.db.BeginLoad(t.Context()))
		during := c.definitions()
		if len(during) >= len(before)-4 {
			t.Errorf("%s: little was set aside: %v", name, during)
		}
		for _, kept := range []string{"lines_kept", "lines_ordered", "lines_measured"} {
			if !slices.ContainsFunc(during, func(d string) bool { return strings.Contains(d, kept) }) {
				t.Errorf("%s: %s cannot be built again as it was, and was set aside", name, kept)
			}
		}
		must(t, end())
		if after := c.definitions(); !slices.Equal(before, after) {
			t.Errorf("%s: before %v\nafter %v", name, before, after)
		}
	}
}

// TestARowThatCannotBeCopiedIsNamed and nothing of its chunk is stored.
func TestARowThatCannotBeCopiedIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ query, want string }{
		"a value that is not listed": {"UPDATE inv SET st = 9 WHERE id = 7", "key [7], column st"},
		"a text that is too long":    {"UPDATE lines SET code = repeat('x', 30) WHERE inv = 8 AND code = 'c1'", "key 8,x"},
		"a check that fails":         {"UPDATE lines SET qty = -5000 WHERE inv = 8 AND code = 'c1'", "key 8,c1"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newCopied(t, 50)
			exec(t, m.leader.app, c.query)
			if err := m.run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			table := strings.Fields(c.query)[1]
			if n := m.follower.number(fmt.Sprintf("SELECT count(*) FROM %s", map[string]string{"inv": "invoices", "lines": "invoice_lines"}[table])); n > 0 {
				t.Errorf("%d rows of its chunk are stored", n)
			}
		})
	}
}

// TestACopyGivesWayToWhoeverAltersItsTable, who would otherwise wait until it is
// done, and everybody else behind.
func TestACopyGivesWayToWhoeverAltersItsTable(t *testing.T) {
	c := newCopied(t, 60_000)
	altered := make(chan error, 1)
	var once sync.Once
	passed := false
	err := c.run(t.Context(), func(p change.Progress) {
		once.Do(func() {
			go func() {
				_, err := c.leader.app.Exec("ALTER TABLE inv ADD extra int")
				altered <- err
			}()
			const waiting = "SELECT (SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'inv'::regclass) + (SELECT count(*) FROM pg_attribute WHERE attrelid = 'inv'::regclass AND attname = 'extra')"
			for c.leader.number(waiting) == 0 {
				if t.Context().Err() != nil {
					return
				}
			}
		})
		if p.Table == "inv" && !p.Finished && !passed {
			select {
			case err := <-altered:
				must(t, err)
				passed = true
			default:
			}
		}
	})
	must(t, err)
	if !passed {
		t.Error("the table was altered only when its copy was done")
	}
	c.catchUp()
	c.compare()
}

// TestAColumnThatGoesInMidCopyIsNamed, and once it is back the copy goes on.
func TestAColumnThatGoesInMidCopyIsNamed(t *testing.T) {
	c := newCopied(t, 60_000)
	var once sync.Once
	err := c.run(t.Context(), func(change.Progress) {
		once.Do(func() {
			must(t, c.leader.db.EndCopy(t.Context()))
			exec(t, c.leader.app, "SET lock_timeout = '20s'; ALTER TABLE inv RENAME amount TO sum")
		})
	})
	if err == nil || !strings.Contains(err.Error(), "amount") {
		t.Fatalf("a column went, and %v", err)
	}
	exec(t, c.leader.app, "ALTER TABLE inv RENAME sum TO amount")
	must(t, c.run(t.Context(), nil))
	c.catchUp()
	c.compare()
}

// TestACopyRidesThroughDatabasesThatGoAway: the connections of either side are
// ended again and again, and it goes on by itself.
func TestACopyRidesThroughDatabasesThatGoAway(t *testing.T) {
	c := newCopied(t, 60_000)
	ended := 0
	err := c.run(t.Context(), func(p change.Progress) {
		if p.Done < p.Total && ended < 6 {
			ended++
			for _, s := range []*side{c.leader, c.follower}[ended%2 : ended%2+1] {
				exec(t, s.app, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			}
		}
	})
	must(t, err)
	if ended < 6 {
		t.Errorf("the connections were ended only %d times", ended)
	}
	if n := c.follower.number("SELECT sum(rows) FROM strangler.part WHERE tab = 0"); n != 60_000 {
		t.Errorf("%d rows were copied, some of them twice or never", n)
	}
	c.catchUp()
	c.compare()
}
