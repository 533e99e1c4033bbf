package verify

import (
	"context"
	"fmt"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// rounds is how often a row may change under the eyes of a recheck before the
// verification moves on and leaves it to the touched keys of the next one.
const rounds = 5

// recheck looks at suspicious keys until each is equal, stably different, or
// has changed too often to tell. A key that was mended is looked at again like
// any other: its row may have changed meanwhile.
func (v *verification) recheck(ctx context.Context, i int, keys []change.Key) error {
	v.report.Rechecked += int64(len(keys))
	var before map[string]pair
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
		seen := map[string]pair{}
		for _, p := range pairs {
			id := mapping.EncodeKey(p.key)
			last, known := before[id]
			// The follower's row as well, for an owner's that changes there and back.
			stable := known && sameRow(last.owner, p.owner) && sameRow(last.follower, p.follower)
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
				seen[id] = p
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
