// Package shop runs the worked example for real: the monolith, its extracted
// services and the strangler before them, each a process of its own with
// embedded databases, on free loopback ports. The demo tells its story in such
// a world; the tests here break one.
//
// Beside the code lie what a team would keep in its repository: strangler.yaml,
// the contracts and the chaos experiments.
package shop

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"

	"stranglerfig/contract-tests/harness"
)

//go:embed strangler.yaml *.pact.json chaos/*.yaml
var files embed.FS

// Token is what API clients of the shop show.
const Token = "dev-token"

// Options say what kind of world it is to be.
type Options struct {
	Bin  string    // folder of the built commands, see [Build]
	Log  io.Writer // what the processes say; nil discards
	Size int       // invoices to begin with
	// Edit changes the text of strangler.yaml before it is written; nil keeps it.
	Edit func(text string) string
	// Scratch also starts a second monolith and billing service, of the same
	// builds with databases of their own, for contracts that write.
	Scratch bool
	// Pair also declares them in strangler.yaml.
	Pair bool
	// Isolated also starts a billing service with an empty database of its own that
	// gets copies of writes, and declares it with that database.
	Isolated bool
	// IsolatedDatabase is its DSN; default: an embedded one in the folder.
	IsolatedDatabase string
	// ScratchSize is how many invoices that monolith begins with.
	ScratchSize int
	// Database and BillingDatabase are the DSNs of the monolith and of billing;
	// default: embedded ones in the folder.
	Database, BillingDatabase string
	// ScratchDatabase and ScratchBillingDatabase are those of the scratch pair;
	// default: embedded ones in the folder.
	ScratchDatabase, ScratchBillingDatabase string
	// Billing may start another build in the billing service's place.
	Billing string
}

// World is the running shop.
type World struct {
	Dir  string
	Addr Addresses

	Monolith, Billing, Catalog, Proxy *harness.Process
	ScratchMonolith, ScratchBilling   *harness.Process
	IsolatedBilling                   *harness.Process

	o    Options
	logs *os.File
}

// Addresses are the loopback addresses of everything.
type Addresses struct{ Proxy, Admin, Monolith, Billing, Catalog, Link, ScratchMonolith, ScratchBilling, Isolated string }

// Build compiles the four commands into a folder.
func Build(ctx context.Context, dir string) error {
	return harness.Build(ctx, dir, map[string]string{
		"monolith": "./monolith", "billing": "./extracted/billing", "catalog": "./extracted/catalog", "strangler": "./strangler-proxy",
	})
}

// Start makes a world in a new temporary folder and starts its processes.
func Start(ctx context.Context, o Options) (*World, error) {
	dir, err := os.MkdirTemp("", "strangler-shop-")
	if err != nil {
		return nil, err
	}
	w := &World{Dir: dir, o: o}
	if err := w.begin(ctx); err != nil {
		return nil, errors.Join(err, w.Close(false))
	}
	return w, nil
}

