package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

// Preflight looks at the database without changing anything.
func (db *DB) Preflight(ctx context.Context, role change.Role) ([]change.Problem, error) {
	found, err := db.checkServer(ctx)
	if err != nil {
		return nil, err
	}
	for i, t := range db.tables {
		problems, err := db.checkTable(ctx, i, t, role)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", t.Name, err)
		}
		found = append(found, problems...)
	}
	return found, nil
}

func fatal(subject, text, hint string) change.Problem {
	return change.Problem{Fatal: true, Subject: subject, Text: text, Hint: hint}
}

func warning(subject, text, hint string) change.Problem {
	return change.Problem{Subject: subject, Text: text, Hint: hint}
}

func (db *DB) checkTable(ctx context.Context, i int, t change.Table, role change.Role) ([]change.Problem, error) {
	var oid uint32
	var kind string
	var owned bool
	err := db.pool.QueryRow(ctx, `SELECT coalesce(max(oid::bigint), 0), coalesce(max(CASE WHEN relpersistence = 'p' THEN relkind::text ELSE relpersistence::text END), ''),
		coalesce(bool_and(pg_has_role(relowner, 'USAGE')), false) FROM pg_class WHERE oid = to_regclass($1)`, relation(t.Name)).Scan(&oid, &kind, &owned)
	switch {
	case err != nil:
		return nil, err
	case oid == 0:
		return []change.Problem{fatal(t.Name, "there is no such table", "create it with the service's own migrations, or correct the mapping")}, nil
	case kind == "u" || kind == "t":
		return []change.Problem{fatal(t.Name, "is unlogged or temporary, so its changes cannot be followed", "ALTER TABLE "+relation(t.Name)+" SET LOGGED")}, nil
	case kind == "f":
		return []change.Problem{fatal(t.Name, "is a foreign table, so its changes cannot be followed", "move it from the server where its rows are")}, nil
	case kind != "r" && kind != "p":
		return []change.Problem{fatal(t.Name, "is not a table", "map the table behind it")}, nil
	}
	found, err := db.checkRelatives(ctx, t)
	if err != nil || len(found) > 0 {
		return found, err
	}
	if !owned {
		found = append(found, fatal(t.Name, "belongs to another role, so it can be neither published nor fenced", "ALTER TABLE "+relation(t.Name)+" OWNER TO the role that moves it, or make that role a member of the owner"))
	}
	for _, check := range []func() ([]change.Problem, error){
		func() ([]change.Problem, error) { return db.checkRows(ctx, t) },
		func() ([]change.Problem, error) { return db.checkColumns(ctx, t, oid) },
		func() ([]change.Problem, error) { return db.checkKey(ctx, t, oid) },
		func() ([]change.Problem, error) { return db.checkIdentity(ctx, t) },
		func() ([]change.Problem, error) { return db.checkTriggers(ctx, t, role) },
		func() ([]change.Problem, error) { return db.checkReferences(ctx, t) },
		func() ([]change.Problem, error) { return db.checkSequences(ctx, t) },
	} {
		problems, err := check()
		if err != nil {
			return nil, err
		}
		found = append(found, problems...)
	}
	if role == change.Following && !slices.ContainsFunc(found, func(p change.Problem) bool { return p.Fatal }) {
		problems, err := db.checkEmpty(ctx, i, t)
		return append(found, problems...), err
	}
	return found, nil
}

// checkRelatives: the table and its partitions are all there is of it.
func (db *DB) checkRelatives(ctx context.Context, t change.Table) ([]change.Problem, error) {
	texts, err := texts(ctx, db.pool, `SELECT CASE WHEN inhparent <> to_regclass($1) AND relispartition THEN 'is a partition of ' || inhparent::regclass
			WHEN inhparent <> to_regclass($1) THEN 'inherits from ' || inhparent::regclass
			ELSE 'is inherited by ' || inhrelid::regclass END
		FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
		WHERE inhrelid = to_regclass($1) OR (inhparent = to_regclass($1) AND NOT relispartition)
		UNION ALL SELECT 'has the partition ' || c.oid::regclass || ', which is ' || CASE WHEN relkind = 'f' THEN 'a foreign table' ELSE 'unlogged' END
		FROM pg_partition_tree(to_regclass($1)) JOIN pg_class c ON c.oid = relid
		WHERE c.oid <> to_regclass($1) AND (relkind NOT IN ('r', 'p') OR relpersistence <> 'p') ORDER BY 1`, relation(t.Name))
	var found []change.Problem
	for _, text := range texts {
		hint := "take the inheritance away (ALTER TABLE … NO INHERIT …), or move it as partitions"
		if strings.Contains(text, "partition") {
			hint = "map the partitioned table, all of whose partitions are plain tables"
		}
		found = append(found, fatal(t.Name, text, hint))
	}
	return found, err
}

