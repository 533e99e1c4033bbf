package changetest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
)

var installing = []promise{
	{"the tables are those it was opened with", func(b *bench) {
		if d := cmp.Diff(Tables(), b.db.Tables()); d != "" {
			b.Error(d)
		}
	}},
	{"preflight finds nothing fatal in a database that fits", func(b *bench) {
		for _, role := range []change.Role{change.Leading, change.Following} {
			if found := b.fatal(b.db, role); len(found) > 0 {
				b.Errorf("role %d: %v", role, found)
			}
		}
	}},
	{"preflight reports every problem at once and changes nothing", preflightReportsAll},
	{"preflight refuses to fill a table that is not empty", func(b *bench) {
		b.seed(1)
		if found := b.fatal(b.db, change.Leading); len(found) > 0 {
			b.Errorf("the leading side may hold rows, but: %v", found)
		}
		if found := b.fatal(b.db, change.Following); len(found) != 2 {
			b.Errorf("both tables hold rows, but preflight says: %v", found)
		}
	}},
	{"preflight accepts the rows that the move itself has copied", func(b *bench) {
		b.following()
		b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, Last: itemKey(1), Rows: []change.Row{item(1, "a", 1)}}))
		if found := b.fatal(b.db, change.Following); len(found) > 0 {
			b.Error(found)
		}
	}},
	{"the statements of prepare can be had without running them", func(b *bench) {
		before := b.Objects(b.T)
		statements, err := b.db.PrepareStatements(b.ctx, change.Leading)
		b.must(err)
		if len(statements) == 0 {
			b.Error("there are none")
		}
		if d := cmp.Diff(before, b.Objects(b.T)); d != "" {
			b.Errorf("asking for them changed the schema:\n%s", d)
		}
	}},
	{"prepare may be repeated and changes nothing then", prepareIsRepeatable},
	{"unprepare leaves nothing and may be repeated", unprepareLeavesNothing},
	{"unprepare keeps the rows unless it is told to take them", func(b *bench) {
		b.seed(3)
		b.leading()
		before := b.unchanged()
		b.must(b.db.Unprepare(b.ctx, false))
		before("the rows were touched")
		b.leading()
		b.must(b.db.Unprepare(b.ctx, true))
		b.same("rows are left", b.rows(), state{})
	}},
	{"an unprepared database says so", unpreparedSaysSo},
	{"a move can be prepared again after it was unprepared", func(b *bench) {
		b.leading()
		b.exec("INSERT INTO items (code, qty) VALUES ('a', 1)")
		b.must(b.db.Unprepare(b.ctx, false))
		b.exec("INSERT INTO items (code, qty) VALUES ('unseen', 1)")
		b.leading()
		from := b.head()
		b.exec("INSERT INTO items (id, code, qty) VALUES (77, 'seen', 1)")
		changes, _, _ := b.read(from)
		b.expectKeys("changes of the second time", changes, "0[77]")
	}},
}

// fatal returns what preflight refuses the move for.
func (b *bench) fatal(db change.Database, role change.Role) []change.Problem {
	b.Helper()
	found, err := db.Preflight(b.ctx, role)
	b.must(err)
	return slices.DeleteFunc(found, func(p change.Problem) bool { return !p.Fatal })
}

func preflightReportsAll(b *bench) {
	before := b.Objects(b.T)
	wrong := b.Open(b.T, change.Monolith, []change.Table{
		{Name: "nowhere", Columns: []string{"id"}, Key: []int{0}},
		{Name: "items", Columns: []string{"id", "code", "qty", "absent"}, Key: []int{0}},
		{Name: "tags", Columns: []string{"item", "name", "weight"}, Key: []int{1}},
	})
	for _, role := range []change.Role{change.Leading, change.Following} {
		found := b.fatal(wrong, role)
		for _, want := range []string{"nowhere", "items.absent", "tags"} {
			if !slices.ContainsFunc(found, func(p change.Problem) bool { return p.Subject == want && p.Text != "" }) {
				b.Errorf("role %d: nothing is said of %s: %v", role, want, found)
			}
		}
	}
	if d := cmp.Diff(before, b.Objects(b.T)); d != "" {
		b.Errorf("looking changed the schema:\n%s", d)
	}
}

