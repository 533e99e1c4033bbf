// Package sqlite implements change.Database on SQLite: capture by triggers, a
// fence by triggers, and copies that stay inside the database engine.
//
// Start at [Open]. The control tables and triggers, all named strangler_*, live
// in the database they watch, so that a change, its capture and the fence are
// one transaction.
//
// Capture logs only the keys that were touched; [DB.Read] reads the rows of
// those keys in the same snapshot as the log. A batch therefore takes the
// follower from one exact state to a later exact state, however often a key
// changed in between, and a key that is logged for no reason does no harm.
//
// SQLite has one writer at a time. That is what makes the applier's flag in
// strangler_context safe: it is set and cleared within one transaction, so no
// other connection ever sees it set.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// DB is one SQLite database as one side of one move.
type DB struct {
	path   string
	move   string
	side   change.Side
	tables []change.Table

	read  *sql.DB // any number of readers, each in a snapshot of its own
	write *sql.DB // one connection; transactions are immediate

	lock   *os.File // held against other processes; nil when shared
	mu     sync.Mutex
	pruned time.Time
}

const (
	readers   = 4
	busyWait  = 10 * time.Second // for the write lock, where no other bound is given
	busyPause = time.Millisecond
)

// Open opens an existing database file. It never creates one: a path that is
// not there is more likely a mistake than a wish.
func Open(ctx context.Context, path, move string, side change.Side, tables []change.Table) (*DB, error) {
	path, _, _ = strings.Cut(path, "?")
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	registerFunctions()
	db := &DB{path: abs, move: move, side: side, tables: tables}
	if db.read, err = open(ctx, abs, "_pragma=query_only(1)&_pragma=busy_timeout(5000)", readers); err != nil {
		return nil, err
	}
	// Foreign keys are off for the applier: the leading side has checked them,
	// and a batch that is split may refer to a row of the next one.
	if db.write, err = open(ctx, abs, "_txlock=immediate&_pragma=busy_timeout(5)&_pragma=foreign_keys(0)&_pragma=synchronous(FULL)", 1); err != nil {
		db.read.Close()
		return nil, err
	}
	return db, nil
}

func open(ctx context.Context, path, options string, connections int) (*sql.DB, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + options
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

// Tables returns the tables the database was opened with.
func (db *DB) Tables() []change.Table { return db.tables }

// Close closes every connection.
func (db *DB) Close() error {
	err := errors.Join(db.read.Close(), db.write.Close())
	if db.lock != nil {
		err = errors.Join(err, db.lock.Close())
	}
	return err
}

// OpenExclusive is Open for the one process that runs a move: another one with
// a state of its own would take over the streams, and neither would know. The
// lock is a file beside the database, which the kernel releases however the
// process ends.
func OpenExclusive(ctx context.Context, path, move string, side change.Side, tables []change.Table) (*DB, error) {
	db, err := Open(ctx, path, move, side, tables)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s-strangler-%s.lock", db.path, move)
	if db.lock, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
		err = syscall.Flock(int(db.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("another strangler runs the move %s on %s: only one may, whatever its state", move, db.path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// snapshot runs a function in one read transaction.
func (db *DB) snapshot(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return f(tx)
}

// transact runs a function in one write transaction. It waits for the write
// lock until ctx or the wait ends, and commits if f returns nil.
func (db *DB) transact(ctx context.Context, waitFor time.Duration, f func(tx *sql.Tx) error) error {
	deadline := time.Now().Add(waitFor)
	for {
		err := db.tryTransact(ctx, f)
		if !busy(err) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the database stayed locked for %s: %w", waitFor, err)
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (db *DB) tryTransact(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		tx.Rollback()
		return err
	}
	return tx.Commit()
}

// busy reports whether an error means that another connection holds a lock.
func busy(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && (e.Code()&0xff == lib.SQLITE_BUSY || e.Code()&0xff == lib.SQLITE_LOCKED)
}

// violated reports whether an error means that a constraint was violated.
func violated(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_CONSTRAINT
}

// unprepared turns "no such table: strangler_…" into change.ErrNotPrepared.
func unprepared(err error) error {
	if err != nil && strings.Contains(err.Error(), "no such table: strangler_") {
		return fmt.Errorf("%w: %w", change.ErrNotPrepared, err)
	}
	return err
}

// quote quotes an identifier.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal quotes a text.
func literal(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

// columns lists a table's columns for SELECT. The unary plus takes the declared
// type away, because the driver would turn a DATETIME text into a time and lose
// how it was written.
func columns(t change.Table) string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = "+" + quote(c)
	}
	return strings.Join(names, ", ")
}

// keyColumns lists a table's key columns, each with a prefix.
func keyColumns(t change.Table, prefix string) []string {
	names := make([]string, len(t.Key))
	for i, c := range t.Key {
		names[i] = prefix + quote(t.Columns[c])
	}
	return names
}

// keyMatch is the condition that a row has the key given as arguments.
func keyMatch(t change.Table) string {
	return strings.Join(keyColumns(t, ""), " = ? AND ") + " = ?"
}

// keyOf picks the key out of a row.
func keyOf(t change.Table, row change.Row) change.Key {
	key := make(change.Key, len(t.Key))
	for i, c := range t.Key {
		key[i] = row[c]
	}
	return key
}

// args turns values into what the driver binds.
func args(values []mapping.Value) []any {
	bound := make([]any, len(values))
	for i, v := range values {
		bound[i] = bind(v)
	}
	return bound
}

func bind(v mapping.Value) any {
	switch v.Kind() {
	case mapping.KindNull:
		return nil
	case mapping.KindBool, mapping.KindInt:
		return v.Int64()
	case mapping.KindFloat:
		return v.Float64()
	case mapping.KindBytes:
		return []byte(v.Text())
	case mapping.KindTime:
		return v.Instant().UTC().Format("2006-01-02T15:04:05.999999999Z")
	}
	return v.Text()
}

// scanRows reads every row of a query as values.
func scanRows(rows *sql.Rows, width int) ([]change.Row, error) {
	defer rows.Close()
	var all []change.Row
	raw, at := make([]any, width), make([]any, width)
	for i := range raw {
		at[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(at...); err != nil {
			return nil, err
		}
		row := make(change.Row, width)
		for i, v := range raw {
			row[i] = value(v)
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

func value(v any) mapping.Value {
	switch v := v.(type) {
	case nil:
		return mapping.Null()
	case int64:
		return mapping.Int(v)
	case float64:
		return mapping.Float(v)
	case string:
		return mapping.Text(v)
	case []byte:
		return mapping.Bytes(v)
	case bool:
		return mapping.Bool(v)
	}
	return mapping.Text(fmt.Sprint(v))
}
