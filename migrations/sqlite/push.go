package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"

	sqlite "modernc.org/sqlite"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var (
	_ change.Database = (*DB)(nil)
	_ change.Pusher   = (*DB)(nil)
)

// The functions that a pushed-down copy calls. SQLite's Go driver keeps one
// registry for the process, so they are registered once.
const (
	utcFunction    = "strangler_utc"    // (text, zoneNumber) -> UTC
	refuseFunction = "strangler_refuse" // (value): ends the statement
)

var registerFunctions = sync.OnceFunc(func() {
	// The text is not copied for the call, so nothing may keep it: the column
	// returns a text of its own, and its errors quote.
	sqlite.MustRegisterFunction(utcFunction, &sqlite.FunctionImpl{NArgs: 2, Deterministic: true, VolatileArgs: true,
		Scalar: func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			if args[0] == nil {
				return nil, nil
			}
			column, ok := zones.columns.Load(args[1])
			if !ok {
				return nil, fmt.Errorf("%v is not the number of a zone", args[1])
			}
			v, err := column.(mapping.Column).There(value(args[0]))
			return v.Text(), err
		}})
	sqlite.MustRegisterDeterministicScalarFunction(refuseFunction, 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		return nil, fmt.Errorf("%v is refused by the mapping", args[0])
	})
})

// zones are the layouts and zones of pushed-down times. A call names one by its
// number, because a text argument would be copied for each row.
var zones struct {
	mu      sync.Mutex
	numbers map[[2]string]int64 // layout and zone -> number
	columns sync.Map            // number -> mapping.Column
}

// zoneNumber returns the number of a layout and a zone.
func zoneNumber(layout, zone string) (int64, error) {
	zones.mu.Lock()
	defer zones.mu.Unlock()
	if n, ok := zones.numbers[[2]string{layout, zone}]; ok {
		return n, nil
	}
	column, err := mapping.Zoned(layout, zone)
	if err != nil {
		return 0, err
	}
	if zones.numbers == nil {
		zones.numbers = map[[2]string]int64{}
	}
	n := int64(len(zones.numbers))
	zones.numbers[[2]string{layout, zone}] = n
	zones.columns.Store(n, column)
	return n, nil
}

// PushChunk copies a range within the database engine: the target attaches the
// source read-only and selects from it, with the transforms written in SQL. One
// transaction reads the log's end and the rows and stores them, so the cut is
// exact. A value that the mapping refuses makes it say no: the row-by-row road
// then names the row.
func (db *DB) PushChunk(ctx context.Context, target change.Database, plan *mapping.Table, table int, after change.Key, limit int) (change.Chunk, int64, bool, error) {
	c := change.Chunk{Table: table, After: after, Last: after}
	to, ok := target.(*DB)
	if !ok {
		return c, 0, false, nil
	}
	selected, ok := pushdown(plan)
	if !ok {
		return c, 0, false, nil
	}
	detach, err := to.attach(ctx, db.path)
	if err != nil {
		return c, 0, false, nil
	}
	defer detach()
	var rows int64
	err = to.transact(ctx, busyWait, func(tx *sql.Tx) error {
		return to.asApplier(ctx, tx, func() (err error) {
			c = change.Chunk{Table: table, After: after, Last: after} // a retry begins anew
			if c.At, err = db.attachedHead(ctx, tx); err != nil {
				return err
			}
			if c, err = db.attachedEnd(ctx, tx, c, limit); err != nil {
				return err
			}
			if rows, err = db.selectInto(ctx, tx, to.tables[table], selected, c); err != nil {
				return err
			}
			return to.recordChunk(ctx, tx, c, rows)
		})
	})
	if err != nil && strings.Contains(err.Error(), "refused by the mapping") || isUTC(err) {
		return change.Chunk{}, 0, false, nil
	}
	return c, rows, err == nil, unprepared(err)
}

// isUTC reports whether the time function refused a value.
func isUTC(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "is not a time like") || strings.Contains(err.Error(), "does not exist in"))
}

// source is the name under which the source is attached.
const source = "strangler_source"

// attach makes a database file readable from the write connection until the
// returned function is called. It is attached no longer than a chunk takes: a
// table that is missing here would be looked for there. Meanwhile commits need
// not be durable at once: a chunk that a power cut takes back goes together
// with its record, and is copied again.
func (db *DB) attach(ctx context.Context, path string) (detach func(), err error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?mode=ro"
	if _, err := db.write.ExecContext(ctx, "ATTACH DATABASE ? AS "+source, dsn); err != nil {
		return nil, err
	}
	if _, err := db.write.ExecContext(ctx, "PRAGMA main.synchronous = NORMAL"); err != nil {
		return nil, err
	}
	return func() {
		end := context.WithoutCancel(ctx)
		db.write.ExecContext(end, "DETACH DATABASE "+source)
		db.write.ExecContext(end, "PRAGMA main.synchronous = FULL")
	}, nil
}

func (db *DB) attachedHead(ctx context.Context, tx *sql.Tx) (change.Position, error) {
	var p int64
	err := tx.QueryRowContext(ctx, `SELECT max(
		coalesce((SELECT max(seq) FROM strangler_source.strangler_log WHERE move = ?1), 0),
		coalesce((SELECT acked FROM strangler_source.strangler_move WHERE move = ?1), 0))`, db.move).Scan(&p)
	return change.Position(p), err
}