// checkRows: every row is seen, and what is written is what was said.
func (db *DB) checkRows(ctx context.Context, t change.Table) ([]change.Problem, error) {
	var found []change.Problem
	var filtered bool
	if err := db.pool.QueryRow(ctx, "SELECT row_security_active(to_regclass($1))", relation(t.Name)).Scan(&filtered); err != nil {
		return nil, err
	}
	if filtered {
		found = append(found, fatal(t.Name, "shows the role that moves it only the rows that its policies allow, so that too little would be copied",
			"ALTER ROLE … BYPASSRLS, or ALTER TABLE "+relation(t.Name)+" NO FORCE ROW LEVEL SECURITY where the role owns it"))
	}
	rules, err := texts(ctx, db.pool, "SELECT rulename::text FROM pg_rewrite WHERE ev_class = to_regclass($1) AND ev_type <> '1' ORDER BY 1", relation(t.Name))
	for _, rule := range rules {
		found = append(found, fatal(t.Name, "rule "+rule+" rewrites what is written to it", "drop it, or make it a trigger"))
	}
	return found, err
}

// checkColumns: mapped columns exist, are of types that can be moved, and may be
// written; others can be left out.
func (db *DB) checkColumns(ctx context.Context, t change.Table, oid uint32) ([]change.Problem, error) {
	columns, err := readColumns(ctx, db.pool, oid)
	if err != nil {
		return nil, err
	}
	var found []change.Problem
	for i, name := range t.Columns {
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		if at < 0 {
			found = append(found, fatal(t.Name+"."+name, "there is no such column", "correct the mapping"))
			continue
		}
		found = append(found, checkColumn(t, columns[at], slices.Contains(t.Key, i))...)
	}
	for _, c := range columns {
		if !slices.Contains(t.Columns, c.name) && c.notNull && !c.fallback && !c.generated {
			found = append(found, fatal(t.Name+"."+c.name, "is NOT NULL without a default and not mapped, so rows from the other side could not be stored", "map it, or give it a default"))
		}
	}
	return found, nil
}

func checkColumn(t change.Table, c column, key bool) []change.Problem {
	subject := t.Name + "." + c.name
	var found []change.Problem
	switch c.strange {
	case "":
	case c.cast:
		found = append(found, fatal(subject, "is of type "+c.cast+", which cannot be moved", unmovable(c.strange)))
	default:
		found = append(found, fatal(subject, "is of type "+c.cast+", which is made of "+c.strange+" and cannot be moved", unmovable(c.strange)))
	}
	if key && c.nested {
		found = append(found, fatal(subject, "is part of the key but of type "+c.cast+", by which rows are not looked up", "name another key"))
	}
	if c.cast == "jsonb" {
		found = append(found, warning(subject, "is jsonb, which is stored in a spelling of its own: verification finds differences unless the other side is jsonb too", "use json, or map it to jsonb"))
	}
	if c.generated {
		found = append(found, fatal(subject, "is generated and cannot be written", "leave it out of the mapping"))
	}
	if c.always && !key {
		found = append(found, fatal(subject, "is GENERATED ALWAYS AS IDENTITY outside the key, so it cannot be updated", "SET GENERATED BY DEFAULT, or leave it out of the mapping"))
	}
	if key && !c.notNull {
		found = append(found, fatal(subject, "is part of the key but may be NULL", "SET NOT NULL, or name another key"))
	}
	return found
}

// unmovable says what to do with a column of a type that cannot be moved.
func unmovable(name string) string {
	switch name {
	case "money":
		return "what it means depends on the setting lc_monetary: change its type to numeric, or leave it out of the mapping"
	case "oid":
		return "it names an object of this database alone: move large objects as bytea, make a plain number a bigint, or leave it out of the mapping"
	}
	return "it means something in this database alone: leave it out of the mapping, or change its type"
}

