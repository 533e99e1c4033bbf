package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/harness"
)

// proxyBench measures our proxy beside others.
type proxyBench struct {
	log         io.Writer // what is going on, for people
	dir         string    // for everything that is started
	binary      string    // of our command
	requests    int
	rounds      int
	connections int
	routes      int           // of ours
	idle        []int         // numbers of idle connections
	calm        time.Duration // over which memory is looked at
	paced       time.Duration // a round of a paced case
	peers       []peer
}

// proxy runs the bench of the HTTP half: the cases of [proxyCases], in each of
// which the same load is sent to our proxy and to others, in turn.
func proxy(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	b := proxyBench{log: errs, routes: 10_000, calm: 3 * time.Second, paced: 5 * time.Second}
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.IntVar(&b.requests, "requests", 50_000, "small requests of each round; there are fewer of larger ones")
	flags.IntVar(&b.rounds, "rounds", 5, "rounds of each proxy")
	flags.IntVar(&b.connections, "connections", 64, "clients, each with a connection of its own")
	names := flags.String("case", "", "only these cases, with commas between them, of "+strings.Join(caseNames(), ", "))
	others := flags.String("peers", strings.Join(peerNames(), ","), "proxies that ours is held against, with commas between them")
	asJSON := flags.Bool("json", false, "print one JSON object a line")
	within := flags.String("dir", "", "`folder` for configs and logs, which are removed at the end (default: the system's for temporary files)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || b.requests < 100 || b.rounds < 1 || b.connections < 1 {
		return errors.New("proxy takes no arguments, --requests of at least 100, --rounds and --connections of at least 1")
	}
	cases, err := chosen("case", *names, proxyCases, func(c proxyCase) string { return c.name })
	if err != nil {
		return err
	}
	if b.peers, err = chosen("peers", *others, peers, func(p peer) string { return p.name }); err != nil {
		return err
	}
	if b.idle, err = idleLevels(1_000, 10_000); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(*within, "strangler-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	return b.run(ctx, cases, out, *asJSON)
}

// build compiles the command as users are told to.
func (b *proxyBench) build(ctx context.Context) error {
	b.binary = filepath.Join(b.dir, ours)
	return harness.Build(ctx, b.dir, map[string]string{ours: "./strangler-proxy"})
}

// run runs the cases and prints each one when it is done, so that a long bench
// that is interrupted has shown what it found.
func (b *proxyBench) run(ctx context.Context, cases []proxyCase, out io.Writer, asJSON bool) error {
	b.say("%s, %d processors", runtime.Version(), runtime.NumCPU())
	var wrong []error
	for _, each := range cases {
		c, err := b.compete(ctx, each)
		if err != nil {
			return fmt.Errorf("%s: %w", each.name, err)
		}
		wrong = append(wrong, c.failed()...)
		show := c.print
		if asJSON {
			show = c.printJSON
		}
		if err := show(out); err != nil {
			return err
		}
	}
	return errors.Join(wrong...)
}

// compete runs one case with its backends.
func (b *proxyBench) compete(ctx context.Context, of proxyCase) (c *contest, err error) {
	w := &caseWorld{proxyBench: b, ctx: ctx}
	defer func() { err = errors.Join(err, w.close()) }()
	if c, err = of.make(w); err != nil {
		return nil, err
	}
	c.name = of.name
	return c, c.run(ctx, b.rounds, b.say)
}

func (b *proxyBench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// chosen picks what a flag lists by name; all, where it lists nothing.
func chosen[T any](flag, list string, all []T, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	var picked []T
	for _, wanted := range strings.Split(list, ",") {
		i := slices.IndexFunc(all, func(t T) bool { return name(t) == wanted })
		if i < 0 {
			var accepted []string
			for _, t := range all {
				accepted = append(accepted, name(t))
			}
			return nil, fmt.Errorf("--%s %q: accepted are %s", flag, wanted, strings.Join(accepted, ", "))
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

func caseNames() []string {
	names := make([]string, len(proxyCases))
	for i, c := range proxyCases {
		names[i] = c.name
	}
	return names
}

func peerNames() []string {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = p.name
	}
	return names
}
