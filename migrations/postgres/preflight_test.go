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
	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
	"stranglerfig/migrations/mapping"
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
	if errors.Is(err, harness.ErrNoPostgres) {
		require.Missing(t, "postgres", err)
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
	expectFound(t, s, change.Leading, true, "max_wal_senders", "a move needs one, and a copy another one", "raise it") // the look itself may still count
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

// TestARoleWithoutTheServersPrivilegesCanMove: it owns its tables and may
// replicate, nothing else.
func TestARoleWithoutTheServersPrivilegesCanMove(t *testing.T) {
	needServer(t)
	dsn, ctx := database(t), t.Context()
	admin := application(t, dsn, "")
	role := strings.ReplaceAll(strings.ToLower("strangler_"+t.Name()), "/", "_")[:40]
	exec(t, admin, fmt.Sprintf("DROP ROLE IF EXISTS %[1]s; CREATE ROLE %[1]s LOGIN REPLICATION PASSWORD 'test'; GRANT CREATE ON SCHEMA public TO %[1]s", role))
	exec(t, admin, "DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO "+role+"', current_database()); END$$")
	t.Cleanup(func() { exec(t, admin, "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role) })
	u, err := url.Parse(dsn)
	must(t, err)
	u.User = url.UserPassword(role, "test")
	app := application(t, u.String(), canonical)
	db := opened(t, u.String(), change.Monolith, changetest.Tables())
	t.Cleanup(func() { must(t, db.Unprepare(context.Background(), false)) })
	found, err := db.Preflight(ctx, change.Leading)
	must(t, err)
	if slices.ContainsFunc(found, func(p change.Problem) bool { return p.Fatal }) {
		t.Fatal(found)
	}
	must(t, db.Prepare(ctx, change.Leading))
	exec(t, app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	c, err := db.ReadChunk(ctx, 0, nil, 10)
	must(t, err)
	if len(c.Rows) != 1 {
		t.Errorf("%+v", c)
	}
	must(t, db.Fence(ctx, change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
	must(t, db.Repair(ctx, change.Change{Kind: change.Put, Key: change.Key{mapping.Int(2)}, Row: change.Row{mapping.Int(2), mapping.Text("b"), mapping.Int(1)}}))
	if _, err := app.Exec("DELETE FROM items"); err == nil || !strings.Contains(err.Error(), "strangler:") {
		t.Error(err)
	}
	if b, err := db.Read(ctx, 0, 10); err != nil || len(b.Changes) != 1 || b.Marker != "m" {
		t.Errorf("%+v, %v", b, err)
	}
	exec(t, app, "CREATE TABLE child (id int PRIMARY KEY, item bigint REFERENCES items)")
	found, err = db.Preflight(ctx, change.Leading)
	must(t, err)
	if !slices.ContainsFunc(found, func(p change.Problem) bool { return p.Fatal && strings.Contains(p.Text, "foreign key") }) {
		t.Errorf("foreign keys it cannot switch off are not fatal: %v", found)
	}
}

// TestPreflightNamesWhatCannotBeMoved beyond what every database must find.
func TestPreflightNamesWhatCannotBeMoved(t *testing.T) {
	for name, c := range map[string]struct {
		schema, subject, text string
		role                  change.Role
		warning               bool
	}{
		"a view":                 {"CREATE VIEW x AS SELECT 1 AS id, 2 AS v", "x", "is not a table", change.Leading, false},
		"an unlogged table":      {"CREATE UNLOGGED TABLE x (id int PRIMARY KEY, v int)", "x", "is unlogged", change.Leading, false},
		"a generated column":     {"CREATE TABLE x (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + 1) STORED)", "x.v", "is generated", change.Leading, false},
		"an identity elsewhere":  {"CREATE TABLE x (id int PRIMARY KEY, v int GENERATED ALWAYS AS IDENTITY)", "x.v", "outside the key", change.Leading, false},
		"money":                  {"CREATE TABLE x (id int PRIMARY KEY, v money)", "x.v", "is of type money, which cannot be moved", change.Leading, false},
		"an object identifier":   {"CREATE TABLE x (id int PRIMARY KEY, v oid)", "x.v", "is of type oid", change.Leading, false},
		"a name of the catalog":  {"CREATE TABLE x (id int PRIMARY KEY, v regclass)", "x.v", "is of type regclass", change.Leading, false},
		"money in a row":         {"CREATE TYPE p AS (a int, b money[]); CREATE DOMAIN d AS p; CREATE TABLE x (id int PRIMARY KEY, v d)", "x.v", "of type p, which is made of money", change.Leading, false},
		"a key of an array":      {"CREATE TABLE x (id int[] PRIMARY KEY, v int)", "x.id", "of type integer[], by which rows are not looked up", change.Leading, false},
		"a foreign table":        {"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE x (id int, v int) SERVER s", "x", "is a foreign table", change.Leading, false},
		"a foreign partition":    {"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE TABLE x (id int, v int) PARTITION BY LIST (id); ALTER TABLE x REPLICA IDENTITY FULL; CREATE FOREIGN TABLE y PARTITION OF x FOR VALUES IN (1) SERVER s", "x", "has the partition y, which is a foreign table", change.Leading, false},
		"an unlogged partition":  {"CREATE TABLE x (id int PRIMARY KEY, v int) PARTITION BY LIST (id); CREATE UNLOGGED TABLE y PARTITION OF x FOR VALUES IN (1)", "x", "has the partition y, which is unlogged", change.Leading, false},
		"a table with heirs":     {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE TABLE y () INHERITS (x)", "x", "is inherited by y", change.Leading, false},
		"an heir":                {"CREATE TABLE y (id int, v int); CREATE TABLE x (PRIMARY KEY (id)) INHERITS (y)", "x", "inherits from y", change.Leading, false},
		"a partition":            {"CREATE TABLE y (id int PRIMARY KEY, v int) PARTITION BY LIST (id); CREATE TABLE x PARTITION OF y FOR VALUES IN (1)", "x", "is a partition of y", change.Leading, false},
		"a rule":                 {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE RULE r AS ON UPDATE TO x DO INSTEAD NOTHING", "x", "rule r rewrites", change.Following, false},
		"jsonb":                  {"CREATE TABLE x (id int PRIMARY KEY, v jsonb)", "x.v", "a spelling of its own", change.Leading, true},
		"a key that may be NULL": {"CREATE TABLE x (id int UNIQUE, v int); ALTER TABLE x REPLICA IDENTITY FULL", "x.id", "may be NULL", change.Leading, false},
		"no replica identity":    {"CREATE TABLE x (id int NOT NULL UNIQUE, v int)", "x", "does not name the key (id)", change.Leading, false},
		"another primary key":    {"CREATE TABLE x (id int NOT NULL UNIQUE, v int PRIMARY KEY)", "x", "does not name the key (id)", change.Leading, false},
		"a column left out":      {"CREATE TABLE x (id int PRIMARY KEY, v int, w int NOT NULL)", "x.w", "NOT NULL without a default", change.Following, false},
		"an insistent trigger":   {trigger + "ALTER TABLE x ENABLE ALWAYS TRIGGER tr", "x", "trigger tr also fires", change.Following, false},
		"one on the other side":  {trigger + "ALTER TABLE x ENABLE ALWAYS TRIGGER tr", "x", "trigger tr also fires", change.Leading, true},
		"a reference out of it":  {"CREATE TABLE y (id int PRIMARY KEY); CREATE TABLE x (id int PRIMARY KEY, v int REFERENCES y)", "x", "refers to y", change.Leading, true},
		"a reference into it":    {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE TABLE y (id int PRIMARY KEY, x int REFERENCES x)", "x", "is referred to by y", change.Leading, true},
		"an odd unique index":    {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE UNIQUE INDEX u ON x (v) WHERE v > 0", "x", "unique index u is not only", change.Leading, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t, c.schema, change.Table{Name: "x", Columns: []string{"id", "v"}, Key: []int{0}})
			found, err := s.db.Preflight(t.Context(), c.role)
			must(t, err)
			found = slices.DeleteFunc(found, func(p change.Problem) bool { return p.Subject == "max_slot_wal_keep_size" })
			if len(found) != 1 || found[0].Subject != c.subject || !strings.Contains(found[0].Text, c.text) || found[0].Fatal == c.warning || found[0].Hint == "" {
				t.Errorf("found %+v, want of %s: %s", found, c.subject, c.text)
			}
		})
	}
}

const trigger = `CREATE TABLE x (id int PRIMARY KEY, v int);
	CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER tr BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION f();`

// TestATableThatCannotBePublishedIsNot: without a replica identity its updates
// would fail from then on.
func TestATableThatCannotBePublishedIsNot(t *testing.T) {
	s := fresh(t, "CREATE TABLE x (id int NOT NULL UNIQUE, v int); INSERT INTO x VALUES (1, 1)", change.Table{Name: "x", Columns: []string{"id", "v"}, Key: []int{0}})
	if err := s.db.Prepare(t.Context(), change.Leading); err == nil || !strings.Contains(err.Error(), "REPLICA IDENTITY") {
		t.Error(err)
	}
	exec(t, s.app, "UPDATE x SET v = 2")
}
