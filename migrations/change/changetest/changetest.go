// Package changetest is the conformance suite of package change: what a
// database must do before a move may rely on it.
//
// Start at [Run], which an engine's tests call with a [Fixture] of their own.
// The suite writes as an application would, with portable INSERT, UPDATE and
// DELETE on two canonical tables, and looks at the result through
// change.Database and through plain queries.
//
// The fixture creates both tables, empty, in the engine's own words:
//
//	items: id   an integer that the engine generates where it is left out, primary key
//	       code text, not null, unique
//	       qty  integer, not null
//	       note text, not null, default 'kept'; it takes no part in the move
//	tags:  item   integer, not null  \ primary key (item, name)
//	       name   text, not null     /
//	       weight integer, may be null
package changetest

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Fixture is one fresh database with the canonical tables.
type Fixture struct {
	// Writer is the application's own pool. It waits for locks rather than
	// failing at once, and knows nothing of the move.
	Writer *sql.DB
	// Rebind turns the ? placeholders of a statement into the engine's own.
	// Nil where ? is what the engine wants.
	Rebind func(query string) string
	// Open opens the database for a move. Every call returns another
	// change.Database on the same data, as another process would have it, and
	// closes it when the test ends.
	Open func(t *testing.T, side change.Side, tables []change.Table) change.Database
	// Objects describes every object of the schema, in a stable order, so that
	// what was left behind or taken away shows.
	Objects func(t *testing.T) []string
}

// The canonical tables as a move sees them.
const (
	items = 0
	tags  = 1
)

// Tables returns the canonical tables as a move sees them.
func Tables() []change.Table {
	return []change.Table{
		{Name: "items", Columns: []string{"id", "code", "qty"}, Key: []int{0}},
		{Name: "tags", Columns: []string{"item", "name", "weight"}, Key: []int{0, 1}},
	}
}

// promise is one thing that a database must do.
type promise struct {
	name string
	kept func(b *bench)
}

// Run checks every promise, each on a database of its own.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, promises := range [][]promise{installing, capturing, copying, applying, switching, looking} {
		for _, p := range promises {
			t.Run(p.name, func(t *testing.T) { p.kept(newBench(t, open)) })
		}
	}
}

// bench is a promise's database and the helpers to look at it.
type bench struct {
	*testing.T
	Fixture
	open func(t *testing.T) Fixture
	db   change.Database
	ctx  context.Context
}

func newBench(t *testing.T, open func(t *testing.T) Fixture) *bench {
	b := &bench{T: t, Fixture: open(t), open: open, ctx: t.Context()}
	b.db = b.reopened()
	return b
}

// reopened opens the database once more, as a process does after a restart.
func (b *bench) reopened() change.Database { return b.Open(b.T, change.Monolith, Tables()) }

// leading prepares the bench as the owner.
func (b *bench) leading() {
	b.Helper()
	b.must(b.db.Prepare(b.ctx, change.Leading))
}

// following prepares the bench as the follower.
func (b *bench) following() {
	b.Helper()
	b.must(b.db.Prepare(b.ctx, change.Following))
}

// follower returns another database, prepared to follow this one.
func (b *bench) follower() *bench {
	b.Helper()
	f := newBench(b.T, b.open)
	f.following()
	return f
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) text(query string) string {
	if b.Rebind == nil {
		return query
	}
	return b.Rebind(query)
}

// try runs one of the application's statements.
func (b *bench) try(query string, args ...any) error {
	_, err := b.Writer.ExecContext(b.ctx, b.text(query), args...)
	return err
}

// exec runs one of the application's statements, which must not fail.
func (b *bench) exec(query string, args ...any) {
	b.Helper()
	if err := b.try(query, args...); err != nil {
		b.Fatalf("%s %v: %v", query, args, err)
	}
}

// begin begins one of the application's transactions.
func (b *bench) begin() *sql.Tx {
	b.Helper()
	tx, err := b.Writer.BeginTx(b.ctx, nil)
	b.must(err)
	b.Cleanup(func() { tx.Rollback() })
	return tx
}

// number runs a query for one number, as the application would.
func (b *bench) number(query string, args ...any) int64 {
	b.Helper()
	var n int64
	if err := b.Writer.QueryRowContext(b.ctx, b.text(query), args...).Scan(&n); err != nil {
		b.Fatalf("%s: %v", query, err)
	}
	return n
}

// seed stores n items with ids 10, 20, … and two tags each.
func (b *bench) seed(n int) {
	b.Helper()
	tx := b.begin()
	for i := 1; i <= n; i++ {
		for _, q := range []string{
			fmt.Sprintf("INSERT INTO items (id, code, qty) VALUES (%d, 'seed-%d', %d)", 10*i, i, i),
			fmt.Sprintf("INSERT INTO tags (item, name, weight) VALUES (%d, 'first', %d)", 10*i, i),
			fmt.Sprintf("INSERT INTO tags (item, name) VALUES (%d, 'second')", 10*i),
		} {
			_, err := tx.ExecContext(b.ctx, q)
			b.must(err)
		}
	}
	b.must(tx.Commit())
}

