package pair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/mapping"
)

// Mirror compares the rows that a store of its own writes, which is sent copies
// of what clients ask the monolith, with the monolith's. The monolith serves
// clients meanwhile, so a difference may be a moment's: see [Row.Compare]. It is
// not safe for concurrent use.
type Mirror struct {
	plan            *mapping.Plan
	monolith, store change.Database

	from   change.Position
	given  change.Sequences // what the store's generators had given out then
	marked time.Time        // when that was; zero once it was looked at

	// What is remembered is so in two generations, of which the older one is
	// forgotten when the other is full.
	ids          *ids
	known, older map[string]twin
}

// twin is the monolith's row for one of the store's.
type twin struct {
	key   change.Key // in the service's schema
	alike time.Time  // when they were found alike last; zero where they never were
}

// remembered is how many rows one generation holds.
const remembered = 5_000

// OpenMirror opens both databases by their DSNs. The monolith's is only read; the
// store's notes which rows are written, until Close. A store that belongs to a
// move is refused.
func OpenMirror(ctx context.Context, plan *mapping.Plan, monolith, store string) (*Mirror, error) {
	m := &Mirror{plan: plan, ids: newIDs(plan), known: map[string]twin{}}
	var err error
	if m.monolith, err = engine.OpenToRead(ctx, monolith, plan.Capability, change.Monolith, engine.Tables(plan, change.Monolith)); err != nil {
		return nil, fmt.Errorf("open the monolith's database: %w", err)
	}
	if m.store, err = openStore(ctx, plan, store); err != nil {
		return nil, errors.Join(fmt.Errorf("open the isolated store's database: %w", err), m.monolith.Close())
	}
	if m.from, err = m.store.Head(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the isolated store's database: %w", err), m.Close(ctx))
	}
	return m, nil
}