func (w *World) begin(ctx context.Context) error {
	var err error
	if w.logs, err = os.Create(filepath.Join(w.Dir, "processes.log")); err != nil {
		return err
	}
	w.o.Database = cmp.Or(w.o.Database, "sqlite:shop.db")
	w.o.BillingDatabase = cmp.Or(w.o.BillingDatabase, "sqlite:billing.db")
	w.o.ScratchDatabase = cmp.Or(w.o.ScratchDatabase, "sqlite:scratch-shop.db")
	w.o.ScratchBillingDatabase = cmp.Or(w.o.ScratchBillingDatabase, "sqlite:scratch-billing.db")
	w.o.IsolatedDatabase = cmp.Or(w.o.IsolatedDatabase, "sqlite:isolated.db")
	if w.o.Log == nil {
		w.o.Log = io.Discard
	}
	if err := os.CopyFS(w.Dir, files); err != nil {
		return err
	}
	if err := w.seed(ctx, w.o.Database, w.o.Size); err != nil {
		return err
	}
	if w.o.Scratch {
		if err := w.seed(ctx, w.o.ScratchDatabase, w.o.ScratchSize); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

// settle finds ports and starts the processes on them. Where another process
// was faster to take one of the ports, it tries others; the databases were
// seeded before, and once.
func (w *World) settle(ctx context.Context) error {
	const tries = 3
	for try := 1; ; try++ {
		if err := w.reserve(); err != nil {
			return err
		}
		if err := w.configure(); err != nil {
			return err
		}
		err := w.startAll(ctx)
		if err == nil || try == tries || !portTaken(err) {
			return err
		}
		if err := w.stop(); err != nil {
			return err
		}
	}
}

func portTaken(err error) bool {
	return strings.Contains(err.Error(), "address already in use") || strings.Contains(err.Error(), "taken by another process")
}

// reserve picks free ports.
func (w *World) reserve() error {
	a := &w.Addr
	for _, to := range []*string{&a.Proxy, &a.Admin, &a.Monolith, &a.Billing, &a.Catalog, &a.Link, &a.ScratchMonolith, &a.ScratchBilling, &a.Isolated} {
		addr, err := harness.FreePort()
		if err != nil {
			return err
		}
		*to = addr
	}
	return nil
}

// configure writes the shop's strangler.yaml, with the ports of this world.
func (w *World) configure() error {
	raw, err := files.ReadFile("strangler.yaml")
	if err != nil {
		return err
	}
	path := filepath.Join(w.Dir, "strangler.yaml")
	text := strings.NewReplacer(
		"127.0.0.1:8080", w.Addr.Proxy, "127.0.0.1:8079", w.Addr.Admin, "127.0.0.1:9000", w.Addr.Monolith,
		"127.0.0.1:9101", w.Addr.Catalog, "127.0.0.1:9102", w.Addr.Billing, "127.0.0.1:9103", w.Addr.Link,
		"database: sqlite:shop.db", `database: "`+w.o.Database+`"`,
		"database: sqlite:billing.db", `database: "`+w.o.BillingDatabase+`"`,
	).Replace(string(raw)) + "\naccess_log: access.log\n"
	if w.o.Pair {
		text = strings.Replace(text, "    contract: billing.pact.json\n", "    contract: billing.pact.json\n"+w.pair(), 1)
	}
	if w.o.Isolated {
		text = strings.Replace(text, "    contract: billing.pact.json\n", "    contract: billing.pact.json\n    shadow: {isolated: {url: \"http://"+w.Addr.Isolated+"\", database: \""+w.o.IsolatedDatabase+"\"}}\n", 1)
	}
	if w.o.Edit != nil {
		text = w.o.Edit(text)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// pair is what strangler.yaml says of the scratch pair.
func (w *World) pair() string {
	return fmt.Sprintf("    pair:\n      monolith: {url: %q, database: %q}\n      service: {url: %q, database: %q}\n      headers: {Authorization: \"Bearer ${SHOP_TOKEN}\"}\n",
		"http://"+w.Addr.ScratchMonolith, w.o.ScratchDatabase, "http://"+w.Addr.ScratchBilling, w.o.ScratchBillingDatabase)
}

func (w *World) seed(ctx context.Context, dsn string, size int) error {
	cmd := exec.CommandContext(ctx, filepath.Join(w.o.Bin, "monolith"), "seed", "--database", dsn, "--size", fmt.Sprint(size))
	cmd.Dir = w.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("seed: %w\n%s", err, out)
	}
	return nil
}

func (w *World) startAll(ctx context.Context) error {
	billing := cmp.Or(w.o.Billing, "billing")
	type process struct {
		to   **harness.Process
		name string
		args []string
	}
	all := []process{
		{&w.Monolith, "monolith", []string{"--addr", w.Addr.Monolith, "--database", w.o.Database, "--billing-url", "http://" + w.Addr.Proxy}},
		{&w.Billing, billing, []string{"--addr", w.Addr.Billing, "--database", w.o.BillingDatabase, "--monolith-url", "http://" + w.Addr.Link}},
		{&w.Catalog, "catalog", []string{"--addr", w.Addr.Catalog, "--database", "sqlite:catalog.db"}},
	}
	if w.o.Scratch {
		all = append(all,
			process{&w.ScratchMonolith, "monolith", []string{"--addr", w.Addr.ScratchMonolith, "--database", w.o.ScratchDatabase, "--provider-states"}},
			process{&w.ScratchBilling, billing, []string{"--addr", w.Addr.ScratchBilling, "--database", w.o.ScratchBillingDatabase, "--monolith-url", "http://" + w.Addr.ScratchMonolith, "--provider-states"}},
		)
	}
	if w.o.Isolated {
		all = append(all, process{&w.IsolatedBilling, billing, []string{"--addr", w.Addr.Isolated, "--database", w.o.IsolatedDatabase, "--monolith-url", "http://" + w.Addr.Monolith}})
	}
	for _, p := range all {
		started, err := w.start(ctx, p.name, nil, p.args...)
		if err != nil {
			return err
		}
		*p.to = started
	}
	return w.StartProxy(ctx)
}

// StartProxy starts the strangler, with more environment if need be: after it
// was killed, the next one takes its place.
func (w *World) StartProxy(ctx context.Context, env ...string) error {
	p, err := w.start(ctx, "strangler", env, "serve")
	if err == nil {
		w.Proxy = p
	}
	return err
}

func (w *World) start(ctx context.Context, name string, env []string, args ...string) (*harness.Process, error) {
	return harness.Start(ctx, harness.Command{
		Name: name, Path: filepath.Join(w.o.Bin, name), Args: args, Dir: w.Dir, Log: io.MultiWriter(w.logs, w.o.Log),
		Env: append([]string{"SHOP_TOKEN=" + Token}, env...),
	})
}

// Strangler runs a verb of the command as a user would and returns what it
// printed, both streams together. The error of a verb that said no is an
// *exec.ExitError with its code.
func (w *World) Strangler(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(w.o.Bin, "strangler"), args...)
	cmd.Dir = w.Dir
	cmd.Env = append(cmd.Environ(), "SHOP_TOKEN="+Token)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	return both.String(), err
}

// ScratchDatabases names the databases of the scratch pair, as commands that work
// on a pair expect it.
func (w *World) ScratchDatabases() string {
	return "monolith=" + w.o.ScratchDatabase + ",service=" + w.o.ScratchBillingDatabase
}

// ScratchTargets names its applications likewise.
func (w *World) ScratchTargets() string {
	return "monolith=http://" + w.Addr.ScratchMonolith + ",service=http://" + w.Addr.ScratchBilling
}

// Count runs a query that returns (key, count) on one of the world's databases,
// which are named by their files: shop.db, billing.db and those of the scratch
// pair stand for whatever is in their place.
func (w *World) Count(ctx context.Context, file, query string) (counts map[string]int, err error) {
	driver, name := "sqlite", "file:"+filepath.Join(w.Dir, file)+"?mode=ro&_pragma=busy_timeout(5000)"
	for stands, dsn := range map[string]string{
		"shop.db": w.o.Database, "billing.db": w.o.BillingDatabase,
		"scratch-shop.db": w.o.ScratchDatabase, "scratch-billing.db": w.o.ScratchBillingDatabase,
	} {
		if file == stands && strings.HasPrefix(dsn, "postgres") {
			driver, name = "pgx", dsn
		}
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer rows.Close()
	counts = map[string]int{}
	for rows.Next() {
		var key string
		var n int
		if err := rows.Scan(&key, &n); err != nil {
			return nil, err
		}
		counts[key] = n
	}
	return counts, rows.Err()
}

// stop ends every process.
func (w *World) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var errs []error
	for _, p := range []**harness.Process{&w.Proxy, &w.Billing, &w.Catalog, &w.Monolith, &w.ScratchBilling, &w.ScratchMonolith, &w.IsolatedBilling} {
		if *p != nil {
			errs = append(errs, (*p).Stop(ctx))
			*p = nil
		}
	}
	return errors.Join(errs...)
}

// Close ends every process and removes the folder, unless it is to be kept.
func (w *World) Close(keep bool) error {
	errs := []error{w.stop()}
	if w.logs != nil {
		errs = append(errs, w.logs.Close())
	}
	if keep {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(w.Dir))...)
}
