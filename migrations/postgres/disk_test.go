package postgres_test

import (
	"errors"
	"fmt"
	"os"
	programs "os/exec"
	"os/user"
	"runtime"
	"strings"
	"testing"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/migrations/change"
)

// TestTheRoomThatACopyTakesIsEstimatedBeforehand, with statistics and without.
func TestTheRoomThatACopyTakesIsEstimatedBeforehand(t *testing.T) {
	c := newCopied(t, 40_000)
	estimated, ok, err := c.follower.db.Footprint(t.Context(), c.leader.db, c.plan)
	must(t, err)
	if !ok {
		t.Fatal("nothing is estimated")
	}
	must(t, c.run(t.Context(), nil))
	const copies = " FROM pg_class WHERE relname IN ('invoices', 'invoice_lines')"
	rows, indexes := c.follower.number("SELECT sum(pg_table_size(oid))"+copies), c.follower.number("SELECT sum(pg_indexes_size(oid))"+copies)
	for name, x := range map[string][2]int64{"rows": {estimated.Rows, rows}, "indexes": {estimated.Indexes, indexes}} {
		if x[0] < x[1]/2 || x[0] > x[1]*2 {
			t.Errorf("the %s were estimated at %d bytes and take %d", name, x[0], x[1])
		}
	}
	if estimated.Building == 0 || estimated.Log == 0 || estimated.Total() <= estimated.Rows+estimated.Indexes {
		t.Errorf("what a copy takes while it lasts is missing: %+v", estimated)
	}
	exec(t, c.leader.app, "DELETE FROM pg_statistic WHERE starelid = 'inv'::regclass")
	without, _, err := c.follower.db.Footprint(t.Context(), c.leader.db, c.plan)
	must(t, err)
	if without.Rows < rows/2 || without.Rows > rows*2 {
		t.Errorf("without statistics the rows are estimated at %d bytes; they take %d", without.Rows, rows)
	}
	if runtime.GOOS == "linux" && server.How == "binaries" && estimated.Free <= 0 {
		t.Error("the server is on this machine, and nobody can tell what is free")
	}
}

// smallDisk is a server with a tablespace called small, on a file system of 12 MiB
// that can be made larger.
func smallDisk(t *testing.T) (s *harness.Cluster, enlarge func()) {
	t.Helper()
	without := func(why string) {
		t.Helper()
		require.Missing(t, "disk", why+"; TestAFullDiskOfTheFollowerLosesNothing plays a full disk, a real one is not tried")
	}
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		without("only root can mount a small file system")
	}
	s, err := harness.NewCluster(t.Context(), "fsync=off")
	if errors.Is(err, harness.ErrNoPostgres) {
		require.Missing(t, "postgres", err)
	}
	must(t, err)
	t.Cleanup(s.Stop)
	owner, err := user.Lookup("postgres")
	must(t, err)
	folder, err := os.MkdirTemp("", "strangler-small-")
	must(t, err)
	t.Cleanup(func() { os.Remove(folder) })
	if out, err := programs.Command("mount", "-t", "tmpfs", "-o", "size=12m,mode=700,uid="+owner.Uid+",gid="+owner.Gid, "tmpfs", folder).CombinedOutput(); err != nil {
		without(fmt.Sprintf("nothing can be mounted here (%v: %s)", err, out))
	}
	t.Cleanup(func() {
		s.Stop() // which lets go of it
		if out, err := programs.Command("umount", folder).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	application(t, s.DSN, "CREATE TABLESPACE small LOCATION '"+folder+"'")
	return s, func() {
		t.Helper()
		if out, err := programs.Command("mount", "-o", "remount,size=96m", folder).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// TestACopyOntoADiskThatIsTooSmallIsForeseenAndLosesNothing: preflight says so
// beforehand; whoever copies all the same is told, and goes on once there is room.
func TestACopyOntoADiskThatIsTooSmallIsForeseenAndLosesNothing(t *testing.T) {
	unlessShort(t)
	needServer(t)
	small, enlarge := smallDisk(t)
	c := newCopied(t, 60_000)
	dsn, drop, err := small.Database(t.Context(), "small")
	must(t, err)
	t.Cleanup(drop)
	c.follower = &side{T: t, dsn: dsn, app: application(t, dsn, "SET default_tablespace = 'small'; "+serviceInvoices)}
	c.follower.db = opened(t, dsn, change.Monolith, tables(c.plan, change.Service))
	f, _, err := c.follower.db.Footprint(t.Context(), c.leader.db, c.plan)
	must(t, err)
	if f.Free < 0 || f.Free > 13<<20 || f.Free > f.Total() {
		t.Errorf("%+v does not say that 12 MiB are too little", f)
	}
	before := c.definitions()
	must(t, c.follower.db.Prepare(t.Context(), change.Following))
	must(t, c.follower.db.BeginLoad(t.Context()))
	err = c.run(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "No space left on device") || !strings.Contains(err.Error(), "make room") {
		t.Fatalf("a copy onto a full disk ends with %v", err)
	}
	recorded := c.follower.number("SELECT sum(rows) FROM strangler.part")
	if n := c.follower.number("SELECT (SELECT count(*) FROM invoices) + (SELECT count(*) FROM invoice_lines)"); n != recorded || n == 0 {
		t.Errorf("%d rows are recorded and %d are there", recorded, n)
	}
	enlarge()
	must(t, c.run(t.Context(), nil))
	must(t, c.follower.db.FinishLoad(t.Context()))
	c.catchUp()
	c.compare()
	if after := c.definitions(); len(before) != len(after) {
		t.Errorf("before %v\nafter %v", before, after)
	}
}
