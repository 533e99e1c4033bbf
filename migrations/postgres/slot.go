package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"stranglerfig/migrations/change"
)

// bear records where the slot's log begins and in whose history: the system and
// the timeline. Nothing before that will be asked for.
func (db *DB) bear(ctx context.Context) error {
	conn, err := db.replicationConn(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	history, err := historyOf(ctx, conn)
	if err != nil {
		return err
	}
	_, err = db.pool.Exec(ctx, `UPDATE strangler.move SET born = at, history = $3
		FROM (SELECT confirmed_flush_lsn - '0/0' AS at FROM pg_replication_slots WHERE slot_name = $2) AS slot WHERE id = $1`, db.id, db.name, history)
	return explain(err)
}

// historyOf names the history that a server's log belongs to. A standby that was
// promoted, and a server that was restored, go on with a timeline of their own,
// in which positions of the old one may mean something else.
func historyOf(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	results, err := conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return "", fmt.Errorf("identify the server: %w", err)
	}
	row := results[0].Rows[0]
	return string(row[0]) + "/" + string(row[1]), nil
}

// continuous makes sure that the log is still the one in which the slot was
// created. Even a slot that came along with a failover is not trusted: it may
// lag behind what was applied, or be ahead of it.
func (db *DB) continuous(ctx context.Context, conn *pgconn.PgConn) error {
	now, err := historyOf(ctx, conn)
	if err != nil {
		return err
	}
	var then *string
	if err := db.pool.QueryRow(ctx, "SELECT history FROM strangler.move WHERE id = $1", db.id).Scan(&then); err != nil {
		return unprepared(err)
	}
	if then != nil && *then != now {
		return fmt.Errorf("the server was failed over or restored (system and timeline were %s and are %s): %w", *then, now, change.ErrForgotten)
	}
	return nil
}

// Retained returns how much log the slot keeps.
func (db *DB) Retained(ctx context.Context) (int64, error) {
	var bytes int64
	err := db.pool.QueryRow(ctx, `SELECT coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint
		FROM pg_replication_slots WHERE slot_name = $1`, db.name).Scan(&bytes)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil // no slot, no log
	}
	return bytes, err
}

// Release drops the slot. What it kept may be recycled at the next checkpoint.
func (db *DB) Release(ctx context.Context) error {
	db.feed.close()
	db.cuts.close()
	return db.dropSlot(ctx)
}

// Recut replaces the slot by a new one.
func (db *DB) Recut(ctx context.Context) (change.Position, error) {
	if err := db.Release(ctx); err != nil {
		return 0, err
	}
	db.layouts.forget()
	db.feed.forgive()
	if _, err := db.pool.Exec(ctx, "UPDATE strangler.move SET born = NULL, acked = 0 WHERE id = $1", db.id); err != nil {
		return 0, explain(err)
	}
	if err := db.relearn(ctx); err != nil {
		return 0, fmt.Errorf("look at the partitions: %w", err)
	}
	if err := db.prepareSlot(ctx); err != nil {
		return 0, err
	}
	// Whoever still asks for an older position has missed something.
	var born int64
	err := db.pool.QueryRow(ctx, "UPDATE strangler.move SET acked = born WHERE id = $1 RETURNING born", db.id).Scan(&born)
	return change.Position(born), unprepared(err)
}

// Restart moves a stream to where a log began anew.
func (db *DB) Restart(ctx context.Context, stream string, at change.Position) error {
	done, err := db.pool.Exec(ctx, `INSERT INTO strangler.stream (id, stream, position, marker, runner)
		SELECT id, $2, $3, '', '' FROM strangler.move WHERE id = $1
		ON CONFLICT (id, stream) DO UPDATE SET position = excluded.position, marker = '', runner = ''`, db.id, stream, bounded(at))
	if err == nil && done.RowsAffected() == 0 {
		return change.ErrNotPrepared
	}
	return explain(err)
}
