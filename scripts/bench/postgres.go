package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/migrations/mapping"
)

// postgresBench measures a move between two PostgreSQL databases of one server.
type postgresBench struct {
	ctx    context.Context
	log    io.Writer // what is going on, for people
	dir    string    // for ledgers
	server *harness.Server
	rows   int
	rounds int
	worlds int // folders made so far
	drop   []func()
}

// postgresCases in the order in which they run.
var postgresCases = []struct {
	name string
	run  func(*postgresBench) ([]measure, error)
}{
	{"copy", (*postgresBench).copyRounds},
	{"verify", (*postgresBench).verifyRounds},
	{"decode", (*postgresBench).decodeRounds},
	{"apply", (*postgresBench).applyRounds},
	{"pause", (*postgresBench).pauseRounds},
}

// measurePostgres runs the cases asked for, all of them by default.
func measurePostgres(ctx context.Context, log io.Writer, dsn, dir string, rows, rounds int, cases string) (found []measure, err error) {
	b := &postgresBench{ctx: ctx, log: log, dir: dir, rows: rows, rounds: rounds}
	if b.server, err = benchServer(ctx, dsn); err != nil {
		return nil, err
	}
	defer func() {
		for _, drop := range b.drop {
			drop()
		}
		b.server.Stop()
	}()
	var names []string
	for _, c := range postgresCases {
		names = append(names, c.name)
		if cases != "" && !slices.Contains(strings.Split(cases, ","), c.name) {
			continue
		}
		measures, err := c.run(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		found = append(found, measures...)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no case is called %q: there are %s", cases, strings.Join(names, ", "))
	}
	return found, nil
}

// benchServer is the server that a DSN names, or one of the bench's own.
func benchServer(ctx context.Context, dsn string) (*harness.Server, error) {
	if dsn == "" {
		return harness.PostgresBinaries(ctx)
	}
	if err := os.Setenv(harness.PostgresEnv, dsn); err != nil {
		return nil, err
	}
	return harness.Postgres(ctx)
}

// database makes an empty database that lives as long as the bench.
func (b *postgresBench) database(name string) (string, error) {
	dsn, drop, err := b.server.Database(b.ctx, "strangler_bench_"+name)
	if err == nil {
		b.drop = append(b.drop, drop)
	}
	return dsn, err
}

// world is a step with a ledger of its own.
func (b *postgresBench) world(do, monolith, service string) (step, error) {
	b.worlds++
	dir := filepath.Join(b.dir, "state-"+strconv.Itoa(b.worlds))
	return step{Do: do, Monolith: monolith, Service: service, State: dir, Rows: b.rows}, os.Mkdir(dir, 0o700)
}

// moving is a step that moves a fresh table of orders to a fresh database.
func (b *postgresBench) moving(do string) (step, error) {
	orders, err := b.orders()
	if err != nil {
		return step{}, err
	}
	service, err := b.database("sales")
	if err != nil {
		return step{}, err
	}
	return b.world(do, orders, service)
}

func (b *postgresBench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// versus makes two measures of values that were measured in turns, so that a
// ratio above 1 means that ours is faster.
func versus(which, peer, unit string, rows int, mine, theirs []float64) []measure {
	first := spread(which, ours, unit, rows, mine)
	first.RatioTo = map[string]float64{peer: median(mine) / median(theirs)}
	first.Ratios = ratios(mine, theirs)
	return []measure{first, spread(which, peer, unit, rows, theirs)}
}

// execute runs statements on a database.
func execute(ctx context.Context, dsn string, statements ...string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	for _, q := range statements {
		if _, err := conn.Exec(ctx, q); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", q, err), conn.Close(ctx))
		}
	}
	return conn.Close(ctx)
}

// query asks a database for one value.
func query[T any](ctx context.Context, dsn, q string, args ...any) (value T, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return value, err
	}
	err = conn.QueryRow(ctx, q, args...).Scan(&value)
	return value, errors.Join(err, conn.Close(ctx))
}

// tool is a program that comes with PostgreSQL.
func tool(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is needed, which comes with PostgreSQL: %w", name, err)
	}
	return path, nil
}

// databaseOf is the name of the database that a DSN names.
func databaseOf(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(u.Path, "/")
}

// The tables that are copied and verified: rows of about 150 bytes in ten
// columns.
const (
	ordersColumns = "id, number, amount, status, customer, placed, note, doc, paid, weight"
	ordersTable   = `CREATE TABLE %s (id bigint PRIMARY KEY, number text NOT NULL, amount numeric(12, 2) NOT NULL, status int NOT NULL, customer uuid NOT NULL,
		placed timestamptz NOT NULL, note text, doc jsonb, paid bool NOT NULL, weight float8)`
	ordersIndex = "CREATE INDEX ON %s (customer)"
	salesTable  = `CREATE TABLE sales (id bigint PRIMARY KEY, reference text NOT NULL, cents bigint NOT NULL, state text NOT NULL, customer uuid NOT NULL,
		placed timestamptz NOT NULL, note text, doc jsonb, paid bool NOT NULL, weight float8)`
	ordersRows = `INSERT INTO orders SELECT i, 'ORD-' || lpad(i::text, 10, '0'), (i %% 1000000) / 100.0, i %% 3, md5(i::text)::uuid,
		timestamptz '2026-01-01' + i * interval '1 second', CASE WHEN i %% 3 > 0 THEN 'a note of order ' || i END,
		jsonb_build_object('lines', i %% 7, 'channel', 'web'), i %% 2 = 0, i / 8.0 FROM generate_series(1, %d) AS i`
)

// ordersPlan renames, scales and names, as moves do.
func ordersPlan() (*mapping.Plan, error) {
	digits := 2
	plan, problems := mapping.Compile(mapping.Spec{Capability: capability, Tables: []mapping.TableSpec{{
		To: "sales", From: "orders", Key: []string{"id"}, Columns: []mapping.ColumnSpec{
			{To: "id", From: "id"}, {To: "reference", From: "number"}, {To: "cents", From: "amount", Scale: &digits},
			{To: "state", From: "status", Enum: []mapping.EnumPair{{From: "0", To: "draft"}, {From: "1", To: "issued"}, {From: "2", To: "paid"}}},
			{To: "customer", From: "customer"}, {To: "placed", From: "placed"}, {To: "note", From: "note"}, {To: "doc", From: "doc"},
			{To: "paid", From: "paid"}, {To: "weight", From: "weight"},
		},
	}}})
	if len(problems) > 0 {
		return nil, fmt.Errorf("the bench's own mapping: %v", problems)
	}
	return plan, nil
}

// orders makes and fills the table that is copied, once.
func (b *postgresBench) orders() (string, error) {
	dsn, err := b.database("orders")
	if err != nil {
		return "", err
	}
	b.say("filling a table with %d orders", b.rows)
	return dsn, execute(b.ctx, dsn, fmt.Sprintf(ordersTable, "orders"), fmt.Sprintf(ordersRows, b.rows), fmt.Sprintf(ordersIndex, "orders"), "VACUUM ANALYZE orders", "CHECKPOINT")
}
