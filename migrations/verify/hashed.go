package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

const (
	// rangeRows is about how many rows are hashed at once: enough that asking
	// costs nothing, few enough that a range that differs is soon looked through.
	rangeRows = 200_000
	// rangeWorkers is how many ranges are hashed side by side, each on both
	// sides at once.
	rangeWorkers = 2
)

// hashed compares a table by the hashes of its ranges, which the databases
// compute. The ranges of either side hold all its rows, so where every pair of
// them is equal, so are the tables, even if the sides order their keys
// differently. In a range that differs the hashes of the rows say which keys to
// look at. It returns false where the databases cannot do that, having counted
// nothing.
func (v *verification) hashed(ctx context.Context, hasher change.Hasher, i int, after change.Key, meter *backfill.Meter) (done bool, err error) {
	bounds, err := hasher.Bounds(ctx, i, after, int64(v.Range))
	if err != nil {
		return false, err
	}
	before := v.report
	v.told = map[Difference]bool{}
	var mu sync.Mutex // guards the report, the meter and what has ended
	workers, together := errgroup.WithContext(ctx)
	workers.SetLimit(rangeWorkers)
	all := ranges(i, after, bounds)
	ended := map[int]int64{} // ranges, and the rows they had
	first, passed := 0, v.report.Rows
	for n, r := range all {
		workers.Go(func() error {
			rows, suspects, ok, err := v.hashRange(together, hasher, r)
			if err == nil && !ok {
				err = errUnable
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			v.report.Rows += rows
			v.Progress(meter.Advance(rows, false, v.Now()))
			for chunk := range slices.Chunk(suspects, v.Chunk) {
				if err := v.recheck(together, i, chunk); err != nil {
					return err
				}
			}
			ended[n] = rows
			for counted, ok := ended[first]; ok && first < len(all)-1; counted, ok = ended[first] {
				passed += counted
				v.reached(Point{Table: i, After: all[first].UpTo, Rows: passed})
				first++
			}
			return nil
		})
	}
	err = workers.Wait()
	if errors.Is(err, errUnable) {
		before.Repaired = v.report.Repaired
		v.report = before
		return false, nil
	}
	v.told = nil
	if err == nil {
		v.Progress(meter.Advance(0, true, v.Now()))
	}
	return true, err
}

// errUnable ends the hashing of a table that has to be compared row by row.
var errUnable = errors.New("the databases cannot compare these rows")

// ranges returns what lies between bounds, from a key on.
func ranges(table int, after change.Key, bounds []change.Key) []change.Range {
	all := make([]change.Range, len(bounds)+1)
	for n := range all {
		all[n] = change.Range{Table: table, After: after}
		if n > 0 {
			all[n].After = bounds[n-1]
		}
		if n < len(bounds) {
			all[n].UpTo = bounds[n]
		}
	}
	return all
}

// hashRange compares one range, and returns the owner's keys that have to be
// looked at.
func (v *verification) hashRange(ctx context.Context, hasher change.Hasher, r change.Range) (rows int64, suspects []change.Key, ok bool, err error) {
	plan := v.Plan.Tables[r.Table]
	here, there, ok, err := hasher.Digests(ctx, v.Follower, plan, v.OwnerSide, r)
	if err != nil || !ok || here == there {
		return here.Rows, nil, ok, err
	}
	mine, theirs, ok, err := hasher.Fingerprints(ctx, v.Follower, plan, v.OwnerSide, r)
	if err != nil || !ok {
		return 0, nil, ok, err
	}
	follower := make(map[string]int64, len(theirs))
	for _, f := range theirs {
		key, err := v.ownerKey(r.Table, f.Key)
		if err != nil {
			return 0, nil, false, nil // the row-by-row comparison names it
		}
		follower[mapping.EncodeKey(key)] = f.Hash
	}
	for _, f := range mine {
		id := mapping.EncodeKey(f.Key)
		if hash, known := follower[id]; !known || hash != f.Hash {
			suspects = append(suspects, f.Key)
		}
		delete(follower, id)
	}
	for id := range follower {
		key, err := mapping.DecodeKey(id)
		if err != nil {
			return 0, nil, true, fmt.Errorf("read key %s: %w", id, err)
		}
		suspects = append(suspects, key)
	}
	return int64(len(mine)), suspects, true, nil
}
