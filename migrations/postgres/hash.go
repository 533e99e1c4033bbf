package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/sync/errgroup"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var _ change.Hasher = (*DB)(nil)

// Bounds cuts what a table has after a key into ranges of about so many rows.
func (db *DB) Bounds(ctx context.Context, table int, after change.Key, rows int64) ([]change.Key, error) {
	all, err := db.Count(ctx, table)
	if err != nil {
		return nil, err
	}
	return db.bounds(ctx, table, after, int(all/max(rows, rowsPerPart)))
}

// Digests hashes a range on both sides at once. Equal digests mean equal rows:
// each row's key makes it occur once, so nothing cancels out, and two different
// sets of rows have one digest with a probability of 1 in 2⁶⁴.
func (db *DB) Digests(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range) (here, there change.Digest, ok bool, err error) {
	ask := func(d *change.Digest) func(context.Context, *DB, string, string) error {
		return func(ctx context.Context, on *DB, hash, from string) error {
			return on.pool.QueryRow(ctx, fmt.Sprintf("SELECT count(*), coalesce(bit_xor(%s), 0) FROM %s", hash, from)).Scan(&d.Rows, &d.Hash)
		}
	}
	ok, err = db.hashed(ctx, follower, plan, side, r, ask(&here), ask(&there))
	return here, there, ok, err
}

// Fingerprints returns key and hash of every row of a range on both sides.
func (db *DB) Fingerprints(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range) (here, there []change.Fingerprint, ok bool, err error) {
	ask := func(all *[]change.Fingerprint) func(context.Context, *DB, string, string) error {
		return func(ctx context.Context, on *DB, hash, from string) (err error) {
			*all, err = on.fingerprints(ctx, r.Table, hash, from)
			return err
		}
	}
	ok, err = db.hashed(ctx, follower, plan, side, r, ask(&here), ask(&there))
	return here, there, ok, err
}

// hashed writes both sides' hashes in SQL, of the owner's rows as the follower
// should hold them, and asks both at once.
func (db *DB) hashed(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range,
	here, there func(ctx context.Context, on *DB, hash, from string) error) (ok bool, err error) {
	to, ok := follower.(*DB)
	if !ok {
		return false, nil
	}
	from, err := db.layout(ctx, db.pool, r.Table)
	if err != nil {
		return false, err
	}
	into, err := to.layout(ctx, to.pool, r.Table)
	if err != nil {
		return false, err
	}
	mapped, ok := expressions(plan, from, into, side)
	if !ok {
		return false, nil
	}
	after, upTo, err := mapRange(plan, side, r)
	if err != nil {
		return false, nil // the row-by-row comparison names the key
	}
	both, together := errgroup.WithContext(ctx)
	both.Go(func() error {
		return here(together, db, rowHash(into, mapped), relation(from.table.Name)+" AS t"+from.within(r.After, r.UpTo, "t."))
	})
	both.Go(func() error {
		return there(together, to, rowHash(into, columnNames(into.table, "t.")), relation(into.table.Name)+" AS t"+into.within(after, upTo, "t."))
	})
	err = both.Wait()
	if unfit(code(err)) {
		return false, nil // a value that the mapping refuses: likewise
	}
	return true, explain(err)
}

func mapRange(plan *mapping.Table, side change.Side, r change.Range) (after, upTo change.Key, err error) {
	mapKey := plan.ForwardKey
	if side == change.Service {
		mapKey = plan.InverseKey
	}
	if after, err = mapKey(r.After); err != nil {
		return nil, nil, err
	}
	upTo, err = mapKey(r.UpTo)
	return after, upTo, err
}

// rowHash hashes the text of a row. A number is written without trailing zeros,
// which depend on where it has been.
func rowHash(l *layout, columns []string) string {
	texts := make([]string, len(columns))
	for i, c := range columns {
		if texts[i] = c; l.types[i].oid == pgtype.NumericOID {
			texts[i] = "trim_scale(" + c + ")"
		}
	}
	return fmt.Sprintf("hashtextextended(ROW(%s)::text, 0)", strings.Join(texts, ", "))
}

func (db *DB) fingerprints(ctx context.Context, table int, hash, from string) ([]change.Fingerprint, error) {
	t := db.tables[table]
	rows, err := db.pool.Query(ctx, fmt.Sprintf("SELECT %s, %s FROM %s", strings.Join(keyNames(t, "t."), ", "), hash, from), asText)
	if err != nil {
		return nil, err
	}
	keys := change.Table{Name: t.Name, Columns: keyColumns(t)}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f change.Fingerprint, err error) {
		if f.Key, err = readRow(rows, keys); err != nil {
			return f, err
		}
		f.Hash, err = number(row.RawValues()[len(keys.Columns)])
		return f, err
	})
}
