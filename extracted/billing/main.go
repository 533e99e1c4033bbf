// Command billing is the invoices and payments that once were part of the
// shop, as a service of its own.
//
//	billing [serve] --addr 127.0.0.1:9102 --database sqlite:billing.db --monolith-url http://127.0.0.1:9000
//	billing migrate --database sqlite:billing.db
//
// The environment variable SHOP_TOKEN is the token of other services.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"stranglerfig/extracted/billing/app"
	"stranglerfig/extracted/billing/storage"
	"stranglerfig/extracted/billing/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run does what the arguments say and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	verbs := map[string]func(context.Context, *flag.FlagSet, []string, io.Writer, io.Writer) error{
		"serve": serve, "migrate": migrate,
	}
	verb := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	do, ok := verbs[verb]
	if !ok {
		fmt.Fprintf(stderr, "unknown verb %q: use serve or migrate\n", verb)
		return 2
	}
	flags := flag.NewFlagSet("billing "+verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	err := do(ctx, flags, args, stdout, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(stderr, "billing:", err)
	return 1
}

// errUsage is a bad flag, which the flag package has already explained.
var errUsage = errors.New("bad usage")

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(flags.Output(), "unexpected argument %q\n", flags.Arg(0))
		return errUsage
	}
	return nil
}

func databaseFlag(flags *flag.FlagSet) *string {
	return flags.String("database", "sqlite:billing.db", "sqlite:<path> or postgres://user:password@host/name")
}

func serve(ctx context.Context, flags *flag.FlagSet, args []string, stdout, stderr io.Writer) error {
	addr := flags.String("addr", "127.0.0.1:9102", "address to listen on; port 0 picks a free one")
	database := databaseFlag(flags)
	monolithURL := flags.String("monolith-url", "http://127.0.0.1:9000", "where customers and their sessions are known")
	states := flags.Bool("provider-states", false, "let contract tests set data up by POST /_states")
	if err := parse(flags, args); err != nil {
		return err
	}
	service, err := app.Open(ctx, app.Options{
		Database:       *database,
		Token:          cmp.Or(os.Getenv("SHOP_TOKEN"), "dev-token"),
		MonolithURL:    strings.TrimSuffix(*monolithURL, "/"),
		ProviderStates: *states,
		Log:            slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	err = web.Serve(ctx, *addr, service.Handler(), stdout)
	return errors.Join(err, service.Close())
}

func migrate(ctx context.Context, flags *flag.FlagSet, args []string, _, _ io.Writer) error {
	database := databaseFlag(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	return storage.Migrate(ctx, *database)
}
