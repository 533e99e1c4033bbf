package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"stranglerfig/migrations/change"
)

var _ change.Sparse = (*DB)(nil)

// An update does not write large values again that it leaves alone, neither into
// the table nor into the log. The follower's row has them, so its update leaves
// them alone as well. Only where the row has another key than before, or is not
// there because the copy came later than the update, are they read from the table.

// completed is a change with absent values taken from another version of its row,
// which may lack some itself. The row that it had stays as it was.
func completed(c change.Change, from change.Row, lacks []int) change.Change {
	row, absent := slices.Clone(c.Row), []int(nil)
	for _, i := range c.Absent {
		if slices.Contains(lacks, i) {
			absent = append(absent, i)
		} else {
			row[i] = from[i]
		}
	}
	c.Row, c.Absent = row, absent
	return c
}

// settled are changes of which those lack values that the follower has under their
// key.
func (db *DB) settled(ctx context.Context, changes []logged) ([]change.Change, error) {
	all := make([]change.Change, len(changes))
	var moved []int
	for i, c := range changes {
		all[i] = c.Change
		if c.moved && len(c.Absent) > 0 {
			moved = append(moved, i)
		}
	}
	return all, db.complete(ctx, all, moved)
}

// Complete puts in the values that the changes lack, and those alone: a row as it
// is now may hold a unique value that at the end of the batch was still another
// row's, and the follower could not store both.
func (db *DB) Complete(ctx context.Context, b change.Batch) (change.Batch, error) {
	b.Changes = slices.Clone(b.Changes)
	var lacking []int
	for i, c := range b.Changes {
		if len(c.Absent) > 0 {
			lacking = append(lacking, i)
		}
	}
	return b, db.complete(ctx, b.Changes, lacking)
}

// complete completes the changes of some indices from the rows that there are now,
// and makes sure that what it saw is on disk, so that the log will have it.
func (db *DB) complete(ctx context.Context, changes []change.Change, which []int) error {
	if len(which) == 0 {
		return nil
	}
	byTable := map[int][]int{}
	for _, i := range which {
		byTable[changes[i].Table] = append(byTable[changes[i].Table], i)
	}
	for table, indices := range byTable {
		keys := make([]change.Key, len(indices))
		for n, i := range indices {
			keys[n] = changes[i].Key
		}
		rows, err := db.Lookup(ctx, table, keys)
		if err != nil {
			return fmt.Errorf("complete rows of %s: %w", db.tables[table].Name, err)
		}
		for n, i := range indices {
			if rows[n] != nil {
				changes[i] = completed(changes[i], rows[n], nil)
			} else { // it is gone, and a later change says so
				changes[i] = change.Change{Table: table, Kind: change.Delete, Key: keys[n]}
			}
		}
	}
	return db.flush(ctx)
}

// patch updates rows of a table that keep what their changes lack.
func (w *writing) patch(ctx context.Context, table int, changes []change.Change) error {
	alike := map[string][]change.Change{}
	for _, c := range changes {
		lacks := fmt.Sprint(c.Absent)
		alike[lacks] = append(alike[lacks], c)
	}
	for _, some := range alike {
		if err := w.patchAlike(ctx, table, some); err != nil {
			return err
		}
	}
	return nil
}

// patchAlike does so for changes that lack the same columns.
func (w *writing) patchAlike(ctx context.Context, table int, changes []change.Change) error {
	l, err := w.db.layout(ctx, w.tx, table)
	if err != nil {
		return err
	}
	var given []int
	var sets []string
	for i, c := range l.table.Columns {
		if slices.Contains(changes[0].Absent, i) {
			continue
		}
		given = append(given, i)
		if !slices.Contains(l.table.Key, i) {
			sets = append(sets, fmt.Sprintf("%[1]s = n.%[1]s", quote(c)))
		}
	}
	same := joined(keyNames(l.table, "t."), keyNames(l.table, "n."))
	query := fmt.Sprintf("UPDATE %s AS t SET %s FROM %s WHERE %s", relation(l.table.Name), strings.Join(sets, ", "), l.unnestColumns(given), same)
	if len(sets) == 0 { // what has changed is not mapped, but the row has to be there
		query = fmt.Sprintf("SELECT FROM %s AS t JOIN %s ON %s", relation(l.table.Name), l.unnestColumns(given), same)
	}
	for some := range slices.Chunk(changes, atOnce) {
		rows := make([]change.Row, len(some))
		for i, c := range some {
			rows[i] = c.Row
		}
		arrays := make([]any, len(given))
		for i, c := range given {
			arrays[i] = array(l.types[c].oid, rows, c)
		}
		done, err := w.tx.Exec(ctx, query, arrays...)
		if err != nil {
			return err
		}
		if done.RowsAffected() < int64(len(some)) {
			return change.ErrIncomplete
		}
	}
	return nil
}

// filled are changes with what they lack taken from the rows that should keep it.
func (w *writing) filled(ctx context.Context, table int, changes []change.Change) ([]change.Row, error) {
	l, err := w.db.layout(ctx, w.tx, table)
	if err != nil {
		return nil, err
	}
	keys := make([]change.Key, len(changes))
	for i, c := range changes {
		keys[i] = c.Key
	}
	found, err := lookup(ctx, w.tx, l, keys, "")
	if err != nil {
		return nil, err
	}
	for i, row := range found {
		if row == nil {
			return nil, change.ErrIncomplete
		}
		found[i] = completed(changes[i], row, nil).Row
	}
	return found, nil
}
