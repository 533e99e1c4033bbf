// Package verify compares the two sides of a move row by row while both are
// in use, says where they differ, and mends the follower on request.
//
// Start at [Run] for every row and at [Keys] for some. Rows are compared as the
// follower stores them: the owner's row is mapped and held against the
// follower's.
//
// A live row may differ for a moment because its change is still on its way.
// So a mismatch only counts when it is stable: the owner's row is read again,
// the stream is waited for until it has passed that moment, and both rows are
// read once more, the owner's unchanged.
package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Options are what a verification is made of.
type Options struct {
	Plan            *mapping.Plan
	Owner, Follower change.Database
	OwnerSide       change.Side
	// Settle waits until the follower has applied the owner's changes up to a
	// position.
	Settle func(ctx context.Context, p change.Position) error
	// From is where an earlier verification was interrupted; Reached hears of
	// such points as this one comes along.
	From    Point
	Reached func(Point)
	// Each hears of every difference, listed or not.
	Each     func(Difference)
	Repair   bool // mend stable differences on the follower, then look again
	Progress func(change.Progress)
	Chunk    int // rows read at once; default 2000
	Range    int // rows hashed at once where the databases can do that; default 1,000,000
	Listed   int // differences listed at most; default 1000, more are counted
	Now      func() time.Time
}

// Point is how far a verification has come without finding a difference: every
// row of the tables before Table, and of that one up to After, was equal. What
// the owner has changed after OwnerAt, where it began, is for the keys touched
// since then to tell.
type Point struct {
	Table   int
	After   change.Key // the owner's
	Hashed  bool       // the follower has no other rows up to there either
	Rows    int64
	OwnerAt change.Position
}

// Report is what a verification found.
type Report struct {
	Rows        int64           `json:"rows"`
	Clean       bool            `json:"clean"`
	Differences []Difference    `json:"differences,omitempty"`
	Dropped     int64           `json:"dropped,omitempty"` // differences beyond those listed
	Rechecked   int64           `json:"rechecked"`         // rows that differed at first
	Repaired    int64           `json:"repaired,omitempty"`
	OwnerAt     change.Position `json:"owner_at"` // of the owner's log when it began
}

// Difference is one difference. Kind is missing, extra, different or
// unmappable, as seen from the follower.
type Difference struct {
	Table    string `json:"table"`
	Key      string `json:"key"` // the owner's
	Kind     string `json:"kind"`
	Column   string `json:"column,omitempty"` // the follower's
	Owner    string `json:"owner,omitempty"`
	Follower string `json:"follower,omitempty"`
}

// rounds is how often a row may change under the eyes of a recheck before the
// verification moves on and leaves it to the touched keys of the next one.
const rounds = 5

// Run compares every row of both sides: each of the owner's has its like, and
// the follower has no other.
func Run(ctx context.Context, o Options) (Report, error) {
	v, err := begin(ctx, o)
	if err != nil {
		return Report{}, err
	}
	after := o.From.After
	for i := o.From.Table; i < len(o.Plan.Tables); i++ {
		if err := v.table(ctx, i, after); err != nil {
			return v.report, fmt.Errorf("verify %s: %w", o.Plan.Tables[i].From, err)
		}
		after = nil
		v.reached(Point{Table: i + 1, Rows: v.report.Rows})
	}
	return v.done(), nil
}

// Keys compares only the given keys of the owner.
func Keys(ctx context.Context, o Options, keys []change.Change) (Report, error) {
	v, err := begin(ctx, o)
	if err != nil {
		return Report{}, err
	}
	byTable := map[int][]change.Key{}
	for _, k := range keys {
		byTable[k.Table] = append(byTable[k.Table], k.Key)
	}
	for i := range o.Plan.Tables {
		for chunk := range slices.Chunk(byTable[i], v.Chunk) {
			if err := v.keys(ctx, i, chunk); err != nil {
				return v.report, fmt.Errorf("verify %s: %w", o.Plan.Tables[i].From, err)
			}
		}
	}
	return v.done(), nil
}

// verification is one under way.
type verification struct {
	Options
	report Report
}

func begin(ctx context.Context, o Options) (*verification, error) {
	if o.Progress == nil {
		o.Progress = func(change.Progress) {}
	}
	if o.Chunk == 0 {
		o.Chunk = 2000
	}
	if o.Range == 0 {
		o.Range = rangeRows
	}
	if o.Listed == 0 {
		o.Listed = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Each == nil {
		o.Each = func(Difference) {}
	}
	if o.Reached == nil {
		o.Reached = func(Point) {}
	}
	head, err := o.Owner.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the owner's log: %w", err)
	}
	v := &verification{Options: o, report: Report{OwnerAt: head}}
	if o.From.Table > 0 || o.From.After != nil {
		v.report.OwnerAt, v.report.Rows = o.From.OwnerAt, o.From.Rows
	}
	return v, nil
}