// attachedEnd finds the last key of the chunk.
func (db *DB) attachedEnd(ctx context.Context, tx *sql.Tx, c change.Chunk, limit int) (change.Chunk, error) {
	t := db.tables[c.Table]
	key := strings.Join(keyColumns(t, ""), ", ")
	from := fmt.Sprintf("SELECT %s FROM %s.%s%s ORDER BY %s", "+"+strings.Join(keyColumns(t, ""), ", +"), source, quote(t.Name), beyond(t, c.After), key)
	rows, err := tx.QueryContext(ctx, from+" LIMIT 1 OFFSET "+strconv.Itoa(limit-1), args(c.After)...)
	if err != nil {
		return c, err
	}
	end, err := scanRows(rows, len(t.Key))
	if err != nil {
		return c, err
	}
	if len(end) == 1 {
		c.Last = end[0]
		return c, nil
	}
	// Fewer rows than the limit are left: the chunk ends with the table.
	c.Done = true
	descending := strings.Join(keyColumns(t, ""), " DESC, ") + " DESC"
	rows, err = tx.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s.%s%s ORDER BY %s LIMIT 1",
		"+"+strings.Join(keyColumns(t, ""), ", +"), source, quote(t.Name), beyond(t, c.After), descending), args(c.After)...)
	if err != nil {
		return c, err
	}
	if end, err = scanRows(rows, len(t.Key)); err == nil && len(end) == 1 {
		c.Last = end[0]
	}
	return c, err
}

// selectInto copies the chunk's range.
func (db *DB) selectInto(ctx context.Context, tx *sql.Tx, to change.Table, selected string, c change.Chunk) (int64, error) {
	t := db.tables[c.Table]
	if c.Last == nil {
		return 0, nil
	}
	names := make([]string, len(to.Columns))
	for i, name := range to.Columns {
		names[i] = quote(name)
	}
	key := strings.Join(keyColumns(t, ""), ", ")
	where, bound := fmt.Sprintf("(%s) <= (%s)", key, placeholders(len(t.Key))), args(c.Last)
	if c.After != nil {
		where, bound = fmt.Sprintf("(%s) > (%s) AND ", key, placeholders(len(t.Key)))+where, append(args(c.After), bound...)
	}
	done, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT OR REPLACE INTO main.%s (%s) SELECT %s FROM %s.%s WHERE %s ORDER BY %s",
		quote(to.Name), strings.Join(names, ", "), selected, source, quote(t.Name), where, key), bound...)
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", t.Name, err)
	}
	return done.RowsAffected()
}

// pushdown writes a table's transforms as SQL expressions over its columns.
func pushdown(plan *mapping.Table) (string, bool) {
	var all []string
	for _, c := range plan.Columns() {
		expression, ok := pushColumn(c)
		if !ok {
			return "", false
		}
		all = append(all, expression)
	}
	return strings.Join(all, ", "), true
}

func pushColumn(c mapping.Column) (string, bool) {
	from, t := quote(c.From), c.Transform()
	switch t.Kind {
	case "rename":
		return from, true
	case "constant":
		return literal(t.Value.Text()), true
	case "time":
		zone, err := zoneNumber(t.Layout, t.Zone)
		return fmt.Sprintf("%s(%s, %d)", utcFunction, from, zone), err == nil
	case "scale":
		// A REAL was written with so many decimals exactly if it is the double
		// nearest to the scaled integer divided again: then the two are equal.
		// An integer product that is too large would silently become a REAL.
		one := "1" + strings.Repeat("0", t.Digits)
		if t.Digits > 9 {
			return "", false
		}
		return fmt.Sprintf("CASE typeof(%[1]s) WHEN 'null' THEN NULL WHEN 'integer' THEN "+
			"CASE typeof(%[1]s * %[2]s) WHEN 'integer' THEN %[1]s * %[2]s ELSE %[3]s(%[1]s) END WHEN 'real' THEN "+
			"CASE WHEN abs(%[1]s) * %[2]s.0 < 4e15 AND round(%[1]s * %[2]s.0) / %[2]s.0 = %[1]s THEN CAST(round(%[1]s * %[2]s.0) AS INTEGER) ELSE %[3]s(%[1]s) END "+
			"ELSE %[3]s(%[1]s) END", from, one, refuseFunction), true
	case "enum":
		return pushEnum(from, t), true
	}
	return "", false
}

func pushEnum(from string, t mapping.Transform) string {
	values := make([]string, 0, len(t.Names))
	for v := range t.Names {
		values = append(values, v)
	}
	sort.Strings(values)
	// Compared as the mapping does: by the text of an integer or a text, letter
	// for letter, whatever affinity and collation the column has.
	var b strings.Builder
	fmt.Fprintf(&b, "CASE WHEN %[1]s IS NULL THEN NULL WHEN typeof(%[1]s) NOT IN ('integer', 'text') THEN %[2]s(%[1]s)", from, refuseFunction)
	for _, v := range values {
		fmt.Fprintf(&b, " WHEN CAST(%s AS TEXT) = %s COLLATE BINARY THEN %s", from, literal(v), literal(t.Names[v]))
	}
	fmt.Fprintf(&b, " ELSE %s(%s) END", refuseFunction, from)
	return b.String()
}
