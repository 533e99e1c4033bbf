package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/migrations/change"
)

// expectFound looks for a problem in what preflight says.
func expectFound(t *testing.T, s *side, role change.Role, fatal bool, subject, text, hint string) {
	t.Helper()
	found, err := s.db.Preflight(t.Context(), role)
	must(t, err)
	if !slices.ContainsFunc(found, func(p change.Problem) bool {
		return p.Fatal == fatal && strings.Contains(p.Subject, subject) && strings.Contains(p.Text, text) && strings.Contains(p.Hint, hint)
	}) {
		t.Errorf("%q of %s with the hint %q is not found: %+v", text, subject, hint, found)
	}
}

var twoColumns = change.Table{Name: "x", Columns: []string{"id", "v"}, Key: []int{0}}

// as opens a side's database as another role, which is dropped in the end.
func (s *side) as(options, grants string) (*side, string) {
	s.Helper()
	role := fmt.Sprintf("strangler_%s_%d", strings.ToLower(strings.NewReplacer("/", "", "_", "").Replace(s.Name()))[4:24], databases.Add(1))
	exec(s.T, s.app, "DROP ROLE IF EXISTS "+role+"; CREATE ROLE "+role+" LOGIN PASSWORD 'test' "+options)
	exec(s.T, s.app, strings.ReplaceAll(grants, "ROLE", role))
	s.Cleanup(func() { exec(s.T, s.app, "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role) })
	u, err := url.Parse(s.dsn)
	must(s.T, err)
	u.User = url.UserPassword(role, "test")
	other := &side{T: s.T, dsn: u.String(), app: s.app, db: opened(s.T, u.String(), change.Monolith, s.db.Tables())}
	return other, role
}

// TestMissingPrivilegesAreNamedWithTheirGrant.
func TestMissingPrivilegesAreNamedWithTheirGrant(t *testing.T) {
	const schema = "CREATE TABLE x (id int PRIMARY KEY, v int)"
	t.Run("nothing", func(t *testing.T) {
		s, role := fresh(t, schema, twoColumns).as("", "")
		expectFound(t, s, change.Leading, true, "role "+role, "may not replicate", `ALTER ROLE "`+role+`" REPLICATION`)
		expectFound(t, s, change.Leading, true, "role "+role, "may not create", `GRANT CREATE, TEMP ON DATABASE "strangler_test_`)
		expectFound(t, s, change.Leading, true, "x", "belongs to another role", "OWNER TO")
	})
	t.Run("policies", func(t *testing.T) {
		s, _ := fresh(t, schema+"; ALTER TABLE x ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON x USING (id > 10)", twoColumns).
			as("REPLICATION", "ALTER TABLE x OWNER TO ROLE")
		expectFound(t, s, change.Leading, true, "x", "only the rows that its policies allow", "BYPASSRLS")
	})
}

// TestADuplicateOfADeclaredKeyIsNamed.
func TestADuplicateOfADeclaredKeyIsNamed(t *testing.T) {
	s := fresh(t, "CREATE TABLE x (id int NOT NULL, v int NOT NULL); ALTER TABLE x REPLICA IDENTITY FULL; INSERT INTO x VALUES (1, 1), (7, 1), (7, 1), (7, 2)",
		change.Table{Name: "x", Columns: []string{"id", "v"}, Key: []int{0, 1}})
	expectFound(t, s, change.Leading, true, "x", "nothing makes the key (id, v) unique, and 2 rows have the key 7, 1", `CREATE UNIQUE INDEX ON "x" ("id", "v")`)
	exec(t, s.app, "DELETE FROM x WHERE v = 1")
	expectFound(t, s, change.Leading, true, "x", "nothing makes the key (id, v) unique", "CREATE UNIQUE INDEX")
}

// TestASequenceThatIsNearlyExhaustedIsNamed.
func TestASequenceThatIsNearlyExhaustedIsNamed(t *testing.T) {
	s := fresh(t, "CREATE TABLE x (id serial PRIMARY KEY, v int); SELECT setval('x_id_seq', 2147480000)", twoColumns)
	expectFound(t, s, change.Leading, false, "x", "sequence x_id_seq has given out 2147480000 of 2147483647 numbers", "bigint")
}

// TestAnEventTriggerIsNamed.
func TestAnEventTriggerIsNamed(t *testing.T) {
	s := fresh(t, `CREATE TABLE x (id int PRIMARY KEY, v int);
		CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
		CREATE EVENT TRIGGER audit ON ddl_command_start EXECUTE FUNCTION e()`, twoColumns)
	expectFound(t, s, change.Leading, false, "event trigger", "audit also fires", "strangler")
}

// TestAServerThatIsNotSetUpForAMoveIsRefused, and nothing is changed there.
func TestAServerThatIsNotSetUpForAMoveIsRefused(t *testing.T) {
	server, err := harness.NewCluster(t.Context(), "fsync=off", "wal_level=replica", "max_replication_slots=1", "max_wal_senders=1", "max_prepared_transactions=2")
	if errors.Is(err, harness.ErrNoPostgres) && !harness.Required("postgres") {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(server.Stop)
	s := &side{T: t, dsn: server.DSN, app: application(t, server.DSN, "CREATE TABLE x (id int PRIMARY KEY, v int)")}
	s.db = opened(t, s.dsn, change.Monolith, []change.Table{twoColumns})
	exec(t, s.app, "BEGIN; INSERT INTO x VALUES (1, 1); PREPARE TRANSACTION 'order 66'")
	t.Cleanup(func() { exec(t, s.app, "ROLLBACK PREPARED 'order 66'") })
	before := objects(t, s.app)
	expectFound(t, s, change.Leading, true, "wal_level", "is replica", "wal_level = logical")
	expectFound(t, s, change.Leading, true, "max_replication_slots", "leaves 1 free", "raise it")
	expectFound(t, s, change.Leading, true, "max_wal_senders", "leaves 1 free", "raise it")
	expectFound(t, s, change.Leading, false, "prepared transaction", "order 66 is pending", "ROLLBACK PREPARED 'order 66'")
	if after := objects(t, s.app); !slices.Equal(before, after) {
		t.Errorf("preflight changed %v to %v", before, after)
	}
}

// TestAPoolerThatPassesNoReplicationOnIsNamed: everything else works through it.
func TestAPoolerThatPassesNoReplicationOnIsNamed(t *testing.T) {
	s := fresh(t, "CREATE TABLE x (id int PRIMARY KEY, v int)", twoColumns)
	u, err := url.Parse(s.dsn)
	must(t, err)
	u.Host = pooler(t, u.Host)
	s.db = opened(t, u.String(), change.Monolith, []change.Table{twoColumns})
	expectFound(t, s, change.Leading, true, "replication connection", "unsupported startup parameter: replication", "PgBouncer")
}

// pooler listens in front of a server and refuses replication as PgBouncer does.
func pooler(t *testing.T, server string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			clients.Go(func() { pool(ctx, client, server) })
		}
	})
	t.Cleanup(func() { listener.Close(); cancel(); clients.Wait() })
	return listener.Addr().String()
}

func pool(ctx context.Context, client net.Conn, server string) {
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	backend := pgproto3.NewBackend(client, client)
	first, err := backend.ReceiveStartupMessage()
	startup, ok := first.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	if startup.Parameters["replication"] != "" {
		backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: replication"})
		backend.Flush()
		return
	}
	conn, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer conn.Close()
	message, err := startup.Encode(nil)
	if err != nil {
		return
	}
	if _, err := conn.Write(message); err != nil {
		return
	}
	var sending sync.WaitGroup
	sending.Go(func() { io.Copy(conn, client); conn.Close() })
	io.Copy(client, conn)
	client.Close()
	sending.Wait()
}

// TestAFenceThatCannotBeNamesWhoHoldsIt, and changes nothing.
func TestAFenceThatCannotBeNamesWhoHoldsIt(t *testing.T) {
	s := prepared(t, change.Leading, "CREATE TABLE x (id int PRIMARY KEY, v int)", twoColumns)
	writer, err := s.app.Conn(t.Context())
	must(t, err)
	defer writer.Close()
	for _, q := range []string{"SET application_name = 'night job'", "BEGIN", "INSERT INTO x VALUES (1, 1)"} {
		_, err := writer.ExecContext(t.Context(), q)
		must(t, err)
	}
	err = s.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 50 * time.Millisecond})
	if !errors.Is(err, change.ErrFenceTimeout) || !strings.Contains(err.Error(), "application night job, idle in transaction: INSERT INTO x VALUES (1, 1)") {
		t.Error(err)
	}
	if o, err := s.db.Owner(t.Context()); err != nil || o.Fenced {
		t.Errorf("%+v, %v", o, err)
	}
	_, err = writer.ExecContext(t.Context(), "COMMIT")
	must(t, err)
	exec(t, s.app, "UPDATE x SET v = 2")
}