// checkKey: the key identifies a row.
func (db *DB) checkKey(ctx context.Context, t change.Table, oid uint32) ([]change.Problem, error) {
	indexes, err := readUnique(ctx, db.pool, oid)
	if err != nil {
		return nil, err
	}
	names := keyColumns(t)
	var found []change.Problem
	proven := false
	for _, x := range indexes {
		proven = proven || (x.plain() && sameSet(x.columns, names))
		if !x.plain() || !isSubset(x.columns, t.Columns) {
			found = append(found, warning(t.Name, "unique index "+x.name+" is not only on mapped columns of every row: where two rows exchange a value of it, the stream stops",
				"verify before every switch, or drop it for the move"))
		}
	}
	if !proven {
		list := strings.Join(names, ", ")
		twice, err := db.duplicate(ctx, t)
		if err != nil {
			return nil, err
		}
		found = append(found, fatal(t.Name, fmt.Sprintf("nothing makes the key (%s) unique%s", list, twice), fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s), or name another key", relation(t.Name), strings.Join(keyNames(t, ""), ", "))))
	}
	return found, nil
}

// duplicateWait bounds the search for a key that is there twice.
const duplicateWait = 5 * time.Second

// duplicate names a key that several rows have, if one is found in time.
func (db *DB) duplicate(ctx context.Context, t change.Table) (string, error) {
	key := strings.Join(keyNames(t, ""), ", ")
	var found string
	var rows int64
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d", duplicateWait.Milliseconds())); err != nil {
			return err
		}
		return tx.QueryRow(ctx, fmt.Sprintf("SELECT concat_ws(', ', %[1]s), count(*) FROM %[2]s GROUP BY %[1]s HAVING count(*) > 1 LIMIT 1", key, relation(t.Name))).Scan(&found, &rows)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	case unfit(code(err)): // there are no such columns, which is said elsewhere
		return "", nil
	case code(err) == queryCanceled:
		return fmt.Sprintf("; whether it is could not be found out in %s", duplicateWait), nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf(", and %d rows have the key %s", rows, found), nil
}

func keyColumns(t change.Table) []string {
	return pick(t.Columns, t.Key)
}

