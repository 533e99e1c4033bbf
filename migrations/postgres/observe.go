package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

var _ change.Observer = (*DB)(nil)

// sightings bounds how many writers are noted; what comes after is not.
const sightings = 10_000

// observatory is the schema that holds all of the observation, so that dropping
// it ends it.
func (db *DB) observatory() string { return quote(db.name + "_seen") }

// Observe notes who writes the mapped tables, from now on or no longer.
//
// A writer must not notice: each session is noted once for a table and a kind of
// statement, which it remembers in a setting of its own, so that the trigger
// costs a comparison after that; the note is an insertion that nothing can make
// wait, and any failure of it is swallowed. Our own appliers are not noted.
func (db *DB) Observe(ctx context.Context, on bool) error {
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		var watching bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", db.observatory()+".sighting").Scan(&watching); err != nil || watching == on {
			return err
		}
		if !on {
			return db.blind(ctx, tx)
		}
		statements := []string{
			"CREATE SCHEMA " + db.observatory(),
			fmt.Sprintf(`CREATE TABLE %s.sighting (at timestamptz NOT NULL DEFAULT clock_timestamp(), tab text NOT NULL, operation text NOT NULL,
				role text NOT NULL, application text NOT NULL, client text NOT NULL, statement text NOT NULL)`, db.observatory()),
			fmt.Sprintf(`CREATE FUNCTION %[1]s.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$BEGIN
				PERFORM set_config('strangler.seen', coalesce(current_setting('strangler.seen', true), '') || TG_ARGV[0], false);
				INSERT INTO %[1]s.sighting (tab, operation, role, application, client, statement)
					SELECT TG_ARGV[1], lower(TG_OP), session_user, current_setting('application_name'), coalesce(host(inet_client_addr()), 'local'), left(current_query(), 1000)
					WHERE (SELECT count(*) FROM (SELECT FROM %[1]s.sighting LIMIT %[2]d) AS s) < %[2]d;
				RETURN NULL;
			EXCEPTION WHEN OTHERS THEN RETURN NULL;
			END$$`, db.observatory(), sightings),
		}
		watches, err := db.watches(ctx, tx)
		if err != nil {
			return err
		}
		for _, q := range append(statements, watches...) {
			if _, err := tx.Exec(ctx, q); err != nil {
				return fmt.Errorf("%w\nin: %s", err, q)
			}
		}
		return nil
	})
}

// watches creates a trigger for each kind of statement on every mapped table and
// partition. What a session remembers names the observation, so that the next
// one sees it again.
func (db *DB) watches(ctx context.Context, tx pgx.Tx) ([]string, error) {
	var all []string
	for _, t := range db.tables {
		family, err := members(ctx, tx, t)
		if err != nil {
			return nil, err
		}
		for _, table := range family {
			for _, operation := range []string{"INSERT", "UPDATE", "DELETE", "TRUNCATE"} {
				var token string
				if err := tx.QueryRow(ctx, "SELECT '/' || left(md5(gen_random_uuid()::text), 12)").Scan(&token); err != nil {
					return nil, err
				}
				all = append(all, fmt.Sprintf(`CREATE TRIGGER %s AFTER %s ON %s FOR EACH STATEMENT
					WHEN (current_setting('strangler.applier', true) IS DISTINCT FROM 'on' AND position(%s in coalesce(current_setting('strangler.seen', true), '')) = 0)
					EXECUTE FUNCTION %s.note(%s, %s)`, quote(db.name+"_"+strings.ToLower(operation)), operation, table, literal(token), db.observatory(), literal(token), literal(t.Name)))
			}
		}
	}
	return all, nil
}

// blind ends the observation and forgets what it saw.
func (db *DB) blind(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf("DROP SCHEMA IF EXISTS %s CASCADE", db.observatory()))
	return err
}

// Sightings lists who was seen, those seen last first.
func (db *DB) Sightings(ctx context.Context) ([]change.Sighting, error) {
	rows, err := db.pool.Query(ctx, fmt.Sprintf(`SELECT tab, operation, role, application, client, (array_agg(statement ORDER BY at DESC))[1], min(at), max(at), count(*)
		FROM %s.sighting GROUP BY 1, 2, 3, 4, 5 ORDER BY max(at) DESC, 1, 2, 3, 4, 5`, db.observatory()))
	if code(err) == undefinedTable || code(err) == undefinedSchema {
		return nil, change.ErrNotObserved
	}
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s change.Sighting, err error) {
		err = row.Scan(&s.Table, &s.Operation, &s.Role, &s.Application, &s.Client, &s.Statement, &s.First, &s.Last, &s.Sessions)
		return s, err
	})
}
