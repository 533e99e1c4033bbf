// Package verify compares the two sides of a move row by row while both are
// in use, says where they differ, and mends the follower on request.
//
// Start at [Run] for every row and at [Keys] for some. Rows are compared as the
// follower stores them: the owner's row is mapped and held against the
// follower's.
//
// A live row may differ for a moment because its change is still on its way.
// So a mismatch only counts when it is stable: both rows are read again, the
// stream is waited for until it has passed that moment, and both are read once
// more, the owner's last, and neither has changed.
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