// reached tells of a point, unless a difference lies before it.
func (v *verification) reached(p Point) {
	if len(v.report.Differences) > 0 || v.report.Dropped > 0 {
		return
	}
	p.OwnerAt = v.report.OwnerAt
	v.Reached(p)
}

func (v *verification) done() Report {
	v.report.Clean = len(v.report.Differences) == 0 && v.report.Dropped == 0
	return v.report
}

// table walks the owner's rows after a key, and then the follower's, for those
// the owner does not have.
func (v *verification) table(ctx context.Context, i int, after change.Key) error {
	total, err := v.Owner.Count(ctx, i)
	if err != nil {
		return err
	}
	meter := backfill.NewMeter(v.Plan.Tables[i].From, 0, total, v.Now())
	if hasher, ok := v.Owner.(change.Hasher); ok {
		from := after
		if !v.From.Hashed {
			from = nil // what else the follower has before it has not been looked for
		}
		if done, err := v.hashed(ctx, hasher, i, from, &meter); done || err != nil {
			return err
		}
	}
	err = v.walk(ctx, v.Owner, i, after, func(keys []change.Key) error {
		if err := v.keys(ctx, i, keys); err != nil {
			return err
		}
		v.Progress(meter.Advance(int64(len(keys)), false, v.Now()))
		v.reached(Point{Table: i, After: keys[len(keys)-1], Rows: v.report.Rows})
		return nil
	})
	if err != nil {
		return err
	}
	err = v.walk(ctx, v.Follower, i, nil, func(keys []change.Key) error { return v.extras(ctx, i, keys) })
	v.Progress(meter.Advance(0, true, v.Now()))
	return err
}

// walk calls f with the keys of every row of a table after a key, chunk by chunk.
func (v *verification) walk(ctx context.Context, db change.Database, i int, after change.Key, f func([]change.Key) error) error {
	t := db.Tables()[i]
	for {
		rows, err := db.Scan(ctx, i, after, v.Chunk)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		keys := make([]change.Key, len(rows))
		for j, row := range rows {
			keys[j] = keyOf(t, row)
		}
		if err := f(keys); err != nil {
			return err
		}
		if after = keys[len(keys)-1]; len(rows) < v.Chunk {
			return nil
		}
	}
}

func keyOf(t change.Table, row change.Row) change.Key {
	key := make(change.Key, len(t.Key))
	for i, c := range t.Key {
		key[i] = row[c]
	}
	return key
}

// keys compares some keys of the owner, and rechecks those that differ.
func (v *verification) keys(ctx context.Context, i int, keys []change.Key) error {
	pairs, err := v.pairs(ctx, i, keys)
	if err != nil {
		return err
	}
	v.report.Rows += int64(len(keys))
	return v.recheck(ctx, i, suspects(pairs))
}

// extras looks for keys of the follower that the owner does not have.
func (v *verification) extras(ctx context.Context, i int, follower []change.Key) error {
	keys := make([]change.Key, 0, len(follower))
	for _, k := range follower {
		mapped, err := v.ownerKey(i, k)
		if err != nil {
			v.stray(i, k, err)
			continue
		}
		keys = append(keys, mapped)
	}
	rows, err := v.Owner.Lookup(ctx, i, keys)
	if err != nil {
		return err
	}
	var missing []change.Key
	for j, row := range rows {
		if row == nil {
			missing = append(missing, keys[j])
		}
	}
	return v.recheck(ctx, i, missing)
}

// stray lists a key of the follower that cannot be one of the owner's.
func (v *verification) stray(i int, follower change.Key, err error) {
	v.list(Difference{Table: v.Follower.Tables()[i].Name, Key: change.KeyString(follower), Kind: "unmappable", Follower: err.Error()})
}

func (v *verification) ownerKey(i int, follower change.Key) (change.Key, error) {
	if v.OwnerSide == change.Monolith {
		return v.Plan.Tables[i].InverseKey(follower)
	}
	return v.Plan.Tables[i].ForwardKey(follower)
}

func (v *verification) followerKey(i int, owner change.Key) (change.Key, error) {
	if v.OwnerSide == change.Monolith {
		return v.Plan.Tables[i].ForwardKey(owner)
	}
	return v.Plan.Tables[i].InverseKey(owner)
}

// pair is a key's row on both sides, the owner's also as the follower should
// store it.
type pair struct {
	key             change.Key
	owner, follower change.Row
	want            change.Row
	err             error // the owner's row cannot be mapped
}

