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

// control creates the control tables and the fence's function. They are not
// versioned by golang-migrate: they live in somebody else's database for the
// length of a move, must appear in one transaction beside live writers, and
// must never be found "dirty".
var control = []string{
	`CREATE SCHEMA IF NOT EXISTS strangler`,
	`CREATE TABLE IF NOT EXISTS strangler.move (
		id text PRIMARY KEY, epoch bigint NOT NULL, attempt bigint NOT NULL, fenced boolean NOT NULL,
		acked bigint NOT NULL, born bigint, history text)`,
	`CREATE TABLE IF NOT EXISTS strangler.stream (
		id text NOT NULL, stream text NOT NULL, position bigint NOT NULL, marker text NOT NULL,
		runner text NOT NULL, PRIMARY KEY (id, stream))`,
	`CREATE TABLE IF NOT EXISTS strangler.chunk (
		id text NOT NULL, tab int NOT NULL, last text NOT NULL, rows bigint NOT NULL, at bigint NOT NULL,
		done boolean NOT NULL, PRIMARY KEY (id, tab))`,
	`CREATE TABLE IF NOT EXISTS strangler.part (
		id text NOT NULL, tab int NOT NULL, no int NOT NULL, up_to text NOT NULL, last text NOT NULL,
		rows bigint NOT NULL, at bigint, done boolean NOT NULL, PRIMARY KEY (id, tab, no))`,
	`CREATE TABLE IF NOT EXISTS strangler.aside (
		id text NOT NULL, no int NOT NULL, tab text NOT NULL, definition text NOT NULL, PRIMARY KEY (id, no))`,
	`CREATE TABLE IF NOT EXISTS strangler.member (
		id text NOT NULL, tab int NOT NULL, oid bigint NOT NULL, name text NOT NULL, attached text NOT NULL, PRIMARY KEY (id, oid))`,
	`CREATE OR REPLACE FUNCTION strangler.emptied() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		PERFORM pg_catalog.pg_logical_emit_message(true, '` + emptiedPrefix + `', TG_ARGV[0] || chr(10) || TG_TABLE_NAME);
		RETURN NULL;
	END$$`,
	`CREATE OR REPLACE FUNCTION strangler.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		RAISE EXCEPTION 'strangler: table % is fenced: % is owned by the other side', TG_TABLE_NAME, TG_ARGV[0]
		USING ERRCODE = 'read_only_sql_transaction';
	END$$`,
}

// controlTables in the order in which they may be dropped.
var controlTables = []string{"strangler.chunk", "strangler.part", "strangler.aside", "strangler.member", "strangler.stream", "strangler.move"}

// alone makes moves in one database install and remove one after the other.
const alone = "SELECT pg_advisory_xact_lock(hashtext('strangler'))"

// Prepare installs control tables, publication and fence in one transaction,
// and then the slot, which cannot be created in one that writes. It keeps an
// ownership that exists, so that repeating it changes nothing.
func (db *DB) Prepare(ctx context.Context, role change.Role) error {
	if err := db.identified(ctx); err != nil {
		return err
	}
	err := db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, alone); err != nil {
			return err
		}
		if err := db.lockMapped(ctx, tx, keepsWritersOut); err != nil {
			return err
		}
		statements, err := db.installation(ctx, tx, role)
		if err != nil {
			return err
		}
		for _, q := range statements {
			if _, err := tx.Exec(ctx, q); err != nil {
				return fmt.Errorf("%w\nin: %s", err, q)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare %s: %w", db.id, err)
	}
	return db.prepareSlot(ctx)
}

// identified refuses tables that cannot be published: without a replica
// identity the application's own updates would fail from then on.
func (db *DB) identified(ctx context.Context) error {
	for _, t := range db.tables {
		problems, err := db.checkIdentity(ctx, t)
		if err != nil {
			return err
		}
		if len(problems) > 0 {
			return fmt.Errorf("prepare %s: %s: %s", db.id, problems[0], problems[0].Hint)
		}
	}
	return nil
}

// PrepareStatements returns what Prepare runs, and for a side that is to be
// filled, as comments, what the copy sets aside for as long as it takes.
func (db *DB) PrepareStatements(ctx context.Context, role change.Role) ([]string, error) {
	statements, err := db.installation(ctx, db.pool, role)
	if err != nil {
		return nil, err
	}
	exists, err := db.slotExists(ctx)
	if !exists {
		statements = append(statements, strings.Replace(createSlot, "$1", literal(db.name), 1))
	}
	if err != nil || role != change.Following {
		return statements, err
	}
	for _, t := range db.tables {
		found, err := db.dispensable(ctx, db.pool, t)
		if err != nil {
			return nil, err
		}
		for _, a := range found {
			statements = append(statements, "-- before the copy: "+a.Drop, "-- after it:        "+a.Create)
		}
	}
	return statements, nil
}

