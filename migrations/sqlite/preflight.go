package sqlite

import (
	"context"
	"fmt"
	"strings"

	"stranglerfig/migrations/change"
)

// column is what SQLite says about a column.
type column struct {
	name     string
	declared string
	notNull  bool
	fallback bool // it has a default
	key      bool
	hidden   int // 2 and 3: generated
}

// Preflight looks at the database without changing anything.
func (db *DB) Preflight(ctx context.Context, role change.Role) ([]change.Problem, error) {
	var found []change.Problem
	var journal string
	if err := db.read.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return nil, err
	}
	if journal != "wal" {
		found = append(found, change.Problem{Subject: "journal_mode", Text: "is " + journal + ": readers and the writer block each other, so pauses grow",
			Hint: "PRAGMA journal_mode=WAL"})
	}
	for i, t := range db.tables {
		problems, err := db.preflightTable(ctx, i, t, role)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", t.Name, err)
		}
		found = append(found, problems...)
	}
	return found, nil
}

func (db *DB) preflightTable(ctx context.Context, i int, t change.Table, role change.Role) ([]change.Problem, error) {
	var found []change.Problem
	fatal := func(subject, text, hint string) {
		found = append(found, change.Problem{Fatal: true, Subject: subject, Text: text, Hint: hint})
	}
	kind, err := db.strings(ctx, "SELECT type FROM sqlite_schema WHERE name = ?", t.Name)
	if err != nil {
		return nil, err
	}
	if len(kind) == 0 {
		fatal(t.Name, "there is no such table", "create it with the service's own migrations, or correct the mapping")
		return found, nil
	}
	if kind[0] != "table" {
		fatal(t.Name, "is a "+kind[0]+", not a table", "map the table behind it")
		return found, nil
	}
	columns, err := db.columnsOf(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	found = append(found, checkColumns(t, columns)...)
	keyed, err := db.checkKey(ctx, t, columns)
	if err != nil {
		return nil, err
	}
	found = append(found, keyed...)
	around, err := db.checkSurroundings(ctx, t, role)
	if err != nil {
		return nil, err
	}
	found = append(found, around...)
	if role == change.Following && !hasFatal(found) {
		problem, err := db.checkEmpty(ctx, i, t)
		if err != nil {
			return nil, err
		}
		found = append(found, problem...)
	}
	return found, nil
}

func hasFatal(problems []change.Problem) bool {
	for _, p := range problems {
		if p.Fatal {
			return true
		}
	}
	return false
}

func (db *DB) columnsOf(ctx context.Context, table string) (map[string]column, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT name, upper(type), "notnull", dflt_value IS NOT NULL, pk > 0, hidden FROM pragma_table_xinfo(?)`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]column{}
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.declared, &c.notNull, &c.fallback, &c.key, &c.hidden); err != nil {
			return nil, err
		}
		all[strings.ToLower(c.name)] = c
	}
	return all, rows.Err()
}

// checkColumns: mapped columns exist and may be written, others can be left out.
func checkColumns(t change.Table, columns map[string]column) []change.Problem {
	var found []change.Problem
	mapped := map[string]bool{}
	for _, name := range t.Columns {
		mapped[strings.ToLower(name)] = true
		c, ok := columns[strings.ToLower(name)]
		switch {
		case !ok:
			found = append(found, change.Problem{Fatal: true, Subject: t.Name + "." + name, Text: "there is no such column", Hint: "correct the mapping"})
		case c.hidden > 1:
			found = append(found, change.Problem{Fatal: true, Subject: t.Name + "." + name, Text: "is generated and cannot be written", Hint: "leave it out of the mapping"})
		}
	}
	for _, c := range columns {
		if !mapped[strings.ToLower(c.name)] && c.notNull && !c.fallback && c.hidden < 2 {
			found = append(found, change.Problem{Fatal: true, Subject: t.Name + "." + c.name, Text: "is NOT NULL without a default and not mapped, so rows from the other side could not be stored", Hint: "map it, or give it a default"})
		}
	}
	return found
}

// checkKey: the key identifies a row, and can be logged and ordered.
func (db *DB) checkKey(ctx context.Context, t change.Table, columns map[string]column) ([]change.Problem, error) {
	var found []change.Problem
	key := make([]string, len(t.Key))
	for i, c := range t.Key {
		key[i] = t.Columns[c]
		if col := columns[strings.ToLower(key[i])]; strings.Contains(col.declared, "BLOB") {
			found = append(found, change.Problem{Fatal: true, Subject: t.Name + "." + key[i], Text: "is a BLOB in the key, which cannot be logged", Hint: "use another unique key"})
		}
	}
	uniques, err := db.uniques(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	proven := false
	for _, u := range uniques {
		proven = proven || (!u.partial && !u.expression && sameSet(u.columns, key))
		if u.expression {
			found = append(found, change.Problem{Subject: t.Name, Text: "unique index " + u.index + " is on an expression: a row that INSERT OR REPLACE takes away because of it is not seen",
				Hint: "write with ON CONFLICT DO UPDATE, or verify before every switch"})
		}
	}
	if proven {
		return db.checkNoNulls(ctx, t, key, columns, found)
	}
	return append(found, change.Problem{Fatal: true, Subject: t.Name, Text: fmt.Sprintf("nothing makes the key (%s) unique", strings.Join(key, ", ")),
		Hint: fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s), or name another key", t.Name, strings.Join(key, ", "))}), nil
}

// checkNoNulls: SQLite allows NULL in most keys, but NULL identifies nothing.
func (db *DB) checkNoNulls(ctx context.Context, t change.Table, key []string, columns map[string]column, found []change.Problem) ([]change.Problem, error) {
	for _, name := range key {
		if c, ok := columns[strings.ToLower(name)]; !ok || c.notNull {
			continue
		}
		var null bool
		if err := db.read.QueryRowContext(ctx, fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM %s WHERE %s IS NULL)", quote(t.Name), quote(name))).Scan(&null); err != nil {
			return nil, err
		}
		if null {
			found = append(found, change.Problem{Fatal: true, Subject: t.Name + "." + name, Text: "is NULL in some rows, though it is part of the key", Hint: "give those rows a key of their own, or delete them"})
		}
	}
	return found, nil
}

// checkSurroundings: what else hangs on the table.
func (db *DB) checkSurroundings(ctx context.Context, t change.Table, role change.Role) ([]change.Problem, error) {
	var found []change.Problem
	triggers, err := db.strings(ctx, "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND name NOT LIKE 'strangler\\_%' ESCAPE '\\'", t.Name)
	if err != nil {
		return nil, err
	}
	for _, name := range triggers {
		found = append(found, change.Problem{Fatal: role == change.Following, Subject: t.Name, Text: "trigger " + name + " also fires for rows that the other side sends",
			Hint: "drop it, or give it WHEN (SELECT applier FROM strangler_context) = 0"})
	}
	parents, err := db.strings(ctx, `SELECT DISTINCT "table" FROM pragma_foreign_key_list(?)`, t.Name)
	if err != nil {
		return nil, err
	}
	for _, parent := range parents {
		if !db.maps(parent) {
			found = append(found, change.Problem{Subject: t.Name, Text: "refers to " + parent + ", which does not move with it", Hint: "after the cutover nothing checks that reference"})
		}
	}
	return found, nil
}

func (db *DB) maps(table string) bool {
	for _, t := range db.tables {
		if strings.EqualFold(t.Name, table) {
			return true
		}
	}
	return false
}

// checkEmpty: a table to be filled is empty, unless this move filled it.
func (db *DB) checkEmpty(ctx context.Context, i int, t change.Table) ([]change.Problem, error) {
	if l, err := db.Loaded(ctx, i); err == nil && (l.Rows > 0 || l.Done) {
		return nil, nil
	}
	var rows bool
	if err := db.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+quote(t.Name)+")").Scan(&rows); err != nil {
		return nil, err
	}
	if !rows {
		return nil, nil
	}
	return []change.Problem{{Fatal: true, Subject: t.Name, Text: "is not empty", Hint: "empty it: the copy would mix with what is there"}}, nil
}
