package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"stranglerfig/migrations/change"
)

var (
	_ change.Fickle  = (*DB)(nil)
	_ change.Lagging = (*DB)(nil)
)

// errCutLost says that the snapshot of a copy is gone, with the server or the
// connection that kept it.
var errCutLost = errors.New("the snapshot of the copy is gone")

// Away reports whether an error is of the connection or of a server that shuts
// down or starts, not of what was asked.
func (db *DB) Away(err error) bool {
	var refused *pgconn.ConnectError
	var network net.Error
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, errCutLost):
		return true
	case errors.As(err, &pg):
		// Connection exceptions; shut down, crashed, not yet there, dropped.
		return strings.HasPrefix(pg.Code, "08") || slices.Contains([]string{"57P01", "57P02", "57P03"}, pg.Code)
	case errors.As(err, &refused), errors.As(err, &network):
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err) ||
		err != nil && strings.Contains(err.Error(), "conn closed")
}

// Refresh asks every idle connection for a sign of life and closes those that
// give none: a pool notices that a server was restarted only when it uses them.
func (db *DB) Refresh(ctx context.Context) {
	for _, pool := range []*pgxpool.Pool{db.pool, db.applier} {
		for _, c := range pool.AcquireAllIdle(ctx) {
			if c.Ping(ctx) != nil {
				hangUp(c.Conn().PgConn())
			}
			c.Release()
		}
	}
}

// Lag returns how far behind the slowest physical standby is. Those that read
// the log as logical slots do, as we, do not count.
func (db *DB) Lag(ctx context.Context) (time.Duration, error) {
	var seconds float64
	err := db.pool.QueryRow(ctx, `SELECT coalesce(extract(epoch FROM max(r.replay_lag)), 0)::float8 FROM pg_stat_replication r
		WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')`).Scan(&seconds)
	return time.Duration(seconds * float64(time.Second)), err
}
