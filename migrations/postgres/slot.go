package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"stranglerfig/migrations/change"
)

const createSlot = "SELECT lsn - '0/0' FROM pg_create_logical_replication_slot($1, 'pgoutput')"

// prepareSlot creates the slot, or makes sure that it is still the one that was
// created: a new one in its place would silently lack what the old one had.
func (db *DB) prepareSlot(ctx context.Context) error {
	var born *int64
	if err := db.pool.QueryRow(ctx, "SELECT born FROM strangler.move WHERE id = $1", db.id).Scan(&born); err != nil {
		return unprepared(err)
	}
	exists, err := db.slotExists(ctx)
	switch {
	case err != nil:
		return err
	case exists && born != nil:
		return nil
	case born != nil:
		return fmt.Errorf("prepare %s: %w", db.id, errLost)
	case !exists:
		if err := db.createSlot(ctx); err != nil {
			return err
		}
	}
	return db.bear(ctx)
}

// createSlot waits for the transactions that are open now.
func (db *DB) createSlot(ctx context.Context) error {
	err := transact(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", lockWait.Milliseconds())); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, createSlot, db.name)
		return err
	})
	if code(err) == lockTimeout {
		return fmt.Errorf("transactions that were open did not end within %s: end them, then prepare again: %w", lockWait, err)
	}
	if err != nil {
		return fmt.Errorf("create replication slot %s: %w", db.name, err)
	}
	return nil
}

func (db *DB) slotExists(ctx context.Context) (bool, error) {
	found, err := texts(ctx, db.pool, "SELECT slot_name::text FROM pg_replication_slots WHERE slot_name = $1", db.name)
	return len(found) > 0, err
}

// dropSlot ends whoever streams from the slot, and drops it.
func (db *DB) dropSlot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverWait)
	defer cancel()
	for {
		_, err := db.pool.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", db.name)
		if code(err) == undefinedObject { // somebody else was faster
			return nil
		}
		if code(err) != objectInUse {
			return err
		}
		if err := db.evict(ctx); err != nil {
			return err
		}
		if !pause(ctx, 5*time.Millisecond) {
			return fmt.Errorf("drop replication slot %s: %w", db.name, err)
		}
	}
}

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
