package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Count estimates a table's rows from the statistics, and counts them where
// there are none yet.
func (db *DB) Count(ctx context.Context, table int) (int64, error) {
	name := relation(db.tables[table].Name)
	var estimate *int64
	err := db.pool.QueryRow(ctx, `SELECT CASE WHEN min(reltuples) >= 0 THEN sum(reltuples)::bigint END
		FROM pg_class WHERE relkind = 'r' AND oid IN (`+family+`)`, name).Scan(&estimate)
	if err != nil || estimate != nil {
		return deref(estimate), explain(err)
	}
	var n int64
	err = db.pool.QueryRow(ctx, "SELECT count(*) FROM "+name).Scan(&n)
	return n, explain(err)
}

func deref(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// cut is a snapshot and the position in the log at which it was taken: the log
// after the position is exactly what the snapshot does not show.
//
// It comes from creating a replication slot, which waits until no transaction
// is in between: one that is in the log but not yet visible. A position and a
// snapshot asked for one after the other would not agree.
type cut struct {
	at       change.Position
	snapshot string         // by which other connections see the same
	conn     *pgx.Conn      // in a transaction with the snapshot, which keeps it
	idle     []*pgx.Conn    // others in one
	begun    map[place]bool // what was read from its beginning
}

// place is a table and a range of it.
type place struct{ table, part int }

// cuts holds the cut that chunks are read under. One serves a whole copy, or
// what is left of it after a restart.
type cuts struct {
	taking  sync.Mutex // held by whoever takes one
	mu      sync.Mutex
	current *cut
}

func (c *cuts) has() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current != nil
}

func (c *cuts) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

func (c *cuts) drop() {
	if c.current == nil {
		return
	}
	for _, conn := range append(c.current.idle, c.current.conn) {
		hangUp(conn.PgConn())
	}
	c.current = nil
}

// EndCopy lets the snapshot of a copy go, which keeps VACUUM from its work. A
// copy that goes on later takes another one.
func (db *DB) EndCopy(context.Context) error {
	db.cuts.close()
	return nil
}