func item(id int64, code string, qty int64) change.Row {
	return change.Row{mapping.Int(id), mapping.Text(code), mapping.Int(qty)}
}

func itemKey(id int64) change.Key { return change.Key{mapping.Int(id)} }

func tagKey(item int64, name string) change.Key {
	return change.Key{mapping.Int(item), mapping.Text(name)}
}

func putItem(id int64, code string, qty int64) change.Change {
	return change.Change{Table: items, Kind: change.Put, Key: itemKey(id), Row: item(id, code, qty)}
}

func deleteItem(id int64) change.Change {
	return change.Change{Table: items, Kind: change.Delete, Key: itemKey(id)}
}

// head returns the end of the log.
func (b *bench) head() change.Position {
	b.Helper()
	p, err := b.db.Head(b.ctx)
	b.must(err)
	return p
}

// read reads the log to its end, a few changes at a time.
func (b *bench) read(from change.Position) (changes []change.Change, markers []string, to change.Position) {
	b.Helper()
	for {
		batch, err := b.db.Read(b.ctx, from, 7)
		b.must(err)
		if batch.From != from {
			b.Fatalf("a batch read after %d says it begins at %d", from, batch.From)
		}
		if batch.To == from {
			if len(batch.Changes) > 0 || batch.Marker != "" {
				b.Fatalf("a batch that ends where it began is not empty: %+v", batch)
			}
			return changes, markers, from
		}
		if batch.To < from {
			b.Fatalf("a batch read after %d ends at %d", from, batch.To)
		}
		changes, from = append(changes, batch.Changes...), batch.To
		if batch.Marker != "" {
			markers = append(markers, batch.Marker)
		}
	}
}

// stream follows another bench's log to its end, as the engine does.
func (b *bench) stream(leader *bench, runner string) {
	b.Helper()
	cp, err := b.db.TakeStream(b.ctx, "stream", runner, 0)
	b.must(err)
	for {
		batch, err := leader.db.Read(b.ctx, cp.Position, 5)
		b.must(err)
		if batch.To == cp.Position {
			return
		}
		b.must(b.db.Apply(b.ctx, "stream", runner, batch))
		cp.Position = batch.To
	}
}

// apply applies changes as the next batch of a stream of their own.
func (b *bench) apply(changes ...change.Change) {
	b.Helper()
	cp, err := b.db.TakeStream(b.ctx, "apply", "runner", 0)
	b.must(err)
	b.must(b.db.Apply(b.ctx, "apply", "runner", change.Batch{From: cp.Position, To: cp.Position + 1, Changes: changes}))
}

// state is what tables hold: rendered rows by table and rendered key.
type state map[string]string

func id(table int, key change.Key) string { return fmt.Sprint(table, mapping.EncodeKey(key)) }

func (s state) put(table int, row change.Row) {
	s[id(table, keyOf(Tables()[table], row))] = mapping.EncodeKey(row)
}

func keyOf(t change.Table, row change.Row) change.Key {
	key := make(change.Key, len(t.Key))
	for i, c := range t.Key {
		key[i] = row[c]
	}
	return key
}

// follow applies changes the way a follower does.
func (s state) follow(changes []change.Change) {
	for _, c := range changes {
		delete(s, id(c.Table, c.Key))
	}
	for _, c := range changes {
		if c.Kind == change.Put {
			s.put(c.Table, c.Row)
		}
	}
}

// rows returns what the mapped tables hold.
func (b *bench) rows() state {
	b.Helper()
	all := state{}
	for table := range Tables() {
		var after change.Key
		for {
			rows, err := b.db.Scan(b.ctx, table, after, 50)
			b.must(err)
			if len(rows) == 0 {
				break
			}
			for _, row := range rows {
				all.put(table, row)
			}
			after = keyOf(Tables()[table], rows[len(rows)-1])
		}
	}
	return all
}

// same fails unless two states are equal.
func (b *bench) same(what string, got, want state) {
	b.Helper()
	if d := cmp.Diff(want, got); d != "" {
		b.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// unchanged returns a check that nothing has changed since.
func (b *bench) unchanged() func(what string) {
	b.Helper()
	before := b.rows()
	return func(what string) { b.Helper(); b.same(what, b.rows(), before) }
}

// keys lists the keys of changes, sorted.
func keys(changes []change.Change) []string {
	seen := map[string]bool{}
	for _, c := range changes {
		seen[id(c.Table, c.Key)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// expectKeys fails unless changes are of exactly these keys.
func (b *bench) expectKeys(what string, changes []change.Change, want ...string) {
	b.Helper()
	slices.Sort(want)
	if d := cmp.Diff(want, keys(changes)); d != "" && len(want)+len(changes) > 0 {
		b.Fatalf("%s (-want +got):\n%s", what, d)
	}
}
