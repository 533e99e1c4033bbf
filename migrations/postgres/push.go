package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var _ change.PartPusher = (*DB)(nil)

const (
	// rowsPerPart is how many rows make it worth while to cut a table.
	rowsPerPart = 20_000
	// sampledKeys is about how many keys are looked at to find where to cut it.
	sampledKeys = 10_000
	// pipeBuffer is what travels between two COPYs at a time, in bytes.
	pipeBuffer = 64 << 10
)

// Parts cuts a table into ranges of about the same number of rows, and records
// them on the target before the first row is copied: they are the same after a
// restart.
func (db *DB) Parts(ctx context.Context, target change.Database, table, parts int) ([]change.Part, bool, error) {
	to, ok := target.(*DB)
	if !ok {
		return nil, false, nil
	}
	have, err := to.parts(ctx, table)
	if err != nil || len(have) > 0 {
		return have, true, err
	}
	if l, err := to.Loaded(ctx, table); err != nil || l.Done || l.Rows > 0 {
		return nil, false, err // it was begun in one piece
	}
	bounds, err := db.bounds(ctx, table, parts)
	if err != nil {
		return nil, false, err
	}
	if err := to.recordParts(ctx, table, bounds); err != nil {
		return nil, false, fmt.Errorf("record how %s is cut: %w", db.tables[table].Name, err)
	}
	have, err = to.parts(ctx, table)
	return have, true, err
}

// bounds picks keys that cut a table evenly, from a sample in the order that
// the source gives them.
func (db *DB) bounds(ctx context.Context, table, parts int) ([]change.Key, error) {
	rows, err := db.Count(ctx, table)
	if err != nil {
		return nil, err
	}
	parts = int(min(int64(parts), rows/rowsPerPart))
	if parts < 2 {
		return nil, nil
	}
	sampled, err := db.sample(ctx, table, nil, rows)
	if err != nil {
		return nil, err
	}
	var bounds []change.Key
	for i := 1; i < parts && len(sampled) > parts; i++ {
		bounds = append(bounds, sampled[i*len(sampled)/parts])
	}
	return bounds, nil
}

// sample returns about sampledKeys keys, in order, of a table that has so many
// rows; with after, those of them that come after it.
func (db *DB) sample(ctx context.Context, table int, after change.Key, rows int64) ([]change.Key, error) {
	l, err := db.layout(ctx, db.pool, table)
	if err != nil {
		return nil, err
	}
	keys := change.Table{Name: l.table.Name, Columns: keyColumns(l.table)}
	sampled, err := readRows(ctx, db.pool, keys, fmt.Sprintf("SELECT %[1]s FROM %[2]s AS t TABLESAMPLE SYSTEM (%[3]f)%[4]s ORDER BY %[1]s",
		strings.Join(keyNames(l.table, "t."), ", "), relation(l.table.Name), min(100, 100*sampledKeys/float64(rows)), l.within(after, nil, "t.")))
	if err != nil {
		return nil, fmt.Errorf("sample the keys of %s: %w", l.table.Name, err)
	}
	return sampled, nil
}

func (db *DB) recordParts(ctx context.Context, table int, bounds []change.Key) error {
	return transact(ctx, db.pool, func(tx pgx.Tx) error {
		for i := range len(bounds) + 1 {
			var after, upTo change.Key
			if i > 0 {
				after = bounds[i-1]
			}
			if i < len(bounds) {
				upTo = bounds[i]
			}
			if _, err := tx.Exec(ctx, `INSERT INTO strangler.part (id, tab, no, up_to, last, rows, done)
				SELECT id, $2, $3, $4, $5, 0, false FROM strangler.move WHERE id = $1`,
				db.id, table, i, mapping.EncodeKey(upTo), mapping.EncodeKey(after)); err != nil {
				return err
			}
		}
		return nil
	})
}

// parts reads how a table is cut and how far each part has come.
func (db *DB) parts(ctx context.Context, table int) ([]change.Part, error) {
	rows, err := db.pool.Query(ctx, "SELECT no, up_to, last, rows, coalesce(at, 0), done FROM strangler.part WHERE id = $1 AND tab = $2 ORDER BY no", db.id, table)
	if err != nil {
		return nil, explain(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Part, error) {
		p := change.Part{Table: table}
		var upTo, last string
		if err := row.Scan(&p.No, &upTo, &last, &p.Rows, &p.At, &p.Done); err != nil {
			return p, err
		}
		var errUpTo, errLast error
		p.UpTo, errUpTo = decodeKey(upTo)
		p.Last, errLast = decodeKey(last)
		return p, errors.Join(errUpTo, errLast)
	})
	return all, explain(err)
}

// decodeKey reads a key, of which an empty one means that there is none.
func decodeKey(text string) (change.Key, error) {
	key, err := mapping.DecodeKey(text)
	if len(key) == 0 {
		return nil, err
	}
	return key, err
}

// PushPart copies the next rows of a part, at most limit, together with how far
// it has come. Where the mapping can be written in SQL, COPY feeds COPY and no
// value is looked at here; where it cannot, or a row is refused, the rows pass
// through the mapping one by one, which names the row.
func (db *DB) PushPart(ctx context.Context, target change.Database, plan *mapping.Table, p change.Part, limit int) (change.Part, int64, error) {
	to := target.(*DB)
	from, err := db.layout(ctx, db.pool, p.Table)
	if err != nil {
		return p, 0, err
	}
	into, err := to.layout(ctx, to.pool, p.Table)
	if err != nil {
		return p, 0, err
	}
	if err := db.giveWay(ctx); err != nil {
		return p, 0, err
	}
	next, err := db.following(ctx, from, p, limit)
	if err != nil {
		db.layouts.forget() // in case the table has been altered
		return p, 0, err
	}
	if selected, ok := expressions(plan, from, into, change.Monolith); ok {
		after, rows, err := db.pipe(ctx, to, from, into, selected, p, next)
		if !unfit(code(err)) {
			return after, rows, err
		}
	}
	return db.pass(ctx, to, plan, from, p, next)
}

