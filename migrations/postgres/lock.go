package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Modes of a table's lock: one that keeps writers out and lets readers be, and
// one that is for changes that not even a reader may see half done.
const (
	keepsWritersOut  = "SHARE ROW EXCLUSIVE"
	keepsEveryoneOut = "ACCESS EXCLUSIVE"
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
