package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Modes of a table's lock: one that lets readers and writers be, one that keeps
// writers out, and one that is for changes that not even a reader may see half
// done.
const (
	keepsMaintenanceOut = "SHARE UPDATE EXCLUSIVE"
	keepsWritersOut     = "SHARE ROW EXCLUSIVE"
	keepsEveryoneOut    = "ACCESS EXCLUSIVE"
)

// lockMapped locks the mapped tables, with their partitions.
func (db *DB) lockMapped(ctx context.Context, tx pgx.Tx, mode string) error {
	return db.lockTables(ctx, tx, mode, db.relations())
}

// lockTables waits for whoever is at work in tables and keeps others out until
// the transaction ends. It has to be part of what patiently repeats.
//
// Writers take the tables in an order of their own. One that has a table and
// waits for another that we have would wait for us as we wait for it, and under
// load there is always such a one. The table that could not be had is therefore
// the first one that the next attempt takes, which leads to the writers' own
// order after as many attempts as there are tables, at most.
//
// Only the first table is waited for with patience: those who are at work there
// have to end. For the others it would be in vain, or the next attempt's turn.
func (db *DB) lockTables(ctx context.Context, tx pgx.Tx, mode string, names []string) error {
	for i, name := range db.precedence.sort(names) {
		if i == 1 {
			if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', greatest(1, setting::int / 5)::text, true) FROM pg_settings WHERE name = 'lock_timeout'"); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("LOCK TABLE %s IN %s MODE", name, mode)); err != nil {
			if code(err) == lockTimeout {
				db.precedence.raise(name)
			}
			return fmt.Errorf("lock %s: %w", name, err)
		}
	}
	return nil
}

// untilCheck is how long the server lets a session wait for a lock before it looks
// for deadlocks, and for automatic maintenance that is in the way.
func (db *DB) untilCheck(ctx context.Context) (time.Duration, error) {
	var milliseconds int64
	err := db.pool.QueryRow(ctx, "SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout'").Scan(&milliseconds)
	return time.Duration(milliseconds) * time.Millisecond, err
}

// withPartitions selects the tables whose names are $1, and their partitions.
const withPartitions = `SELECT to_regclass(name) FROM unnest($1::text[]) AS t(name)
	UNION SELECT p.relid FROM unnest($1::text[]) AS t(name), pg_partition_tree(to_regclass(t.name)) AS p`

// maintained reports whether VACUUM, ANALYZE or the like holds a mapped table.
func (db *DB) maintained(ctx context.Context) bool {
	var held bool
	err := db.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE mode = 'ShareUpdateExclusiveLock' AND granted
		AND relation IN (`+withPartitions+`))`, db.relations()).Scan(&held)
	return err == nil && held
}

// maintenanceWait bounds waiting for a table's maintenance to end: some of it does
// not, and a server may look for deadlocks rarely.
const maintenanceWait = 5 * time.Second

// StopMaintenance asks for locks that only maintenance is in the way of. The
// server ends what is automatic once it looks for deadlocks. A fence would wait as
// long for that, and the writers would wait for the fence.
//
// What was ended is looked for again: another worker may have had the same table
// on its list.
func (db *DB) StopMaintenance(ctx context.Context) error {
	for until := time.Now().Add(maintenanceWait); db.maintained(ctx) && time.Now().Before(until); {
		ended, err := db.interruptMaintenance(ctx, time.Now().Add(maintenanceWait))
		if err != nil {
			return explain(err)
		}
		if !ended {
			return nil
		}
	}
	return nil
}

// interruptMaintenance has a lock of each table once, each by itself, until a
// deadline at most. It reports whether it got all of them: maintenance that somebody
// asked for does not give way.
func (db *DB) interruptMaintenance(ctx context.Context, deadline time.Time) (bool, error) {
	untilCheck, err := db.untilCheck(ctx)
	if err != nil {
		return false, err
	}
	all := true
	for _, name := range db.relations() {
		err := db.locking(ctx, min(2*untilCheck, time.Until(deadline)), func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, fmt.Sprintf("LOCK TABLE %s IN %s MODE", name, keepsMaintenanceOut))
			return err
		})
		switch {
		case code(err) == lockTimeout:
			all = false
		case err != nil:
			return false, fmt.Errorf("lock %s: %w", name, err)
		}
	}
	return all, nil
}

// precedence remembers which tables have to be locked before others.
type precedence struct {
	mu    sync.Mutex
	first []string // the latest one in front
}

// raise puts a table before all others.
func (p *precedence) raise(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first = append([]string{name}, slices.DeleteFunc(p.first, func(have string) bool { return have == name })...)
}

// sort returns names in the order in which to lock them.
func (p *precedence) sort(names []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	rank := func(name string) int {
		if i := slices.Index(p.first, name); i >= 0 {
			return i
		}
		return len(p.first)
	}
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return rank(a) - rank(b) })
	return sorted
}