// following finds where the next chunk of a part ends, and whether the part
// ends with it.
func (db *DB) following(ctx context.Context, l *layout, p change.Part, limit int) (change.Part, error) {
	next := p
	key := strings.Join(keyNames(l.table, ""), ", ")
	keys := change.Table{Name: l.table.Name, Columns: keyColumns(l.table)}
	err := db.underCut(ctx, place{p.Table, p.No}, false, func(conn *pgx.Conn, at change.Position) error {
		found, err := readRows(ctx, conn, keys, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s OFFSET %d LIMIT 1",
			key, relation(l.table.Name), l.within(p.Last, p.UpTo, ""), key, limit-1))
		if err != nil {
			return err
		}
		if p.At == 0 {
			next.At = at
		}
		if next.Done = len(found) == 0; next.Done {
			next.Last = p.UpTo
		} else {
			next.Last = found[0]
		}
		return nil
	})
	return next, err
}

// within is the condition that a row lies in a range of keys. Its bounds are
// written out, since COPY takes no parameters.
func (l *layout) within(after, upTo change.Key, prefix string) string {
	key := strings.Join(keyNames(l.table, prefix), ", ")
	var all []string
	if after != nil {
		all = append(all, fmt.Sprintf("(%s) > (%s)", key, l.keyLiterals(after)))
	}
	if upTo != nil {
		all = append(all, fmt.Sprintf("(%s) <= (%s)", key, l.keyLiterals(upTo)))
	}
	if len(all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(all, " AND ")
}

func (l *layout) keyLiterals(key change.Key) string {
	all := make([]string, len(key))
	for i, c := range l.table.Key {
		all[i] = literal(encodeFor(l.types[c].oid, key[i])) + "::" + l.types[c].cast
	}
	return strings.Join(all, ", ")
}

// pipe feeds one COPY from another.
func (db *DB) pipe(ctx context.Context, to *DB, from, into *layout, selected []string, p, next change.Part) (change.Part, int64, error) {
	out := fmt.Sprintf("COPY (SELECT %s FROM %s AS t%s) TO STDOUT (FORMAT binary)",
		strings.Join(selected, ", "), relation(from.table.Name), from.within(p.Last, next.Last, "t."))
	in := fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", relation(into.table.Name), strings.Join(columnNames(into.table, ""), ", "))
	var rows int64
	err := db.underCut(ctx, place{p.Table, p.No}, false, func(source *pgx.Conn, _ change.Position) error {
		return to.asApplier(ctx, func(tx pgx.Tx) (err error) {
			if rows, err = connect(ctx, source.PgConn(), out, tx.Conn().PgConn(), in); err != nil {
				return err
			}
			return to.recordPart(ctx, tx, p, next, rows)
		})
	})
	if err != nil {
		return p, 0, err
	}
	next.Rows += rows
	return next, rows, nil
}

// connect runs a COPY from one connection into a COPY on another one.
func connect(ctx context.Context, source *pgconn.PgConn, out string, target *pgconn.PgConn, in string) (int64, error) {
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		buffered := bufio.NewWriterSize(writer, pipeBuffer)
		_, err := source.CopyTo(ctx, buffered, out)
		err = errors.Join(err, buffered.Flush())
		writer.CloseWithError(err)
		sent <- err
	}()
	done, err := target.CopyFrom(ctx, reader, in)
	reader.CloseWithError(errors.New("the other side stopped"))
	if sentErr := <-sent; sentErr != nil && code(err) == queryCanceled {
		err = sentErr // what the target was told when the source failed
	}
	return done.RowsAffected(), err
}

// pass copies a chunk row by row through the mapping.
func (db *DB) pass(ctx context.Context, to *DB, plan *mapping.Table, from *layout, p, next change.Part) (change.Part, int64, error) {
	var rows []change.Row
	err := db.underCut(ctx, place{p.Table, p.No}, false, func(conn *pgx.Conn, _ change.Position) (err error) {
		rows, err = readRows(ctx, conn, from.table, fmt.Sprintf("SELECT %s FROM %s%s",
			strings.Join(columnNames(from.table, ""), ", "), relation(from.table.Name), from.within(p.Last, next.Last, "")))
		return err
	})
	if err != nil {
		return p, 0, err
	}
	for i, row := range rows {
		if rows[i], err = plan.Forward(row); err != nil {
			return p, 0, err
		}
	}
	err = to.write(ctx, func(w *writing) error {
		if err := w.put(ctx, p.Table, rows); err != nil {
			return fmt.Errorf("load %s: %w", to.tables[p.Table].Name, err)
		}
		return to.recordPart(ctx, w.tx, p, next, int64(len(rows)))
	})
	if err != nil {
		return p, 0, err
	}
	next.Rows += int64(len(rows))
	return next, int64(len(rows)), nil
}

// recordPart notes how far a part has come, if it is where it was before.
func (db *DB) recordPart(ctx context.Context, tx pgx.Tx, before, p change.Part, rows int64) error {
	return overtaken(tx.Exec(ctx, `UPDATE strangler.part SET last = $4, rows = rows + $5, at = coalesce(at, $6), done = $7
		WHERE id = $1 AND tab = $2 AND no = $3 AND last = $8 AND NOT done`,
		db.id, p.Table, p.No, mapping.EncodeKey(p.Last), rows, bounded(p.At), p.Done, mapping.EncodeKey(before.Last)))
}
