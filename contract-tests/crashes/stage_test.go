package crashes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"stranglerfig/contract-tests/chaos"
	"stranglerfig/contract-tests/harness"
	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/migrations/change"
)

var (
	seed     = flag.Uint64("seed", seedOfTheDay(), "draws the same sample of faults, and the same operations of clients, again")
	crashAll = flag.Bool("crash.all", false, "every fault at every point, instead of a sample")
)

// seedOfTheDay is a new one each time, unless the environment names one: what is
// run before every change should not be drawn anew.
func seedOfTheDay() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("STRANGLER_TEST_SEED"), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano())
}

// theatre is what all tests of this package play on; see [onStage].
var theatre *stage

func TestMain(m *testing.M) {
	if raw := os.Getenv(engineVariable); raw != "" {
		if err := serveEngine(raw); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	result := m.Run()
	if theatre != nil {
		theatre.close()
	}
	os.Exit(result)
}

// stage is two servers that may be killed, and links to them that may be cut.
type stage struct {
	servers map[change.Side]*harness.Cluster
	links   *chaos.Links
	addr    map[change.Side]string // of each link
	lives   atomic.Int64
}

// onStage returns the stage, or skips where no server can be started. Servers
// that a DSN names must not be killed, so they are of no use.
func onStage(t *testing.T) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("kills servers; left out by -short")
	}
	if theatre != nil {
		return theatre
	}
	s := &stage{servers: map[change.Side]*harness.Cluster{}, addr: map[change.Side]string{}, links: chaos.NewLinks()}
	for _, side := range []change.Side{change.Monolith, change.Service} {
		// What a killed process had written stays in the kernel, so that
		// waiting for the disk would prove nothing here.
		server, err := harness.NewCluster(t.Context(), "fsync=off", "shared_buffers=16MB", "max_connections=60", "max_replication_slots=20", "max_wal_senders=20")
		if errors.Is(err, harness.ErrNoPostgres) {
			require.Missing(t, "postgres", err)
		}
		must(t, err)
		s.servers[side] = server
		s.addr[side], err = s.links.Open(string(side), "127.0.0.1:0", server.Addr())
		must(t, err)
	}
	theatre = s
	return s
}

func (s *stage) close() {
	if err := s.links.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for _, server := range s.servers {
		server.Stop()
	}
}

// databases makes two empty databases for one life and returns their DSNs, as
// clients reach them and as an engine does, through the links.
func (s *stage) databases(t *testing.T) (direct, linked map[change.Side]string) {
	t.Helper()
	name := fmt.Sprintf("life_%d", s.lives.Add(1))
	direct, linked = map[change.Side]string{}, map[change.Side]string{}
	for side, schema := range map[change.Side]string{change.Monolith: monolithSchema, change.Service: serviceSchema} {
		server := s.servers[side]
		dsn, drop, err := server.Database(t.Context(), name)
		must(t, err)
		t.Cleanup(func() {
			s.dropSlots(t, side, name)
			drop()
		})
		conn, err := pgx.Connect(t.Context(), dsn)
		must(t, err)
		_, err = conn.Exec(t.Context(), schema)
		must(t, errors.Join(err, conn.Close(t.Context())))
		direct[side] = dsn
		linked[side] = strings.Replace(dsn, server.Addr(), s.addr[side], 1)
	}
	return direct, linked
}

// dropSlots drops what a life that failed has left, or its database could not
// be dropped.
func (s *stage) dropSlots(t *testing.T, side change.Side, database string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.servers[side].DSN)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(ctx)
	for left := 1; left > 0; {
		_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active_pid IS NOT NULL", database)
		if err == nil {
			// It may be taken again in between; then it is tried again.
			conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1 AND active_pid IS NULL", database)
			err = conn.QueryRow(ctx, "SELECT count(*) FROM pg_replication_slots WHERE database = $1", database).Scan(&left)
		}
		if err != nil {
			t.Errorf("drop the slots of %s: %v", database, err)
			return
		}
	}
}

// fault is something that happens to what the engine works with.
type fault string

const (
	killEngine   fault = "the engine is killed"
	killMonolith fault = "the monolith's server is killed"
	killService  fault = "the service's server is killed"
	cutMonolith  fault = "the link to the monolith's server is cut"
	cutService   fault = "the link to the service's server is cut"
)

var faults = []fault{killEngine, killMonolith, killService, cutMonolith, cutService}

// side is whose server or link it concerns.
func (f fault) side() change.Side {
	if f == killMonolith || f == cutMonolith {
		return change.Monolith
	}
	return change.Service
}

// strike lets a fault happen, other than to the engine; goOn is called while it
// lasts, and meanwhile returns when it has lasted for a while. When strike
// returns, it is over.
func (s *stage) strike(ctx context.Context, f fault, manner string, goOn, meanwhile func()) error {
	if f == killMonolith || f == killService {
		server := s.servers[f.side()]
		err := server.Kill()
		goOn()
		return errors.Join(err, server.Start(ctx))
	}
	err := s.links.Inject(chaos.Fault{Link: string(f.side()), Kind: manner})
	goOn()
	meanwhile()
	return errors.Join(err, s.links.Heal(string(f.side())))
}
