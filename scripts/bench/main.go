// Command bench measures what this toolkit costs, beside the plain way of
// doing the same thing, in one run and with interleaved rounds.
//
//	go run ./scripts/bench alarms [--comparisons 100000] [--seed 1] [--json]
//	go run ./scripts/bench compare [--rounds 5] [--each 300ms] [--json]
//	go run ./scripts/bench data [--rows 1000000] [--rounds 3] [--json]
//	go run ./scripts/bench data --database postgres [--rows 5000000] [--case copy,verify,decode,apply,pause]
//	go run ./scripts/bench proxy [--case json,tls] [--peers nginx,haproxy] [--requests 20000] [--rounds 5] [--json]
//
// It must be started inside the repository: it reads the shop's schema files
// and its strangler.yaml, and builds the command, so that what is measured is
// what users run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
)

// benches by the word that starts them.
var benches = map[string]func(ctx context.Context, args []string, out, errs io.Writer) error{
	"alarms":  alarms,
	"compare": comparisons,
	"data":    data,
	"proxy":   proxy,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run starts a bench, or one step or server of it when the program started
// itself.
func run(ctx context.Context, args []string) int {
	if len(args) == 1 && args[0] == stepWord {
		return report(serveStep(ctx, os.Stdin, os.Stdout))
	}
	if len(args) == 2 && args[0] == serveWord {
		return report(serveRole(ctx, args[1], os.Stdout))
	}
	if len(args) > 0 {
		if bench, ok := benches[args[0]]; ok {
			return report(bench(ctx, args[1:], os.Stdout, os.Stderr))
		}
	}
	names := make([]string, 0, len(benches))
	for name := range benches {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: bench <%s> [flags]; bench <name> --help lists the flags\n", strings.Join(names, "|"))
	return 2
}

func report(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}
