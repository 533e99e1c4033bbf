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

// Bounds cuts what a table has after a key into ranges of about so many rows,
// from a sample of its keys.
func (db *DB) Bounds(ctx context.Context, table int, after change.Key, rows int64) ([]change.Key, error) {
	all, err := db.Count(ctx, table)
	if err != nil || all <= rows {
		return nil, err
	}
	sampled, err := db.sample(ctx, table, after, all)
	if err != nil {
		return nil, err
	}
	step := max(4, int(rows*min(sampledKeys, all)/all)) // so many of the sample make a range
	var bounds []change.Key
	for at := step; at < len(sampled); at += step {
		bounds = append(bounds, sampled[at])
	}
	return bounds, nil
}

// Split cuts a range into ranges of so many rows, exactly.
func (db *DB) Split(ctx context.Context, r change.Range, rows int64) ([]change.Key, error) {
	l, err := db.layout(ctx, db.pool, r.Table)
	if err != nil {
		return nil, err
	}
	key := strings.Join(keyNames(l.table, "t."), ", ")
	plain := strings.Join(keyNames(l.table, "numbered."), ", ")
	keys, err := readRows(ctx, db.pool, change.Table{Name: l.table.Name, Columns: keyColumns(l.table)}, fmt.Sprintf(
		"SELECT %[1]s FROM (SELECT %[2]s, row_number() OVER (ORDER BY %[2]s) AS strangler_no FROM %[3]s AS t%[4]s) AS numbered WHERE strangler_no %% %[5]d = 0 ORDER BY strangler_no",
		plain, key, relation(l.table.Name), l.within(r.After, r.UpTo, "t."), rows))
	if err != nil {
		return nil, fmt.Errorf("cut a range of %s: %w", l.table.Name, explain(err))
	}
	return keys, nil
}

// Digests hashes a range on both sides at once. Equal digests mean equal rows:
// each row's key makes it occur once, so nothing cancels out, and two different
// sets of rows have one digest with a probability of 1 in 2⁶⁴. Where the mapping
// refuses a row the digests differ.
func (db *DB) Digests(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range) (here, there change.Digest, ok bool, err error) {
	ask := func(d *change.Digest) asking {
		return func(ctx context.Context, on *DB, hash, from string) error {
			return on.pool.QueryRow(ctx, fmt.Sprintf("SELECT count(*), coalesce(bit_xor(%s), 0) FROM %s", hash, from)).Scan(&d.Rows, &d.Hash)
		}
	}
	ok, refused, err := db.hashed(ctx, follower, plan, side, r, ask(&here), ask(&there))
	if refused {
		there.Hash = ^here.Hash
	}
	return here, there, ok, err
}

// Fingerprints returns key and hash of every row of a range on both sides. Where
// the mapping refuses a row all of them differ.
func (db *DB) Fingerprints(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range) (here, there []change.Fingerprint, ok bool, err error) {
	ask := func(all *[]change.Fingerprint) asking {
		return func(ctx context.Context, on *DB, hash, from string) (err error) {
			*all, err = on.fingerprints(ctx, r.Table, hash, from)
			return err
		}
	}
	ok, _, err = db.hashed(ctx, follower, plan, side, r, ask(&here), ask(&there))
	return here, there, ok, err
}

// asking is a question to one side, given its hash of a row and where the rows
// are.
type asking func(ctx context.Context, on *DB, hash, from string) error

// hashed writes both sides' hashes in SQL, of the owner's rows as the follower
// should hold them, and asks both at once. Where the mapping refuses a row, both
// are asked again with two constants for hashes.
func (db *DB) hashed(ctx context.Context, follower change.Database, plan *mapping.Table, side change.Side, r change.Range, here, there asking) (ok, refused bool, err error) {
	to, ok := follower.(*DB)
	if !ok {
		return false, false, nil
	}
	from, err := db.layout(ctx, db.pool, r.Table)
	if err != nil {
		return false, false, err
	}
	into, err := to.layout(ctx, to.pool, r.Table)
	if err != nil {
		return false, false, err
	}
	mapped, ok := expressions(plan, from, into, side)
	if !ok || !sameOrder(plan, from, into, side) {
		return false, false, nil
	}
	after, upTo, err := mapRange(plan, side, r)
	if err != nil {
		return false, false, err
	}
	ask := func(hash, other string) error {
		both, together := errgroup.WithContext(ctx)
		both.Go(func() error {
			return here(together, db, hash, relation(from.table.Name)+" AS t"+from.within(r.After, r.UpTo, "t."))
		})
		both.Go(func() error {
			return there(together, to, other, relation(into.table.Name)+" AS t"+into.within(after, upTo, "t."))
		})
		return both.Wait()
	}
	err = ask(rowHash(into, mapped), rowHash(into, columnNames(into.table, "t.")))
	if refused = unfit(code(err)); refused {
		err = ask("0::int8", "1::int8")
	}
	return true, refused, explain(err)
}

// sameOrder reports whether both sides order their keys alike, so that a range
// of the one is a range of the other.
func sameOrder(plan *mapping.Table, from, into *layout, side change.Side) bool {
	for n, at := range into.table.Key {
		there, here := into.types[at], from.types[from.table.Key[n]]
		kind := columnOf(plan, side, there.name).Transform().Kind
		if kind != "rename" && kind != "scale" || here.class == "e" || there.class == "e" || here.order != there.order {
			return false
		}
	}
	return true
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
// which depend on where it has been, a padded text without its padding, and the
// negative zero of a floating-point number as zero.
func rowHash(l *layout, columns []string) string {
	texts := make([]string, len(columns))
	for i, c := range columns {
		switch l.types[i].oid {
		case pgtype.NumericOID:
			texts[i] = "trim_scale(" + c + ")"
		case pgtype.Float4OID, pgtype.Float8OID:
			texts[i] = fmt.Sprintf("(%s + '0'::%s)", c, l.types[i].cast)
		case pgtype.BPCharOID:
			texts[i] = c + "::text"
		default:
			texts[i] = c
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