func openStore(ctx context.Context, plan *mapping.Plan, store string) (change.Database, error) {
	tables := engine.Tables(plan, change.Service)
	if err := noMove(ctx, plan, store, tables); err != nil {
		return nil, err
	}
	// Under a name of its own, so that what an earlier process has left behind is
	// known to be ours.
	db, err := engine.OpenDatabase(ctx, store, plan.Capability+"-isolated", change.Service, tables)
	if err != nil {
		return nil, err
	}
	if err = db.Unprepare(ctx, false); err == nil {
		err = db.Prepare(ctx, change.Leading)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// noMove refuses a database that is one side of a move.
func noMove(ctx context.Context, plan *mapping.Plan, dsn string, tables []change.Table) error {
	db, err := engine.OpenDatabase(ctx, dsn, plan.Capability, change.Service, tables)
	if err != nil {
		return err
	}
	_, err = db.Owner(ctx)
	switch {
	case err == nil:
		err = errors.New("it belongs to a move: an isolated store needs a database of its own")
	case errors.Is(err, change.ErrNotPrepared):
		err = nil
	}
	return errors.Join(err, db.Close())
}

// Close removes what was installed in the store's database and lets go of both.
func (m *Mirror) Close(ctx context.Context) error {
	return errors.Join(m.store.Unprepare(ctx, false), m.store.Close(), m.monolith.Close())
}

// Mark begins to look at what the store writes from now on.
func (m *Mirror) Mark(ctx context.Context) (err error) {
	if m.from, err = m.store.Head(ctx); err == nil {
		m.given, err = m.store.Sequences(ctx)
	}
	if err != nil {
		return fmt.Errorf("look at what the isolated store writes: %w", err)
	}
	m.marked = time.Now()
	return nil
}

const (
	// writtenMost is how many rows one request may write; of a copy that somebody
	// loads into the store nothing is compared.
	writtenMost = 1_000
	// markedFor is how long a mark is waited for before it is thought forgotten.
	markedFor = time.Minute
)

// Tend lets the store's database forget what was written to it, unless somebody
// is about to look at that: a log that nobody reads is kept for ever. It returns
// about how many bytes are retained. Call it now and then.
func (m *Mirror) Tend(ctx context.Context) (retained int64, err error) {
	for m.marked.IsZero() || time.Since(m.marked) > markedFor {
		batch, err := m.store.Read(ctx, m.from, writtenMost)
		if err != nil {
			return 0, fmt.Errorf("tend the isolated store's log: %w", err)
		}
		if batch.To <= m.from {
			break
		}
		m.from = batch.To
	}
	if err := m.store.Acknowledge(ctx, m.from); err != nil {
		return 0, fmt.Errorf("tend the isolated store's log: %w", err)
	}
	return m.store.Retained(ctx)
}

// Row is a row that the store has written.
type Row struct {
	m     *Mirror
	table int
	key   change.Key // the store's
	made  bool       // the store has made it and its key
	twin  change.Key // the monolith's, in the service's schema; nil where it cannot be told

	looked bool       // at the monolith's row
	was    change.Row // that, then
}

// Written returns the rows that the store has written since the mark, parents
// first. The answers of the monolith and of the store to the request that has
// written them tell which row of the one is which of the other, where each side
// has numbered by itself.
func (m *Mirror) Written(ctx context.Context, monolith, store []byte) ([]*Row, error) {
	changes, to, err := changesSince(ctx, m.store, m.from, writtenMost)
	if err == nil {
		m.from, m.marked = to, time.Time{}
		err = m.store.Acknowledge(ctx, to)
	}
	var given change.Sequences
	if err == nil {
		given, err = m.store.Sequences(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("look at what the isolated store has written: %w", err)
	}
	said := readNames(monolith, store)
	rows := make([]*Row, len(changes))
	for n, c := range changes {
		rows[n] = m.row(c, m.made(c, given), said)
	}
	slices.SortStableFunc(rows, func(a, b *Row) int { return a.table - b.table })
	return rows, nil
}

// row finds the monolith's row for one of the store's: the one found before, the
// one that the answers name where the store's generator has just made the key, or
// else the one of the same key.
func (m *Mirror) row(c change.Change, made bool, said names) *Row {
	r := &Row{m: m, table: c.Table, key: c.Key, made: made, twin: c.Key}
	if t, known := m.twinOf(r); known {
		r.twin = t.key
		return r
	}
	if !r.made {
		return r
	}
	t := m.plan.Tables[c.Table]
	at := t.TargetKey()[0]
	if r.twin = said.of(c.Key[0], t.TargetColumns()[at], t.SourceColumns()[t.SourceKey()[0]]); r.twin != nil {
		m.pair(r, time.Time{})
	}
	return r
}

// made reports whether a row's key is a number that the store's generator has
// given out since the mark; now is what it has given out by now.
func (m *Mirror) made(c change.Change, now change.Sequences) bool {
	if len(c.Key) != 1 || c.Key[0].Kind() != mapping.KindInt || c.Kind != change.Put {
		return false
	}
	t := m.plan.Tables[c.Table]
	column := t.TargetColumns()[t.TargetKey()[0]]
	_, generated := now[c.Table][column]
	return generated && c.Key[0].Int64() > m.given[c.Table][column] // 0 where it had given out none
}

func (r *Row) name() string { return fmt.Sprint(r.table, mapping.EncodeKey(r.key)) }

func (m *Mirror) twinOf(r *Row) (twin, bool) {
	if t, known := m.known[r.name()]; known {
		return t, true
	}
	t, known := m.older[r.name()]
	return t, known
}

// pair remembers which row of the monolith's one of the store's stands for.
func (m *Mirror) pair(r *Row, alike time.Time) {
	if len(m.known) >= remembered {
		m.older, m.known = m.known, map[string]twin{}
		fresh := newIDs(m.plan)
		m.ids.older, fresh.older = nil, m.ids
		m.ids = fresh
	}
	m.known[r.name()] = twin{r.twin, alike}
	m.ids.learn(r.table, r.twin, r.key)
}

// Comparison is what a look at a row of both sides has found.
type Comparison struct {
	Unknown     bool // which row of the monolith's it stands for cannot be told
	Differences []Difference
	// Moved says that the monolith's row has changed since the last look.
	Moved bool
	// Made says that the request has made the row, so that it depends on nothing
	// that was there before. Alike is when it was found alike before this
	// look; zero where it never was, as far as is remembered.
	Made  bool
	Alike time.Time
}

// Compare looks at a row of both sides as it is now. A difference counts if it
// stays although everything that clients had been answered before a look has
// reached the store, and the monolith's row has not moved since that look; and if
// the row was the same on both sides before the request, which is so for those
// that were made by it or were found alike once.
func (r *Row) Compare(ctx context.Context) (Comparison, error) {
	m := r.m
	c := Comparison{Made: r.made}
	if r.twin == nil {
		c.Unknown = true
		return c, nil
	}
	if before, known := m.twinOf(r); known {
		c.Alike = before.alike
	}
	t := m.plan.Tables[r.table]
	ours, err := r.monoliths(ctx, t)
	if err != nil {
		return c, fmt.Errorf("compare %s %s: %w", t.To, mapping.EncodeKey(r.twin), err)
	}
	theirs, err := m.store.Lookup(ctx, r.table, []change.Key{r.key})
	if err != nil {
		return c, fmt.Errorf("compare %s %s: %w", t.To, mapping.EncodeKey(r.key), err)
	}
	c.Moved = r.looked && !slices.EqualFunc(r.was, ours, mapping.Value.Equal)
	r.looked, r.was = true, ours
	c.Differences = m.ids.compare(t, written{r.table, r.twin, ours}, written{r.table, r.key, theirs[0]})
	if len(c.Differences) == 0 {
		m.pair(r, time.Now())
	}
	return c, nil
}

// monoliths is the monolith's row in the service's schema, nil where there is
// none.
func (r *Row) monoliths(ctx context.Context, t *mapping.Table) (change.Row, error) {
	key, err := t.InverseKey(r.twin)
	if err != nil {
		return nil, err
	}
	rows, err := r.m.monolith.Lookup(ctx, r.table, []change.Key{key})
	if err != nil || rows[0] == nil {
		return nil, err
	}
	return t.Forward(rows[0])
}

// names are what both sides' answers call things: of a member's name and the
// store's value, the monolith's values.
type names map[string]map[string][]string

// readNames reads two JSON answers side by side; others name nothing.
func readNames(monolith, store []byte) names {
	all := names{}
	var ours, theirs any
	if decode(strings.TrimSpace(string(monolith)), &ours) && decode(strings.TrimSpace(string(store)), &theirs) {
		all.read("", ours, theirs)
	}
	return all
}

func (n names) read(name string, ours, theirs any) {
	switch theirs := theirs.(type) {
	case map[string]any:
		other, _ := ours.(map[string]any)
		for key, value := range theirs {
			if there, has := other[key]; has {
				n.read(key, there, value)
			}
		}
	case []any:
		other, _ := ours.([]any)
		if len(other) != len(theirs) {
			return
		}
		for at, value := range theirs {
			n.read(name, other[at], value)
		}
	case nil, bool:
	default:
		name, a, b := strings.ToLower(name), fmt.Sprint(ours), fmt.Sprint(theirs)
		if n[name] == nil {
			n[name] = map[string][]string{}
		}
		if !slices.Contains(n[name][b], a) {
			n[name][b] = append(n[name][b], a)
		}
	}
}

// of is the monolith's key for a number of the store's, by the members that are
// called like the key's column on either side; nil where they name none, or
// several.
func (n names) of(key mapping.Value, columns ...string) change.Key {
	var found []string
	for _, column := range columns {
		for _, value := range n[strings.ToLower(column)][key.String()] {
			if !slices.Contains(found, value) {
				found = append(found, value)
			}
		}
	}
	if len(found) != 1 {
		return nil
	}
	number, err := strconv.ParseInt(found[0], 10, 64)
	if err != nil {
		return nil
	}
	return change.Key{mapping.Int(number)}
}
