package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"stranglerfig/migrations/change"
)

// control creates the control tables. They are not versioned by golang-migrate:
// they live in somebody else's database for the length of a move, must appear
// in one transaction beside live writers, and must never be found "dirty".
var control = []string{
	`CREATE TABLE IF NOT EXISTS strangler_context (applier INTEGER NOT NULL)`,
	`INSERT INTO strangler_context SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM strangler_context)`,
	`CREATE TABLE IF NOT EXISTS strangler_move (
		move TEXT PRIMARY KEY, side TEXT NOT NULL, epoch INTEGER NOT NULL, attempt INTEGER NOT NULL,
		fenced INTEGER NOT NULL, acked INTEGER NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS strangler_log (
		seq INTEGER PRIMARY KEY AUTOINCREMENT, move TEXT NOT NULL, tab INTEGER, key TEXT, marker TEXT)`,
	`CREATE INDEX IF NOT EXISTS strangler_log_move ON strangler_log (move, seq)`,
	`CREATE TABLE IF NOT EXISTS strangler_stream (
		move TEXT NOT NULL, stream TEXT NOT NULL, position INTEGER NOT NULL, marker TEXT NOT NULL,
		runner TEXT NOT NULL, PRIMARY KEY (move, stream))`,
	`CREATE TABLE IF NOT EXISTS strangler_chunk (
		move TEXT NOT NULL, tab INTEGER NOT NULL, last TEXT, rows INTEGER NOT NULL, at INTEGER NOT NULL,
		done INTEGER NOT NULL, PRIMARY KEY (move, tab))`,
}

// controlTables in the order in which they may be dropped.
var controlTables = []string{"strangler_chunk", "strangler_stream", "strangler_log", "strangler_move", "strangler_context"}

// Prepare installs control tables, capture and fence. It keeps an ownership
// that exists, so that repeating it changes nothing.
func (db *DB) Prepare(ctx context.Context, role change.Role) error {
	statements, err := db.PrepareStatements(ctx, role)
	if err != nil {
		return err
	}
	return db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		for _, q := range statements {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("%w\nin: %s", err, q)
			}
		}
		return nil
	})
}

// PrepareStatements returns what Prepare runs.
func (db *DB) PrepareStatements(ctx context.Context, role change.Role) ([]string, error) {
	epoch, fenced := 1, 0
	if role == change.Following {
		epoch, fenced = 0, 1
	}
	statements := append([]string(nil), control...)
	statements = append(statements, fmt.Sprintf(
		`INSERT OR IGNORE INTO strangler_move VALUES (%s, %s, %d, 0, %d, 0)`, literal(db.move), literal(string(db.side)), epoch, fenced))
	for i, t := range db.tables {
		unique, err := db.otherUnique(ctx, t)
		if err != nil {
			return nil, err
		}
		for _, q := range db.triggers(i, t, unique) {
			statements = append(statements, "DROP TRIGGER IF EXISTS "+quote(q.name), q.create)
		}
	}
	return statements, nil
}

type trigger struct{ name, create string }

// triggers are capture and fence of one table. Both sit in the same trigger, so
// that a row costs one look at the applier's flag: the fence refuses after the
// row was written, which undoes the statement just as well as before.
func (db *DB) triggers(i int, t change.Table, unique []unique) []trigger {
	refuse := fmt.Sprintf(
		`SELECT RAISE(ABORT, %s) FROM strangler_move WHERE move = %s AND fenced = 1;`,
		literal(fmt.Sprintf("strangler: table %s is fenced: %s is owned by the other side", t.Name, db.move)), literal(db.move))
	log := func(key string) string {
		return fmt.Sprintf("INSERT INTO strangler_log (move, tab, key) VALUES (%s, %d, %s);", literal(db.move), i, key)
	}
	oldKey, newKey := jsonKey(t, "OLD."), jsonKey(t, "NEW.")
	build := func(kind, when, body string) trigger {
		name := db.triggerName(i, kind)
		return trigger{name, fmt.Sprintf("CREATE TRIGGER %s %s ON %s FOR EACH ROW WHEN (SELECT applier FROM strangler_context) = 0 BEGIN %s END",
			quote(name), when, quote(t.Name), body)}
	}
	all := []trigger{
		build("insert", "AFTER INSERT", refuse+" "+log(newKey)),
		build("update", "AFTER UPDATE", refuse+" "+log(oldKey)+" "+
			fmt.Sprintf("INSERT INTO strangler_log (move, tab, key) SELECT %s, %d, %s WHERE %s IS NOT %s;", literal(db.move), i, newKey, newKey, oldKey)),
		build("delete", "AFTER DELETE", refuse+" "+log(oldKey)),
	}
	if len(unique) == 0 {
		return all
	}
	// REPLACE deletes rows that conflict on another unique key without firing
	// delete triggers. They are logged beforehand; where the statement does not
	// replace after all, the entries are for nothing and do no harm.
	var replaced strings.Builder
	for _, u := range unique {
		conditions := []string{}
		for i, c := range u.columns {
			conditions = append(conditions, fmt.Sprintf("%s = NEW.%s COLLATE %s", quote(c), quote(c), u.collations[i]))
		}
		fmt.Fprintf(&replaced, "INSERT INTO strangler_log (move, tab, key) SELECT %s, %d, %s FROM %s WHERE %s; ",
			literal(db.move), i, jsonKey(t, ""), quote(t.Name), strings.Join(conditions, " AND "))
	}
	return append(all,
		build("replace", "BEFORE INSERT", replaced.String()),
		build("rewrite", "BEFORE UPDATE OF "+uniqueColumns(unique), replaced.String()))
}

