// Package postgres implements change.Database on PostgreSQL 14 and later:
// capture by logical replication, a fence by triggers, and copies under an
// exported snapshot.
//
// Start at [Open]. The parts, from the outside in: stream.go reads the log and
// applies batches, feed.go keeps a window of the log, assembly.go turns messages
// into transactions, session.go speaks the replication protocol, and wire.go
// decodes pgoutput. unseen.go waits for commits that the log has and others do not
// see yet, sparse.go leaves to the follower what it has, and alive.go sees to it that
// nobody waits for a connection that is dead.
// copy.go takes cuts, apply.go writes rows, switch.go fences and claims, schema.go
// installs and removes, partition.go minds partitions that come and go, and
// preflight.go looks beforehand.
//
// A [change.Position] is a log sequence number (LSN): the end of a commit
// record, or the point at which a replication slot became consistent.
//
// Everything that this package writes on behalf of the other side begins with a
// message in the log that names the move. Whoever reads the log leaves a
// transaction that holds the message out whole, which is how changes do not run
// in circles. Fences write a marker the same way.
//
// The control tables live in the schema strangler of the database they belong
// to, so that a checkpoint and the rows it speaks of are one transaction.
package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// DB is one PostgreSQL database as one side of one move.
type DB struct {
	move   string
	side   change.Side
	tables []change.Table
	id     string // of this side of the move, in control tables and in the log
	name   string // of the slot, the publication and the triggers

	pool    *pgxpool.Pool  // reads, and control
	applier *pgxpool.Pool  // writes that are neither refused nor captured
	raw     *pgconn.Config // for replication connections
	replica bool           // the role may switch triggers off for itself

	layouts    layouts
	cuts       cuts
	precedence precedence // of tables to be locked
	feed       feed
}

const (
	poolSize = 4
	// MaxWorkers is how many parts of a copy can be stored side by side.
	MaxWorkers = 16
	// lockWait bounds waiting for a table's lock where no other bound is given.
	lockWait = 30 * time.Second
)

// Open connects to the database that a DSN names. It changes nothing there.
func Open(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (*DB, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the PostgreSQL DSN: %w", err)
	}
	maps.Copy(config.ConnConfig.RuntimeParams, settings)
	// A checkpoint that is acknowledged must have reached the disk.
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	config.ConnConfig.AfterConnect = stayOpen
	stayAlive(&config.ConnConfig.Config)
	config.MaxConns = poolSize
	db := &DB{move: move, side: side, tables: tables, id: move + "/" + string(side), raw: config.ConnConfig.Config.Copy(), feed: feed{turn: make(turn, 1), bearable: unbearable}}
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	if err := db.introduce(ctx); err != nil {
		db.pool.Close()
		return nil, fmt.Errorf("open PostgreSQL database %s on %s: %w", config.ConnConfig.Database, config.ConnConfig.Host, err)
	}
	config = config.Copy()
	config.AfterConnect, config.MaxConns = db.becomeApplier, MaxWorkers
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds(applierIdle)
	if db.applier, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		db.pool.Close()
		return nil, err
	}
	return db, nil
}

// stayOpen switches off, for a new connection, timeouts that not every version
// knows and that it could therefore not be opened with.
func stayOpen(ctx context.Context, conn *pgconn.PgConn) error {
	_, err := conn.Exec(ctx, "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')").ReadAll()
	return err
}

// introduce asks what the names and the ways depend on. Slots are shared by all
// databases of a server, so their name says which one it is.
func (db *DB) introduce(ctx context.Context) error {
	var database string
	var version int
	if err := db.pool.QueryRow(ctx, "SELECT current_database(), current_setting('server_version_num')::int").Scan(&database, &version); err != nil {
		return err
	}
	db.name = objectName(db.move, db.id, database)
	may := "has_parameter_privilege(current_user, 'session_replication_role', 'SET')"
	if version < 150000 { // where the privilege can neither be granted nor asked for
		may = "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
	}
	return db.pool.QueryRow(ctx, "SELECT "+may).Scan(&db.replica)
}

// objectName is short enough for any object, has only letters that a slot may
// have, and differs wherever the move, the side or the database does.
func objectName(move, id, database string) string {
	sum := sha256.Sum256([]byte(id + "\x00" + database))
	slug := strings.Map(func(r rune) rune {
		if ('a' <= r && r <= 'z') || ('0' <= r && r <= '9') {
			return r
		}
		return '_'
	}, strings.ToLower(move))
	return fmt.Sprintf("strangler_%.24s_%s", slug, hex.EncodeToString(sum[:5]))
}

// becomeApplier makes a connection one that fences let through. Where the role
// may, it also switches off foreign keys and the application's triggers: the
// leading side has checked the ones and run the others.
func (db *DB) becomeApplier(ctx context.Context, conn *pgx.Conn) error {
	query := "SELECT set_config('strangler.applier', 'on', false)"
	if db.replica {
		query += ", set_config('session_replication_role', 'replica', false)"
	}
	_, err := conn.Exec(ctx, query)
	return err
}

// Tables returns the tables the database was opened with.
func (db *DB) Tables() []change.Table { return db.tables }

// Close closes every connection. The slot stays and keeps the log.
func (db *DB) Close() error {
	db.feed.close()
	db.cuts.close()
	db.applier.Close()
	db.pool.Close()
	return nil
}

// asApplier runs a function in one transaction whose changes are neither
// refused by the fence nor read back from the log.
func (db *DB) asApplier(ctx context.Context, f func(tx pgx.Tx) error) error {
	return transact(ctx, db.applier, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, "SELECT pg_logical_emit_message(true, $2, id) FROM strangler.move WHERE id = $1", db.id, applierPrefix)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return change.ErrNotPrepared
		}
		return f(tx)
	})
}

