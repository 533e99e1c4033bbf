// Command monolith is the example's shop: catalog, customers, orders and
// billing in one process on one database.
//
//	monolith [serve] --addr 127.0.0.1:9000 --database sqlite:shop.db
//	monolith migrate --database sqlite:shop.db
//	monolith seed    --database sqlite:shop.db --size 1000
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

	"stranglerfig/monolith/app"
	"stranglerfig/monolith/seed"
	"stranglerfig/monolith/storage"
	"stranglerfig/monolith/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run does what the arguments say and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	verbs := map[string]func(context.Context, *flag.FlagSet, []string, io.Writer, io.Writer) error{
		"serve": serve, "migrate": migrate, "seed": fill,
	}
	verb := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	do, ok := verbs[verb]
	if !ok {
		fmt.Fprintf(stderr, "unknown verb %q: use serve, migrate or seed\n", verb)
		return 2
	}
	flags := flag.NewFlagSet("monolith "+verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	err := do(ctx, flags, args, stdout, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(stderr, "monolith:", err)
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
	return flags.String("database", "sqlite:shop.db", "sqlite:<path> or postgres://user:password@host/name")
}

func serve(ctx context.Context, flags *flag.FlagSet, args []string, stdout, stderr io.Writer) error {
	addr := flags.String("addr", "127.0.0.1:9000", "address to listen on; port 0 picks a free one")
	database := databaseFlag(flags)
	billingURL := flags.String("billing-url", "", "where to have orders invoiced (default: in this process)")
	states := flags.Bool("provider-states", false, "let contract tests set data up by POST /_states")
	if err := parse(flags, args); err != nil {
		return err
	}
	shop, err := app.Open(ctx, app.Options{
		Database:       *database,
		Token:          cmp.Or(os.Getenv("SHOP_TOKEN"), "dev-token"),
		BillingURL:     strings.TrimSuffix(*billingURL, "/"),
		ProviderStates: *states,
		Log:            slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	err = web.Serve(ctx, *addr, shop.Handler(), stdout, shop.Stop)
	return errors.Join(err, shop.Close())
}

func migrate(ctx context.Context, flags *flag.FlagSet, args []string, _, _ io.Writer) error {
	database := databaseFlag(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	return storage.Migrate(ctx, *database)
}

func fill(ctx context.Context, flags *flag.FlagSet, args []string, stdout, _ io.Writer) error {
	database := databaseFlag(flags)
	size := flags.Int("size", 1000, "number of invoices")
	number := flags.Uint64("seed", 1, "which of the possible shops to make")
	if err := parse(flags, args); err != nil {
		return err
	}
	summary, err := seed.Fill(ctx, *database, *size, *number)
	if err == nil {
		fmt.Fprintln(stdout, summary)
	}
	return err
}
