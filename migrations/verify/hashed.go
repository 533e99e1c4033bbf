package verify

import (
	"context"
	"errors"
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
	rangeRows = 1_000_000
	// narrowRows is how many rows of a range are hashed one by one at most. A
	// range that differs and has more is cut into pieces first.
	narrowRows = 10_000
	// narrowings bounds how often a range is cut into pieces. More than one is
	// needed where the statistics were wrong; where the sides order their keys
	// differently no number would do.
	narrowings = 4
	// rangeWorkers is how many ranges are hashed side by side, each on both
	// sides at once.
	rangeWorkers = 2
)

// errUnable ends the hashing of a table that has to be compared row by row.
var errUnable = errors.New("the databases cannot compare these rows")

// hashing compares a table by the hashes of its ranges, which the databases
// compute. The ranges of either side hold all its rows, so where every pair of
// them is equal, so are the tables, even if the sides order their keys
// differently. In a range that differs the hashes of the rows say which keys to
// look at.
type hashing struct {
	*verification
	table int
	owner change.Hasher
	meter *backfill.Meter

	mu sync.Mutex // guards the report and the meter
}

// hashed returns false where the databases cannot do that, having counted
// nothing.
func (v *verification) hashed(ctx context.Context, hasher change.Hasher, i int, after change.Key, meter *backfill.Meter) (done bool, err error) {
	bounds, err := hasher.Bounds(ctx, i, after, int64(v.Range))
	if err != nil {
		return false, err
	}
	h := &hashing{verification: v, table: i, owner: hasher, meter: meter}
	workers, together := errgroup.WithContext(ctx)
	workers.SetLimit(rangeWorkers)
	ranges := h.ranges(change.Range{Table: i, After: after}, bounds)
	frontier := frontier{rows: make([]int64, len(ranges)), done: make([]bool, len(ranges)), before: v.report.Rows}
	for n, r := range ranges {
		workers.Go(func() error {
			rows, err := h.compare(together, r, narrowings)
			if err != nil {
				return err
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			v.report.Rows += rows
			if last, before := frontier.finish(n, rows); last >= 0 && ranges[last].UpTo != nil {
				v.reached(Point{Table: i, After: ranges[last].UpTo, Hashed: true, Rows: before})
			}
			v.Progress(meter.Advance(rows, false, v.Now()))
			return nil
		})
	}
	err = workers.Wait()
	if errors.Is(err, errUnable) {
		return false, nil
	}
	if err == nil {
		v.Progress(meter.Advance(0, true, v.Now()))
	}
	return true, err
}

// frontier says up to which range all are finished, though they finish in any
// order.
type frontier struct {
	rows   []int64
	done   []bool
	next   int
	before int64 // rows in those below next, and in what came before
}

// finish returns the last range below which none is missing, -1 for none, and
// how many rows there are up to it.
func (f *frontier) finish(n int, rows int64) (last int, before int64) {
	f.rows[n], f.done[n] = rows, true
	for ; f.next < len(f.done) && f.done[f.next]; f.next++ {
		f.before += f.rows[f.next]
	}
	return f.next - 1, f.before
}

// ranges returns the pieces into which keys cut a range; a key that the mapping
// refuses cuts nothing.
func (h *hashing) ranges(whole change.Range, keys []change.Key) []change.Range {
	var all []change.Range
	next := whole
	for _, key := range keys {
		if _, err := h.followerKey(h.table, key); err != nil {
			continue
		}
		next.UpTo = key
		all = append(all, next)
		next.After = key
	}
	next.UpTo = whole.UpTo
	return append(all, next)
}

// compare compares a range, and returns how many rows the owner has in it.
func (h *hashing) compare(ctx context.Context, r change.Range, narrowings int) (int64, error) {
	here, there, ok, err := h.owner.Digests(ctx, h.Follower, h.Plan.Tables[h.table], h.OwnerSide, r)
	if err == nil && !ok {
		err = errUnable
	}
	if err != nil || here == there {
		return here.Rows, err
	}
	pieces := []change.Range{r}
	if most := max(here.Rows, there.Rows); most > narrowRows && narrowings > 0 {
		if pieces, err = h.narrow(ctx, r, most, here.Rows >= there.Rows); err != nil {
			return 0, err
		}
	}
	if len(pieces) == 1 {
		return here.Rows, h.rows(ctx, r)
	}
	for _, piece := range pieces {
		if _, err := h.compare(ctx, piece, narrowings-1); err != nil {
			return 0, err
		}
	}
	return here.Rows, nil
}

// narrow cuts a range into pieces, by the keys of the side that has more in it.
func (h *hashing) narrow(ctx context.Context, r change.Range, rows int64, byOwner bool) ([]change.Range, error) {
	size := max(rows/16, narrowRows/2)
	if byOwner {
		keys, err := h.owner.Split(ctx, r, size)
		return h.ranges(r, keys), err
	}
	follower, ok := h.Follower.(change.Hasher)
	if !ok {
		return []change.Range{r}, nil
	}
	there := change.Range{Table: r.Table}
	var err error
	if there.After, err = h.followerKey(h.table, r.After); err != nil {
		return nil, err
	}
	if there.UpTo, err = h.followerKey(h.table, r.UpTo); err != nil {
		return nil, err
	}
	theirs, err := follower.Split(ctx, there, size)
	var keys []change.Key
	for _, key := range theirs {
		if key, err := h.ownerKey(h.table, key); err == nil {
			keys = append(keys, key)
		}
	}
	return h.ranges(r, keys), err
}

// rows compares a range by the hashes of its rows, and looks at those that
// differ.
func (h *hashing) rows(ctx context.Context, r change.Range) error {
	mine, theirs, ok, err := h.owner.Fingerprints(ctx, h.Follower, h.Plan.Tables[h.table], h.OwnerSide, r)
	if err == nil && !ok {
		err = errUnable
	}
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	follower := make(map[string]change.Fingerprint, len(theirs))
	for _, f := range theirs {
		key, err := h.ownerKey(h.table, f.Key)
		if err != nil {
			h.stray(h.table, f.Key, err)
			continue
		}
		follower[mapping.EncodeKey(key)] = change.Fingerprint{Key: key, Hash: f.Hash}
	}
	var suspects []change.Key
	for _, f := range mine {
		id := mapping.EncodeKey(f.Key)
		if other, known := follower[id]; !known || other.Hash != f.Hash {
			suspects = append(suspects, f.Key)
		}
		delete(follower, id)
	}
	for _, f := range follower {
		suspects = append(suspects, f.Key)
	}
	for chunk := range slices.Chunk(suspects, h.Chunk) {
		if err := h.recheck(ctx, h.table, chunk); err != nil {
			return err
		}
	}
	return nil
}
