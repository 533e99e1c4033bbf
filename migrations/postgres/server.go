package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

// server is what matters of a server's settings, of the database and of our
// role.
type server struct {
	version                int
	standby, standbys      bool
	wal, kept, encoding    string
	slotsLeft, sendersLeft int
	user, database         string
	replicates, creates    bool
	unreachable            error // a replication connection cannot be opened
	open                   []lingering
	pending                []string // prepared transactions that nobody ends
	eventTriggers          []string
}

// lingering is a transaction that has been open for long.
type lingering struct {
	PID               int
	User, Application string
	Age               time.Duration
}

// longOpen is how long a transaction is open before preflight speaks of it.
const longOpen = time.Minute

const askServer = `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
	EXISTS (SELECT 1 FROM pg_stat_replication r WHERE state IN ('catchup', 'streaming')
		AND NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE active_pid = r.pid AND slot_type = 'logical')),
	current_setting('wal_level'), current_setting('max_slot_wal_keep_size'), current_setting('server_encoding'),
	current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> $1)::int,
	current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)::int,
	current_user, current_database(), (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
	has_database_privilege(current_database(), 'CREATE') AND has_database_privilege(current_database(), 'TEMP')`

func (db *DB) checkServer(ctx context.Context) ([]change.Problem, error) {
	var s server
	err := db.pool.QueryRow(ctx, askServer, db.name).
		Scan(&s.version, &s.standby, &s.standbys, &s.wal, &s.kept, &s.encoding, &s.slotsLeft, &s.sendersLeft, &s.user, &s.database, &s.replicates, &s.creates)
	if err != nil {
		return nil, err
	}
	rows, err := db.pool.Query(ctx, `SELECT pid, coalesce(usename, ''), application_name, extract(epoch FROM now() - xact_start) * 1e9
		FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
			AND xact_start < now() - make_interval(secs => $1) ORDER BY xact_start LIMIT 10`, longOpen.Seconds())
	if err != nil {
		return nil, err
	}
	if s.open, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t lingering, err error) {
		var age float64
		err = row.Scan(&t.PID, &t.User, &t.Application, &age)
		t.Age = time.Duration(age)
		return t, err
	}); err != nil {
		return nil, err
	}
	if s.pending, err = texts(ctx, db.pool, "SELECT gid FROM pg_prepared_xacts ORDER BY prepared LIMIT 10"); err != nil {
		return nil, err
	}
	if s.eventTriggers, err = texts(ctx, db.pool, "SELECT evtname::text FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1"); err != nil {
		return nil, err
	}
	if s.replicates && s.sendersLeft > 0 {
		conn, err := db.replicationConn(ctx)
		if s.unreachable = err; err == nil {
			hangUp(conn)
		}
	}
	return s.problems(), nil
}

// problems judges a server.
func (s server) problems() []change.Problem {
	var found []change.Problem
	forbid := func(subject, text, hint string) { found = append(found, fatal(subject, text, hint)) }
	warn := func(subject, text, hint string) { found = append(found, warning(subject, text, hint)) }
	if s.version < 140000 {
		forbid("server_version", "is older than 14, which cannot put messages into the log that a stream sees", "move from a newer server")
	}
	if s.standby {
		forbid("server", "is a standby, which nobody can write", "name the primary in the DSN")
	}
	if s.wal != "logical" {
		forbid("wal_level", "is "+s.wal+", so changes cannot be followed", "ALTER SYSTEM SET wal_level = logical, and restart the server")
	}
	if s.slotsLeft < 2 {
		forbid("max_replication_slots", fmt.Sprintf("leaves %d free; a move needs one, and a copy another one for a moment", max(0, s.slotsLeft)), "raise it and restart the server, or drop slots that nobody uses")
	}
	if s.sendersLeft < 2 {
		forbid("max_wal_senders", fmt.Sprintf("leaves %d free; a move needs one, and a copy another one for a moment", max(0, s.sendersLeft)), "raise it and restart the server")
	}
	if s.kept == "-1" {
		warn("max_slot_wal_keep_size", "is unlimited: a move that is left standing keeps all of the log and can fill the disk", "ALTER SYSTEM SET max_slot_wal_keep_size to what the disk can spare")
	}
	if !s.replicates {
		forbid("role "+s.user, "may not replicate", "ALTER ROLE "+quote(s.user)+" REPLICATION")
	}
	if !s.creates {
		forbid("role "+s.user, "may not create a schema, a publication and temporary tables here", "GRANT CREATE, TEMP ON DATABASE "+quote(s.database)+" TO "+quote(s.user))
	}
	if s.unreachable != nil {
		forbid("replication connection", s.unreachable.Error(), "name the server itself in the DSN: poolers such as PgBouncer do not pass replication on")
	}
	switch s.encoding {
	case "UTF8":
	case "SQL_ASCII":
		forbid("server_encoding", "is SQL_ASCII, so that nobody knows what its texts mean", "move to a database whose encoding is UTF8 first")
	default:
		warn("server_encoding", "is "+s.encoding+": a character of the other side that it does not have stops the stream", "make sure that there are none")
	}
	for _, t := range s.open {
		warn("transaction", fmt.Sprintf("of process %d (%s) has been open for %s: slots, copies and fences wait for it", t.PID, strings.Trim(t.User+", "+t.Application, ", "), t.Age.Round(time.Second)),
			fmt.Sprintf("let it end, or SELECT pg_terminate_backend(%d)", t.PID))
	}
	for _, name := range s.pending {
		warn("prepared transaction", name+" is pending: slots, copies and fences wait for it", "COMMIT PREPARED or ROLLBACK PREPARED "+literal(name)+", unless its coordinator is about to")
	}
	for _, name := range s.eventTriggers {
		warn("event trigger", name+" also fires for what the toolkit creates, alters and drops", "make sure that it lets schema strangler, triggers and publications pass")
	}
	if s.standbys && s.version < 170000 {
		warn("standby", "will not have the replication slot after a failover, because the server is older than 17: the move pauses then", "plan for data resume and a verification after a failover")
	}
	return found
}