func isSubset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// checkIdentity: the log names the key of each row that is updated or deleted,
// in the table and in each of its partitions.
func (db *DB) checkIdentity(ctx context.Context, t change.Table) ([]change.Problem, error) {
	rows, err := db.pool.Query(ctx, "SELECT oid, oid::regclass::text, relreplident::text FROM pg_class WHERE oid IN ("+family+") ORDER BY 2", relation(t.Name))
	if err != nil {
		return nil, err
	}
	type member struct {
		oid            uint32
		name, identity string
	}
	var all []member
	for rows.Next() {
		var m member
		if err := rows.Scan(&m.oid, &m.name, &m.identity); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, m := range all {
		indexes, err := readUnique(ctx, db.pool, m.oid)
		if err != nil {
			return nil, err
		}
		if !identifies(m.identity, indexes, keyColumns(t)) {
			return []change.Problem{fatal(t.Name, fmt.Sprintf("the log does not name the key (%s) of rows that are updated or deleted in %s", strings.Join(keyColumns(t), ", "), m.name),
				"ALTER TABLE "+m.name+" REPLICA IDENTITY USING INDEX the key's unique index, or name the primary key as the key")}, nil
		}
	}
	return nil, nil
}

// identifies reports whether a replica identity (f full, d the primary key, i
// an index, n nothing) has every column of a key.
func identifies(identity string, indexes []index, key []string) bool {
	if identity == "f" {
		return true
	}
	for _, x := range indexes {
		if (identity == "d" && x.primary) || (identity == "i" && x.identity) {
			return isSubset(key, x.columns)
		}
	}
	return false
}

// checkTriggers: rows from the other side have been through its triggers
// already.
func (db *DB) checkTriggers(ctx context.Context, t change.Table, role change.Role) ([]change.Problem, error) {
	names, err := texts(ctx, db.pool, `SELECT tgname::text FROM pg_trigger WHERE tgrelid IN (`+family+`) AND NOT tgisinternal
		AND tgname NOT LIKE 'strangler\_%' AND (tgenabled IN ('A', 'R') OR (tgenabled = 'O' AND NOT $2)) ORDER BY 1`, relation(t.Name), db.replica)
	var found []change.Problem
	for _, name := range names {
		found = append(found, change.Problem{Fatal: role == change.Following, Subject: t.Name, Text: "trigger " + name + " also fires for rows that the other side sends",
			Hint: "drop it, or ENABLE it plainly and GRANT SET ON PARAMETER session_replication_role to the role that moves"})
	}
	return found, err
}

// checkReferences: what foreign keys check across the boundary, and whether the
// applier can do without them.
func (db *DB) checkReferences(ctx context.Context, t change.Table) ([]change.Problem, error) {
	rows, err := db.pool.Query(ctx, `SELECT conrelid = to_regclass($1), CASE WHEN conrelid = to_regclass($1) THEN confrelid ELSE conrelid END::bigint,
		(CASE WHEN conrelid = to_regclass($1) THEN confrelid ELSE conrelid END)::regclass::text
		FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND (conrelid = to_regclass($1) OR confrelid = to_regclass($1)) ORDER BY 1, 3`, relation(t.Name))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	mapped, err := db.oids(ctx)
	if err != nil {
		return nil, err
	}
	var found []change.Problem
	for rows.Next() {
		var refers bool
		var oid int64
		var other string
		if err := rows.Scan(&refers, &oid, &other); err != nil {
			return nil, err
		}
		if !db.replica {
			found = append(found, fatal(t.Name, "shares a foreign key with "+other+", which stands in the way of rows that come in the order of the log",
				"GRANT SET ON PARAMETER session_replication_role to the role that moves (PostgreSQL 15), or move as a superuser"))
		}
		switch {
		case slices.Contains(mapped, oid):
		case refers:
			found = append(found, warning(t.Name, "refers to "+other+", which does not move with it", "after the cutover nothing checks that reference"))
		default:
			found = append(found, warning(t.Name, "is referred to by "+other+", which does not move with it", "after the cutover nothing checks that reference, and nothing cascades"))
		}
	}
	return found, rows.Err()
}

// nearlyExhausted is the share of its numbers that a sequence may have given out
// before preflight speaks of it.
const nearlyExhausted = 0.9

// checkSequences: what gives out keys has some left, and the column can hold
// them.
func (db *DB) checkSequences(ctx context.Context, t change.Table) ([]change.Problem, error) {
	sequences, err := sequencesOf(ctx, db.pool, t)
	if err != nil {
		return nil, err
	}
	var found []change.Problem
	for _, g := range sequences {
		sequence := g.Sequence
		var given, last int64
		err := db.pool.QueryRow(ctx, fmt.Sprintf(`SELECT CASE WHEN is_called AND seqincrement > 0 AND NOT seqcycle THEN last_value ELSE 0 END, seqmax
			FROM %s, pg_sequence WHERE seqrelid = $1::regclass`, sequence), sequence).Scan(&given, &last)
		if err != nil {
			return nil, err
		}
		if float64(given) > nearlyExhausted*float64(last) {
			found = append(found, warning(t.Name, fmt.Sprintf("sequence %s has given out %d of %d numbers", sequence, given, last), "make the key a bigint and ALTER SEQUENCE … AS bigint before the move"))
		}
	}
	return found, nil
}

// oids returns those of the mapped tables that exist.
func (db *DB) oids(ctx context.Context) ([]int64, error) {
	var all []int64
	for _, t := range db.tables {
		var oid int64
		if err := db.pool.QueryRow(ctx, "SELECT coalesce(to_regclass($1)::oid::bigint, 0)", relation(t.Name)).Scan(&oid); err != nil {
			return nil, err
		}
		all = append(all, oid)
	}
	return all, nil
}

// checkEmpty: a table to be filled is empty, unless this move filled it.
func (db *DB) checkEmpty(ctx context.Context, i int, t change.Table) ([]change.Problem, error) {
	if l, err := db.Loaded(ctx, i); err == nil && (l.Rows > 0 || l.Done) {
		return nil, nil
	}
	var rows bool
	if err := db.pool.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+relation(t.Name)+")").Scan(&rows); err != nil || !rows {
		return nil, err
	}
	return []change.Problem{fatal(t.Name, "is not empty", "empty it: the copy would mix with what is there")}, nil
}