// transact runs a function in one transaction and commits if it returns nil.
func transact(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	return explain(pgx.BeginFunc(ctx, pool, f))
}

// code returns the SQLSTATE of an error, or "".
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// The SQLSTATEs that are decided on.
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503"
	exclusionViolation  = "23P01"
	undefinedSchema     = "3F000"
	undefinedTable      = "42P01"
	undefinedObject     = "42704"
	objectInUse         = "55006"
	wrongState          = "55000"
	lockTimeout         = "55P03"
	queryCanceled       = "57014"
	notSupported        = "0A000"
	diskFull            = "53100"
)

// explain turns missing control tables into change.ErrNotPrepared, says what to do
// about a full disk, and adds the detail that the server gives, which names the
// row.
func explain(err error) error {
	var e *pgconn.PgError
	switch {
	case !errors.As(err, &e):
		return err
	case e.Code == undefinedTable && strings.Contains(e.Message, `"strangler.`):
		return fmt.Errorf("%w: %w", change.ErrNotPrepared, err)
	case e.Code == diskFull:
		return fmt.Errorf("%w: make room on the disk of that database's server; nothing is lost, and what was under way can go on", err)
	case e.Detail != "":
		return fmt.Errorf("%w: %s", err, e.Detail)
	}
	return err
}

// unprepared turns a missing row of the move into change.ErrNotPrepared.
func unprepared(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return change.ErrNotPrepared
	}
	return explain(err)
}

// quote quotes an identifier.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// relation quotes a table's name, which may be qualified by a schema.
func relation(name string) string { return pgx.Identifier(nameParts(name)).Sanitize() }

// relations quotes the names of the mapped tables.
func (db *DB) relations() []string {
	names := make([]string, len(db.tables))
	for i, t := range db.tables {
		names[i] = relation(t.Name)
	}
	return names
}

// literal quotes a text.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// keyOf picks the key out of a row.
func keyOf(t change.Table, row change.Row) change.Key {
	key := make(change.Key, len(t.Key))
	for i, c := range t.Key {
		key[i] = row[c]
	}
	return key
}

// columnNames lists a table's columns, quoted, each with a prefix.
func columnNames(t change.Table, prefix string) []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = prefix + quote(c)
	}
	return names
}

// keyNames lists a table's key columns, quoted, each with a prefix.
func keyNames(t change.Table, prefix string) []string {
	names := make([]string, len(t.Key))
	for i, c := range t.Key {
		names[i] = prefix + quote(t.Columns[c])
	}
	return names
}

// querier is what reads: a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// asText asks for every column in the text format, in which the log has it too.
var asText = pgx.QueryResultFormats{pgx.TextFormatCode}

// readRows runs a query and decodes its rows.
func readRows(ctx context.Context, q querier, t change.Table, query string, args ...any) ([]change.Row, error) {
	rows, err := q.Query(ctx, query, append([]any{asText}, args...)...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []change.Row
	for rows.Next() {
		row, err := readRow(rows, t)
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, explain(rows.Err())
}

// readRow decodes the current row, whose first columns are the table's.
func readRow(rows pgx.Rows, t change.Table) (row change.Row, err error) {
	row = make(change.Row, len(t.Columns))
	for i, raw := range rows.RawValues()[:len(t.Columns)] {
		if row[i], err = decode(rows.FieldDescriptions()[i].DataTypeOID, raw); err != nil {
			return nil, valueError(t.Name, t.Columns[i], err)
		}
	}
	return row, nil
}

// numberedRow decodes a row that is followed by a number.
func numberedRow(rows pgx.Rows, t change.Table) (change.Row, int, error) {
	row, err := readRow(rows, t)
	if err != nil {
		return nil, 0, err
	}
	n, err := number(rows.RawValues()[len(t.Columns)])
	return row, int(n), err
}

// number reads a whole number in the text format.
func number(text []byte) (int64, error) { return strconv.ParseInt(string(text), 10, 64) }

// texts runs a query for one column of text.
func texts(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, explain(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return all, explain(err)
}

// layouts remembers what the catalog says about the mapped tables, until
// something goes wrong with it.
type layouts struct {
	mu  sync.Mutex
	all map[int]*layout
}

// forget makes the catalog be read again.
func (l *layouts) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = nil
}

// layout returns what the catalog says about a mapped table.
func (db *DB) layout(ctx context.Context, q querier, table int) (*layout, error) {
	db.layouts.mu.Lock()
	defer db.layouts.mu.Unlock()
	if l := db.layouts.all[table]; l != nil {
		return l, nil
	}
	l, err := readLayout(ctx, q, db.tables[table])
	if err != nil {
		return nil, err
	}
	if db.layouts.all == nil {
		db.layouts.all = map[int]*layout{}
	}
	db.layouts.all[table] = l
	return l, nil
}

// keyArrays writes keys as one array parameter per key column.
func (l *layout) keyArrays(keys []change.Key) []any {
	arrays := make([]any, len(l.table.Key))
	for i, c := range l.table.Key {
		arrays[i] = array(l.types[c].oid, keys, i)
	}
	return arrays
}

// rowArrays writes rows as one array parameter per column.
func (l *layout) rowArrays(rows []change.Row) []any {
	arrays := make([]any, len(l.types))
	for i, t := range l.types {
		arrays[i] = array(t.oid, rows, i)
	}
	return arrays
}

// keyTexts writes a key as parameters of their own.
func keyTexts(key change.Key) []any {
	values := make([]any, len(key))
	for i, v := range key {
		if v.Kind() != mapping.KindNull {
			values[i] = encode(v)
		}
	}
	return values
}
