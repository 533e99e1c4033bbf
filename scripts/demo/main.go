// Command demo shows the whole story of a strangled monolith in about a
// minute: it builds and starts the real processes on free loopback ports with
// fresh embedded databases, lets clients browse, order and pay, and drives a
// migration under their feet with the very commands a user would type.
//
//	go run ./scripts/demo                 the story, then it keeps running
//	go run ./scripts/demo --once          ends after the story
//	go run ./scripts/demo --once --json   the last line is one JSON object
//
// It exits with 0 only if no acknowledged write was lost, none was doubled or
// resurrected, and no client saw an error that the injected fault does not
// explain. Every number comes from the run.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/contract-tests/shop"
)

func main() {
	once := flag.Bool("once", false, "end after the story")
	asJSON := flag.Bool("json", false, "print one JSON object as the last line")
	size := flag.Int("size", 3000, "invoices to begin with")
	database := flag.String("database", "sqlite", "what the monolith and billing keep their data in: sqlite or postgres (the server that "+harness.PostgresEnv+" names, or one of its own in a container or from local binaries)")
	keep := flag.Bool("keep", false, "keep the folder with databases and logs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, options{*once, *asJSON, *keep, *size, *database})
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if !ok {
		os.Exit(1)
	}
}

type options struct {
	once, json, keep bool
	size             int
	database         string
}

// run performs the story and reports; ok says that everything held.
func run(ctx context.Context, o options) (ok bool, err error) {
	var out io.Writer = os.Stdout
	if o.json {
		out = os.Stderr // stdout is for the object
	}
	fmt.Fprintln(out, "building the monolith, two services and the strangler …")
	bin, err := os.MkdirTemp("", "strangler-bin-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(bin)
	if err := shop.Build(ctx, bin); err != nil {
		return false, err
	}
	databases, drop, err := databases(ctx, o.database)
	if err != nil {
		return false, err
	}
	defer drop()
	w, err := shop.Start(ctx, shop.Options{Bin: bin, Size: o.size, Scratch: true, Pair: true, ScratchSize: o.size,
		Database: databases[0], BillingDatabase: databases[1], ScratchDatabase: databases[2], ScratchBillingDatabase: databases[3]})
	if err != nil {
		return false, err
	}
	defer func() {
		if o.keep {
			fmt.Fprintln(out, "databases and logs are in", w.Dir)
		}
		if closeErr := w.Close(o.keep); err == nil {
			err = closeErr
		}
	}()
	s := &story{w: w, out: out, traffic: newTraffic(w, o.size)}
	report, err := s.tell(ctx)
	report.print(out)
	if o.json {
		line, jsonErr := json.Marshal(report)
		if jsonErr != nil {
			return false, jsonErr
		}
		fmt.Println(string(line))
	}
	if err != nil || o.once || ctx.Err() != nil {
		return report.OK && err == nil, err
	}
	fmt.Fprintf(out, "\nThe shop goes on at %s until Ctrl-C. Look around:\n  cd %s\n  %s/strangler status\n  %s/strangler playbook\n", w.Proxy.URL, w.Dir, bin, bin)
	s.traffic.start(ctx)
	<-ctx.Done()
	s.traffic.stop()
	return report.OK, nil
}

// databases returns the DSNs of four new databases of a kind, the monolith's,
// billing's and those of the scratch pair; embedded ones are made by the
// processes themselves.
func databases(ctx context.Context, kind string) (dsns [4]string, drop func(), err error) {
	drop = func() {}
	switch kind {
	case "sqlite":
		return dsns, drop, nil
	case "postgres":
	default:
		return dsns, drop, fmt.Errorf("--database %q: accepted are sqlite, postgres", kind)
	}
	server, err := harness.Postgres(ctx)
	if err != nil {
		return dsns, drop, err
	}
	drop = server.Stop
	for i, name := range []string{"shop", "billing", "scratch_shop", "scratch_billing"} {
		dsn, dropOne, err := server.Database(ctx, fmt.Sprintf("strangler_demo_%d_%s", os.Getpid(), name))
		if err != nil {
			drop()
			return dsns, func() {}, err
		}
		before := drop
		drop = func() { dropOne(); before() }
		dsns[i] = dsn
	}
	return dsns, drop, nil
}