// TestAFullDiskOfTheFollowerLosesNothing: a batch that finds no room is applied
// when there is some again.
func TestAFullDiskOfTheFollowerLosesNothing(t *testing.T) {
	const schema = "CREATE TABLE x (id int PRIMARY KEY, v int)"
	leader, follower := prepared(t, change.Leading, schema, twoColumns), prepared(t, change.Following, schema, twoColumns)
	exec(t, follower.app, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END$$;
		CREATE TRIGGER full_disk BEFORE INSERT ON x FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
		ALTER TABLE x ENABLE ALWAYS TRIGGER full_disk`)
	exec(t, leader.app, "INSERT INTO x SELECT i, i FROM generate_series(1, 10) AS i")
	cp, err := follower.db.TakeStream(t.Context(), "stream", "runner", 0)
	must(t, err)
	b, err := leader.db.Read(t.Context(), cp.Position, 100)
	must(t, err)
	if err := follower.db.Apply(t.Context(), "stream", "runner", b); err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Fatal(err)
	}
	if after, err := follower.db.Stream(t.Context(), "stream"); err != nil || after.Position != cp.Position {
		t.Errorf("the checkpoint moved from %d to %d (%v)", cp.Position, after.Position, err)
	}
	exec(t, follower.app, "DROP TRIGGER full_disk ON x")
	follower.follow(leader)
	expectSame(t, leader, follower, "x")
}