// installation lists what is missing.
func (db *DB) installation(ctx context.Context, q querier, role change.Role) ([]string, error) {
	epoch, fenced := 1, false
	if role == change.Following {
		epoch, fenced = 0, true
	}
	if o, err := db.ownership(ctx, q); err == nil {
		fenced = o.Fenced
	} else if !errors.Is(err, change.ErrNotPrepared) {
		return nil, err
	}
	statements := slices.Concat(control, []string{fmt.Sprintf(
		"INSERT INTO strangler.move (id, epoch, attempt, fenced, acked) VALUES (%s, %d, 0, %t, 0) ON CONFLICT DO NOTHING", literal(db.id), epoch, fenced)})
	fence, err := db.missingTriggers(ctx, q, fenced)
	if err != nil {
		return nil, err
	}
	statements = append(statements, fence...)
	partitions, err := texts(ctx, q, "SELECT name FROM ("+leavesOf("$1::text[]")+") AS l", db.relations())
	if err != nil {
		return nil, err
	}
	if len(partitions) > 0 {
		statements = append(statements, db.rememberLeaves())
	}
	published, err := texts(ctx, q, "SELECT pubname FROM pg_publication WHERE pubname = $1", db.name)
	if err != nil || len(published) > 0 {
		return statements, err
	}
	return append(statements, fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s WITH (publish_via_partition_root = true)",
		quote(db.name), strings.Join(db.relations(), ", "))), nil
}

// missingTriggers creates the fence's trigger on every table and partition that
// does not have it yet, and on partitions their other one.
func (db *DB) missingTriggers(ctx context.Context, q querier, fenced bool) ([]string, error) {
	have, err := db.withTrigger(ctx, q, "")
	if err != nil {
		return nil, err
	}
	var statements []string
	for _, t := range db.tables {
		family, err := members(ctx, q, t)
		if err != nil {
			return nil, err
		}
		for _, name := range family {
			if slices.Contains(have, name) {
				continue
			}
			statements = append(statements, db.createTrigger(name))
			if !fenced {
				statements = append(statements, db.switchTrigger(name, false))
			}
		}
	}
	emptied, err := db.missingEmptied(ctx, q)
	return append(statements, emptied...), err
}

// createTrigger refuses whole statements, which costs nothing per row. Appliers
// pass by a setting of theirs, even where they may not switch triggers off.
func (db *DB) createTrigger(table string) string {
	return fmt.Sprintf(`CREATE TRIGGER %s BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT
		WHEN (current_setting('strangler.applier', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION strangler.refuse(%s)`,
		quote(db.name), table, literal(db.move))
}

// switchTrigger enables or disables the fence on one table.
func (db *DB) switchTrigger(table string, on bool) string {
	verb := "DISABLE"
	if on {
		verb = "ENABLE"
	}
	return fmt.Sprintf("ALTER TABLE ONLY %s %s TRIGGER %s", table, verb, quote(db.name))
}

// patiently runs a transaction that locks the application's tables, until it
// gets all its locks or the wait is over. Each attempt gives up well before the
// server looks for deadlocks, so that a writer who takes the same tables in
// another order is never the one to be turned away.
//
// Looking for deadlocks is also when the server sends an automatic VACUUM away, which
// an attempt is too short for. So that is waited for between two of them, by a lock
// that is in no writer's way.
func (db *DB) patiently(ctx context.Context, wait time.Duration, f func(tx pgx.Tx) error) error {
	deadline := time.Now().Add(wait)
	untilCheck, err := db.untilCheck(ctx)
	if err != nil {
		return err
	}
	for {
		err := db.locking(ctx, min(untilCheck/2, time.Until(deadline)), f)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			if names := db.holders(ctx); names != "" {
				return fmt.Errorf("%w%s: %w", change.ErrFenceTimeout, names, err)
			}
		}
		if code(err) != lockTimeout || ctx.Err() != nil {
			return err
		}
		if time.Until(deadline) < time.Millisecond {
			return fmt.Errorf("%w%s: %w", change.ErrFenceTimeout, db.holders(ctx), err)
		}
		if db.maintained(ctx) {
			if _, err := db.interruptMaintenance(ctx, deadline); err != nil {
				return err
			}
		}
	}
}