func uniqueColumns(unique []unique) string {
	var names []string
	seen := map[string]bool{}
	for _, u := range unique {
		for _, c := range u.columns {
			if !seen[c] {
				seen[c] = true
				names = append(names, quote(c))
			}
		}
	}
	return strings.Join(names, ", ")
}

// jsonKey is the SQL of mapping.EncodeKey.
func jsonKey(t change.Table, prefix string) string {
	return "json_array(" + strings.Join(keyColumns(t, prefix), ", ") + ")"
}

// unique is what makes rows of a table unique: a primary key or an index.
type unique struct {
	index      string // "" for a primary key that has none
	columns    []string
	collations []string
	partial    bool // it holds only some of the rows
	expression bool // not only columns: what they are is not known
}

// otherUnique lists what makes rows unique beside the key. Of a partial index,
// all its columns count: whatever it displaces is among the rows that are equal
// in them.
func (db *DB) otherUnique(ctx context.Context, t change.Table) ([]unique, error) {
	all, err := db.uniques(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	key := make([]string, len(t.Key))
	for i, c := range t.Key {
		key[i] = t.Columns[c]
	}
	var others []unique
	for _, u := range all {
		if !u.expression && !sameSet(u.columns, key) {
			others = append(others, u)
		}
	}
	return others, nil
}

// uniques lists the primary key and every unique index of a table.
func (db *DB) uniques(ctx context.Context, table string) ([]unique, error) {
	var all []unique
	rowid, err := db.strings(ctx, `SELECT name FROM pragma_table_info(?1) WHERE pk > 0
		AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')`, table)
	if err != nil {
		return nil, err
	}
	if len(rowid) > 0 {
		all = append(all, unique{columns: rowid, collations: []string{"BINARY"}})
	}
	names, err := db.strings(ctx, `SELECT name FROM pragma_index_list(?) WHERE "unique" = 1 ORDER BY origin <> 'pk', name`, table)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		u, err := db.uniqueIndex(ctx, table, name)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

func (db *DB) uniqueIndex(ctx context.Context, table, name string) (unique, error) {
	u := unique{index: name}
	rows, err := db.read.QueryContext(ctx, `SELECT coalesce(x.name, ''), x.coll, l.partial FROM pragma_index_xinfo(?2) x, pragma_index_list(?1) l
		WHERE l.name = ?2 AND x.key = 1 ORDER BY x.seqno`, table, name)
	if err != nil {
		return u, err
	}
	defer rows.Close()
	for rows.Next() {
		var column, collation string
		if err := rows.Scan(&column, &collation, &u.partial); err != nil {
			return u, err
		}
		u.columns, u.collations = append(u.columns, column), append(u.collations, collation)
		u.expression = u.expression || column == ""
	}
	return u, rows.Err()
}

// strings runs a query for one column of text.
func (db *DB) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := db.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for _, s := range a {
		if !contains(b, s) {
			return false
		}
	}
	return true
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if strings.EqualFold(have, s) {
			return true
		}
	}
	return false
}

// Unprepare removes everything Prepare installed. The control tables go with
// the last move that uses them.
func (db *DB) Unprepare(ctx context.Context, truncate bool) error {
	return db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		for i := range db.tables {
			if err := db.dropTriggers(ctx, tx, i); err != nil {
				return err
			}
		}
		if truncate {
			for i := len(db.tables) - 1; i >= 0; i-- { // children first
				if _, err := tx.ExecContext(ctx, "DELETE FROM "+quote(db.tables[i].Name)); err != nil {
					return err
				}
			}
		}
		return forget(ctx, tx, db.move)
	})
}

// dropTriggers removes the triggers of one table.
func (db *DB) dropTriggers(ctx context.Context, tx *sql.Tx, table int) error {
	for _, kind := range []string{"insert", "update", "delete", "replace", "rewrite"} {
		if _, err := tx.ExecContext(ctx, "DROP TRIGGER IF EXISTS "+quote(db.triggerName(table, kind))); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) triggerName(table int, kind string) string {
	return fmt.Sprintf("strangler_%s_%d_%s", db.move, table, kind)
}

// forget removes a move from the control tables, and the tables with the last.
func forget(ctx context.Context, tx *sql.Tx, move string) error {
	var exists int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'strangler_move'`).Scan(&exists); err != nil || exists == 0 {
		return err
	}
	for _, table := range controlTables {
		if table == "strangler_context" {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE move = ?", move); err != nil {
			return err
		}
	}
	var left int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM strangler_move").Scan(&left); err != nil || left > 0 {
		return err
	}
	for _, table := range controlTables {
		if _, err := tx.ExecContext(ctx, "DROP TABLE "+table); err != nil {
			return err
		}
	}
	return nil
}

// Retire renames the mapped tables by a suffix; those renamed before are left.
func (db *DB) Retire(ctx context.Context, suffix string) error {
	return db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		for i, t := range db.tables {
			var exists int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?`, t.Name).Scan(&exists); err != nil {
				return err
			}
			if exists == 0 {
				continue
			}
			if err := db.dropTriggers(ctx, tx, i); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s RENAME TO %s", quote(t.Name), quote(t.Name+"_"+suffix))); err != nil {
				return fmt.Errorf("retire %s: %w", t.Name, err)
			}
		}
		return nil
	})
}