func prepareIsRepeatable(b *bench) {
	b.following()
	attempt, err := b.db.BumpAttempt(b.ctx)
	b.must(err)
	b.must(b.db.Claim(b.ctx, change.Claim{Epoch: 2, Attempt: attempt}))
	b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	objects, owner, head, rows := b.Objects(b.T), b.owner(), b.head(), b.unchanged()
	for range 2 {
		b.following()
		b.leading()
	}
	if d := cmp.Diff(objects, b.Objects(b.T)); d != "" {
		b.Errorf("the schema changed:\n%s", d)
	}
	if got := b.owner(); got != owner {
		b.Errorf("the ownership was %+v and is %+v", owner, got)
	}
	if got := b.head(); got != head {
		b.Errorf("the log ended at %d and ends at %d", head, got)
	}
	rows("rows changed")
	b.exec("UPDATE items SET qty = 2 WHERE id = 1")
	changes, _, _ := b.read(head)
	b.expectKeys("changes after preparing again", changes, "0[1]")
}

func unprepareLeavesNothing(b *bench) {
	before := b.Objects(b.T)
	b.leading()
	b.exec("INSERT INTO items (code, qty) VALUES ('a', 1)")
	if len(b.Objects(b.T)) <= len(before) {
		b.Fatal("prepare installed nothing that the fixture's Objects sees")
	}
	for range 2 {
		b.must(b.db.Unprepare(b.ctx, false))
		if d := cmp.Diff(before, b.Objects(b.T)); d != "" {
			b.Fatalf("left behind:\n%s", d)
		}
	}
	b.exec("UPDATE items SET qty = 2")
	b.exec("DELETE FROM items")
}

func unpreparedSaysSo(b *bench) {
	calls := map[string]func(ctx context.Context) error{
		"owner":      func(ctx context.Context) error { _, err := b.db.Owner(ctx); return err },
		"head":       func(ctx context.Context) error { _, err := b.db.Head(ctx); return err },
		"read":       func(ctx context.Context) error { _, err := b.db.Read(ctx, 0, 10); return err },
		"read chunk": func(ctx context.Context) error { _, err := b.db.ReadChunk(ctx, items, nil, 10); return err },
		"load chunk": func(ctx context.Context) error { return b.db.LoadChunk(ctx, change.Chunk{}) },
		"loaded":     func(ctx context.Context) error { _, err := b.db.Loaded(ctx, items); return err },
		"ack":        func(ctx context.Context) error { return b.db.Acknowledge(ctx, 1) },
		"take":       func(ctx context.Context) error { _, err := b.db.TakeStream(ctx, "s", "r", 0); return err },
		"apply":      func(ctx context.Context) error { return b.db.Apply(ctx, "s", "r", change.Batch{To: 1}) },
		"stream":     func(ctx context.Context) error { _, err := b.db.Stream(ctx, "s"); return err },
		"fence": func(ctx context.Context) error {
			return b.db.Fence(ctx, change.Fence{Epoch: 1, Marker: "m", Wait: ample})
		},
		"unfence": func(ctx context.Context) error { return b.db.Unfence(ctx, 1) },
		"bump":    func(ctx context.Context) error { _, err := b.db.BumpAttempt(ctx); return err },
		"claim":   func(ctx context.Context) error { return b.db.Claim(ctx, change.Claim{Epoch: 2}) },
		"touched": func(ctx context.Context) error { _, _, err := b.db.Touched(ctx, 0, 10); return err },
		"repair":  func(ctx context.Context) error { return b.db.Repair(ctx, deleteItem(1)) },
	}
	complain := func(when string) {
		for name, call := range calls {
			if err := call(b.ctx); !errors.Is(err, change.ErrNotPrepared) {
				b.Errorf("%s, %s: %v", when, name, err)
			}
		}
	}
	complain("before prepare")
	b.leading()
	b.must(b.db.Unprepare(b.ctx, false))
	complain("after unprepare")
	if found := b.Objects(b.T); slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, "strangler") }) {
		b.Errorf("the calls left something behind: %v", found)
	}
}