func (v *verification) pairs(ctx context.Context, i int, keys []change.Key) ([]pair, error) {
	mapRow := v.Plan.Tables[i].Forward
	if v.OwnerSide == change.Service {
		mapRow = v.Plan.Tables[i].Inverse
	}
	pairs := make([]pair, len(keys))
	owners, err := v.Owner.Lookup(ctx, i, keys)
	if err != nil {
		return nil, err
	}
	var mapped []change.Key
	var at []int // indices into pairs of the keys that can be mapped
	for j, key := range keys {
		pairs[j].key, pairs[j].owner = key, owners[j]
		there, err := v.followerKey(i, key)
		if err != nil {
			pairs[j].err = err
			continue
		}
		mapped, at = append(mapped, there), append(at, j)
		if owners[j] != nil {
			pairs[j].want, pairs[j].err = mapRow(owners[j])
		}
	}
	followers, err := v.Follower.Lookup(ctx, i, mapped)
	if err != nil {
		return nil, err
	}
	for n, j := range at {
		pairs[j].follower = followers[n]
	}
	return pairs, nil
}

func suspects(pairs []pair) []change.Key {
	var keys []change.Key
	for _, p := range pairs {
		if !p.equal() {
			keys = append(keys, p.key)
		}
	}
	return keys
}

func (p pair) equal() bool { return p.err == nil && sameRow(p.want, p.follower) }

func sameRow(a, b change.Row) bool {
	if (a == nil) != (b == nil) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// recheck looks at suspicious keys until each is equal, stably different, or
// has changed too often to tell. A key that was mended is looked at again like
// any other: its row may have changed meanwhile.
func (v *verification) recheck(ctx context.Context, i int, keys []change.Key) error {
	v.report.Rechecked += int64(len(keys))
	var before map[string]change.Row
	mended := map[string]bool{}
	for round := 0; len(keys) > 0 && round < rounds; round++ {
		head, err := v.Owner.Head(ctx)
		if err != nil {
			return err
		}
		if err := v.Settle(ctx, head); err != nil {
			return fmt.Errorf("wait for the follower: %w", err)
		}
		pairs, err := v.pairs(ctx, i, keys)
		if err != nil {
			return err
		}
		keys = keys[:0:0]
		var repairs []change.Change
		seen := map[string]change.Row{}
		for _, p := range pairs {
			id := mapping.EncodeKey(p.key)
			last, known := before[id]
			stable := known && sameRow(last, p.owner)
			switch {
			case p.equal():
			case stable && v.Repair && p.err == nil && !mended[id]:
				c, err := v.mending(i, p)
				if err != nil {
					return err
				}
				repairs = append(repairs, c)
				mended[id] = true
				keys = append(keys, p.key)
			case stable:
				for _, d := range v.describe(i, p) {
					v.list(d)
				}
			default:
				seen[id] = p.owner
				keys = append(keys, p.key)
			}
		}
		if err := v.mend(ctx, repairs); err != nil {
			return err
		}
		before = seen
	}
	return nil
}

// mend makes the follower's rows what the owner's say.
func (v *verification) mend(ctx context.Context, repairs []change.Change) error {
	if len(repairs) == 0 {
		return nil
	}
	if err := v.Follower.Repair(ctx, repairs...); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	v.report.Repaired += int64(len(repairs))
	return nil
}

// mending is the change that makes a pair equal.
func (v *verification) mending(i int, p pair) (change.Change, error) {
	key, err := v.followerKey(i, p.key)
	c := change.Change{Table: i, Kind: change.Delete, Key: key}
	if p.want != nil {
		c.Kind, c.Row = change.Put, p.want
	}
	return c, err
}

func (v *verification) describe(i int, p pair) []Difference {
	d := Difference{Table: v.Follower.Tables()[i].Name, Key: change.KeyString(p.key)}
	switch {
	case p.err != nil:
		d.Kind, d.Owner = "unmappable", p.err.Error()
	case p.follower == nil:
		d.Kind = "missing"
	case p.want == nil:
		d.Kind = "extra"
	default:
		var all []Difference
		for c, want := range p.want {
			if !want.Equal(p.follower[c]) {
				d.Kind, d.Column, d.Owner, d.Follower = "different", v.Follower.Tables()[i].Columns[c], want.String(), p.follower[c].String()
				all = append(all, d)
			}
		}
		return all
	}
	return []Difference{d}
}

func (v *verification) list(d Difference) {
	v.Each(d)
	if len(v.report.Differences) >= v.Listed {
		v.report.Dropped++
		return
	}
	v.report.Differences = append(v.report.Differences, d)
}