// holders names who keeps the mapped tables from being locked: at most three of
// them, as far as our role may know. It is asked when the time is over, so it
// takes a moment of its own.
func (db *DB) holders(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	found, err := texts(ctx, db.pool, `SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE
			concat_ws(', ', 'process ' || l.pid, 'user ' || usename, 'application ' || nullif(application_name, ''), state || ': ' || left(regexp_replace(query, '\s+', ' ', 'g'), 100)) END
		FROM (SELECT DISTINCT pid FROM pg_locks WHERE granted AND mode NOT IN ('AccessShareLock', 'RowShareLock') AND pid IS DISTINCT FROM pg_backend_pid()
			AND relation IN (`+withPartitions+`)) AS l
		LEFT JOIN pg_stat_activity a ON a.pid = l.pid ORDER BY xact_start LIMIT 3`, db.relations())
	if err != nil || len(found) == 0 {
		return ""
	}
	return " (they are held by " + strings.Join(found, "; ") + ")"
}

// locking runs a transaction that waits for each lock at most as long as bound.
func (db *DB) locking(ctx context.Context, bound time.Duration, f func(tx pgx.Tx) error) error {
	return transact(ctx, db.applier, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true)",
			milliseconds(max(time.Millisecond, bound)), milliseconds(lockedIdle))
		if err != nil {
			return err
		}
		return f(tx)
	})
}

// Unprepare removes everything Prepare installed. The control tables go with
// the last move that uses them.
func (db *DB) Unprepare(ctx context.Context, truncate bool) error {
	db.feed.close()
	db.cuts.close()
	db.layouts.forget()
	if err := db.dropSlot(ctx); err != nil {
		return err
	}
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, alone); err != nil {
			return err
		}
		fenced, err := db.withTrigger(ctx, tx, "")
		if err != nil {
			return err
		}
		watched, err := db.withEmptied(ctx, tx)
		if err != nil {
			return err
		}
		if err := db.lockTables(ctx, tx, keepsEveryoneOut, fenced); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DROP PUBLICATION IF EXISTS "+quote(db.name)); err != nil {
			return err
		}
		for _, table := range fenced {
			if _, err := tx.Exec(ctx, fmt.Sprintf("DROP TRIGGER %s ON %s", quote(db.name), table)); err != nil {
				return err
			}
		}
		for _, table := range watched {
			if _, err := tx.Exec(ctx, fmt.Sprintf("DROP TRIGGER %s ON %s", quote(db.emptied()), table)); err != nil {
				return err
			}
		}
		if err := db.blind(ctx, tx); err != nil {
			return err
		}
		if truncate {
			if err := db.empty(ctx, tx); err != nil {
				return err
			}
		}
		return db.forget(ctx, tx)
	})
}

// empty truncates the mapped tables, or deletes their rows where another table
// refers to them.
func (db *DB) empty(ctx context.Context, tx pgx.Tx) error {
	names := db.relations()
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "TRUNCATE "+strings.Join(names, ", "))
		return err
	})
	if code(err) != notSupported {
		return err
	}
	for _, name := range slices.Backward(names) { // children first
		if _, err := tx.Exec(ctx, "DELETE FROM "+name); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the move from the control tables, and the schema with the last
// move.
func (db *DB) forget(ctx context.Context, tx pgx.Tx) error {
	var exists bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('strangler.move') IS NOT NULL").Scan(&exists); err != nil || !exists {
		return err
	}
	if err := db.buildAside(ctx, tx); err != nil {
		return err
	}
	for _, table := range controlTables {
		if _, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE id = $1", table), db.id); err != nil {
			return err
		}
	}
	var left bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM strangler.move)").Scan(&left); err != nil || left {
		return err
	}
	for _, q := range []string{"DROP TABLE " + strings.Join(controlTables, ", "), "DROP FUNCTION strangler.refuse()", "DROP FUNCTION strangler.emptied()", "DROP SCHEMA strangler"} {
		if _, err := tx.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// Retire renames the mapped tables by a suffix; those renamed before are left.
// A fence stays on them until Unprepare.
func (db *DB) Retire(ctx context.Context, suffix string) error {
	db.layouts.forget()
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		left, err := db.withTrigger(ctx, tx, "")
		if err != nil {
			return err
		}
		if err := db.lockTables(ctx, tx, keepsEveryoneOut, left); err != nil {
			return err
		}
		for _, t := range db.tables {
			parts := nameParts(t.Name)
			query := fmt.Sprintf("ALTER TABLE IF EXISTS %s RENAME TO %s", relation(t.Name), quote(parts[len(parts)-1]+"_"+suffix))
			if _, err := tx.Exec(ctx, query); err != nil {
				return fmt.Errorf("retire %s: %w", t.Name, err)
			}
		}
		return nil
	})
}