// giveWay lets the snapshot go where somebody waits to alter a table that is
// copied: the transactions that see the snapshot would keep them waiting until
// the copy is done, and everybody else behind them. The copy goes on under
// another snapshot once they are through.
func (db *DB) giveWay(ctx context.Context) error {
	var waited bool
	err := db.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation IN (`+withPartitions+`))`,
		db.relations()).Scan(&waited)
	if err != nil || !waited {
		return explain(err)
	}
	db.cuts.close()
	db.layouts.forget()
	return nil
}

// takeCut creates a temporary slot for its snapshot, takes the snapshot over
// into a transaction, and lets the slot go.
func (db *DB) takeCut(ctx context.Context) (*cut, error) {
	slot, err := db.replicationConn(ctx)
	if err != nil {
		return nil, err
	}
	defer hangUp(slot)
	if _, err := slot.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", lockWait.Milliseconds())).ReadAll(); err != nil {
		return nil, err
	}
	results, err := slot.Exec(ctx, fmt.Sprintf("CREATE_REPLICATION_SLOT %s TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT",
		quote(db.name+"_"+strings.ToLower(rand.Text()[:8])))).ReadAll()
	if code(err) == lockTimeout {
		return nil, fmt.Errorf("the copy waits for transactions that were open when it began, and %s was not enough: end them, then try again: %w", lockWait, err)
	}
	if err != nil {
		return nil, fmt.Errorf("create a temporary replication slot: %w", err)
	}
	made := results[0].Rows[0]
	at, err := parseLSN(string(made[1]))
	if err != nil {
		return nil, err
	}
	conn, err := db.adopt(ctx, string(made[2]))
	if err != nil {
		return nil, err
	}
	// The slot's own snapshot ends with its connection; this one with ours.
	c := &cut{at: at, conn: conn, begun: map[place]bool{}}
	if err := conn.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&c.snapshot); err != nil {
		hangUp(conn.PgConn())
		return nil, fmt.Errorf("share the snapshot: %w", err)
	}
	return c, nil
}

// adopt opens a transaction that sees an exported snapshot.
func (db *DB) adopt(ctx context.Context, snapshot string) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, db.pool.Config().ConnConfig.Copy())
	if err != nil {
		return nil, err
	}
	for _, q := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET TRANSACTION SNAPSHOT " + literal(snapshot)} {
		if _, err := conn.Exec(ctx, q); err != nil {
			hangUp(conn.PgConn())
			return nil, fmt.Errorf("%w: %w", errCutLost, err)
		}
	}
	return conn, nil
}

// parseLSN reads "16/B374D848".
func parseLSN(s string) (change.Position, error) {
	var high, low uint32
	if _, err := fmt.Sscanf(s, "%X/%X", &high, &low); err != nil {
		return 0, fmt.Errorf("%q is not a log sequence number: %w", s, err)
	}
	return change.Position(high)<<32 | change.Position(low), nil
}

// ReadChunk reads rows at an exact cut. Chunks of one copy share a cut; a copy
// that begins again, or a cut that was lost, gets another.
func (db *DB) ReadChunk(ctx context.Context, table int, after change.Key, limit int) (change.Chunk, error) {
	c := change.Chunk{Table: table, After: after, Last: after}
	if err := db.giveWay(ctx); err != nil {
		return c, err
	}
	err := db.underCut(ctx, place{table: table}, after == nil, func(conn *pgx.Conn, at change.Position) (err error) {
		c.At = at
		c.Rows, err = db.scan(ctx, conn, table, after, limit)
		return err
	})
	if err != nil {
		return c, err
	}
	if len(c.Rows) > 0 {
		c.Last = keyOf(db.tables[table], c.Rows[len(c.Rows)-1])
	}
	c.Done = len(c.Rows) < limit
	return c, nil
}

// underCut lends a connection that sees the copy's snapshot. Whoever begins what
// was begun before gets a new one.
func (db *DB) underCut(ctx context.Context, p place, begins bool, f func(conn *pgx.Conn, at change.Position) error) error {
	var born int64
	if err := db.pool.QueryRow(ctx, "SELECT coalesce(born, 0) FROM strangler.move WHERE id = $1", db.id).Scan(&born); err != nil {
		return unprepared(err)
	}
	c, conn, err := db.borrow(ctx, p, begins, change.Position(born))
	if err != nil {
		return err
	}
	err = f(conn, c.at)
	db.cuts.mu.Lock()
	defer db.cuts.mu.Unlock()
	if err != nil || db.cuts.current != c {
		// What failed has ended its transaction, and the snapshot with it.
		hangUp(conn.PgConn())
		return err
	}
	c.idle = append(c.idle, conn)
	return nil
}

// borrow returns a connection that sees the copy's snapshot, and whose cut that
// is.
func (db *DB) borrow(ctx context.Context, p place, begins bool, born change.Position) (*cut, *pgx.Conn, error) {
	for {
		c, conn, err := db.borrowCurrent(ctx, p, begins, born)
		if c != nil || err != nil {
			return c, conn, err
		}
		if err := db.renewCut(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// borrowCurrent does so where there is a cut that will do.
func (db *DB) borrowCurrent(ctx context.Context, p place, begins bool, born change.Position) (*cut, *pgx.Conn, error) {
	db.cuts.mu.Lock()
	defer db.cuts.mu.Unlock()
	c := db.cuts.current
	if c != nil && (c.at < born || c.conn.IsClosed() || begins && c.begun[p]) {
		db.cuts.drop()
		c = nil
	}
	if c == nil {
		return nil, nil, nil
	}
	c.begun[p] = c.begun[p] || begins
	if n := len(c.idle); n > 0 {
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return c, conn, nil
	}
	conn, err := db.adopt(ctx, c.snapshot)
	if err != nil {
		db.cuts.drop() // perhaps the server was restarted, and the snapshot is gone
		return nil, nil, err
	}
	return c, conn, nil
}

// renewCut takes a cut if there is none. Meanwhile connections of the one before
// can be given back: what the new one waits for may be waiting for them.
func (db *DB) renewCut(ctx context.Context) error {
	db.cuts.taking.Lock()
	defer db.cuts.taking.Unlock()
	if db.cuts.has() {
		return nil // somebody else has taken one
	}
	c, err := db.takeCut(ctx)
	if err != nil {
		return err
	}
	db.cuts.mu.Lock()
	defer db.cuts.mu.Unlock()
	db.cuts.current = c
	return nil
}

// scan reads up to limit rows in key order after a key.
func (db *DB) scan(ctx context.Context, q querier, table int, after change.Key, limit int) ([]change.Row, error) {
	t := db.tables[table]
	key := strings.Join(keyNames(t, ""), ", ")
	beyond := ""
	if after != nil {
		places := make([]string, len(after))
		for i := range places {
			places[i] = fmt.Sprintf("$%d", i+1)
		}
		beyond = fmt.Sprintf(" WHERE (%s) > (%s)", key, strings.Join(places, ", "))
	}
	return readRows(ctx, q, t, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT %d",
		strings.Join(columnNames(t, ""), ", "), relation(t.Name), beyond, key, limit), keyTexts(after)...)
}

// Scan reads rows in key order.
func (db *DB) Scan(ctx context.Context, table int, after change.Key, limit int) ([]change.Row, error) {
	return db.scan(ctx, db.pool, table, after, limit)
}

// Lookup returns the row of each key, nil where there is none. It waits until
// the changes of everything that was read of the log can be seen.
func (db *DB) Lookup(ctx context.Context, table int, keys []change.Key) ([]change.Row, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if err := db.untilReadIsVisible(ctx); err != nil {
		return nil, explain(err)
	}
	l, err := db.layout(ctx, db.pool, table)
	if err != nil {
		return nil, err
	}
	return lookup(ctx, db.pool, l, keys, "")
}

// lookup returns the row of each key, nil where there is none, by a query that ends
// as it is told.
func lookup(ctx context.Context, q querier, l *layout, keys []change.Key, end string) ([]change.Row, error) {
	rows := make([]change.Row, len(keys))
	numbered, err := q.Query(ctx, fmt.Sprintf("SELECT %s, n.number FROM %s JOIN ROWS FROM (%s) WITH ORDINALITY AS n(%s, number) ON %s %s",
		strings.Join(columnNames(l.table, "t."), ", "), relation(l.table.Name)+" AS t", l.arrays(l.table.Key), strings.Join(l.names(l.table.Key, ""), ", "),
		joined(keyNames(l.table, "t."), keyNames(l.table, "n.")), end), append([]any{asText}, l.keyArrays(keys)...)...)
	if err != nil {
		return nil, explain(err)
	}
	defer numbered.Close()
	for numbered.Next() {
		row, number, err := numberedRow(numbered, l.table)
		if err != nil {
			return nil, err
		}
		rows[number-1] = row
	}
	return rows, explain(numbered.Err())
}

// LoadChunk stores a chunk's rows and its record in one transaction.
func (db *DB) LoadChunk(ctx context.Context, c change.Chunk) error {
	return db.write(ctx, func(w *writing) error {
		if err := w.put(ctx, c.Table, c.Rows); err != nil {
			return fmt.Errorf("load %s: %w", db.tables[c.Table].Name, err)
		}
		return db.recordChunk(ctx, w.tx, c)
	})
}

// recordChunk notes a chunk, if it goes on where the record ends: one that does
// not comes from a copy that another one has taken over from.
func (db *DB) recordChunk(ctx context.Context, tx pgx.Tx, c change.Chunk) error {
	if c.After == nil {
		return overtaken(tx.Exec(ctx, "INSERT INTO strangler.chunk (id, tab, last, rows, at, done) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
			db.id, c.Table, mapping.EncodeKey(c.Last), len(c.Rows), bounded(c.At), c.Done))
	}
	return overtaken(tx.Exec(ctx, "UPDATE strangler.chunk SET last = $3, rows = rows + $4, done = $5 WHERE id = $1 AND tab = $2 AND last = $6 AND NOT done",
		db.id, c.Table, mapping.EncodeKey(c.Last), len(c.Rows), c.Done, mapping.EncodeKey(c.After)))
}

// overtaken is the error of a record that was not where a copy had left it.
func overtaken(done pgconn.CommandTag, err error) error {
	if err == nil && done.RowsAffected() == 0 {
		return fmt.Errorf("another copy of the same move is at work: %w", change.ErrStaleRunner)
	}
	return err
}

// Loaded returns where a table's copy stands.
func (db *DB) Loaded(ctx context.Context, table int) (change.Loaded, error) {
	parts, err := db.parts(ctx, table)
	if err != nil {
		return change.Loaded{}, err
	}
	if len(parts) > 0 {
		return whole(parts), nil
	}
	var l change.Loaded
	var last *string
	err = db.pool.QueryRow(ctx, `SELECT c.last, coalesce(c.rows, 0), coalesce(c.at, 0), coalesce(c.done, false)
		FROM strangler.move m LEFT JOIN strangler.chunk c ON c.id = m.id AND c.tab = $2 WHERE m.id = $1`, db.id, table).
		Scan(&last, &l.Rows, &l.At, &l.Done)
	if err != nil || last == nil {
		return l, unprepared(err)
	}
	if l.Last, err = mapping.DecodeKey(*last); len(l.Last) == 0 {
		l.Last = nil
	}
	return l, err
}

// whole sums the parts of a table up.
func whole(parts []change.Part) change.Loaded {
	l := change.Loaded{Done: true}
	for _, p := range parts {
		l.Rows += p.Rows
		l.Done = l.Done && p.Done
		if p.At > 0 && (l.At == 0 || p.At < l.At) {
			l.At = p.At
		}
	}
	return l
}
