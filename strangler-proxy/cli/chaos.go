package cli

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/spf13/cobra"
	_ "modernc.org/sqlite"

	"stranglerfig/contract-tests/chaos"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) chaosVerb() *cobra.Command {
	cmd := group("chaos", "Break links on purpose and check what clients see")
	cmd.AddCommand(e.chaosRunVerb(), e.chaosListVerb())
	return cmd
}

func (e *env) chaosListVerb() *cobra.Command {
	return verb("list [DIR]", "List the experiments of a folder", "", cobra.MaximumNArgs(1), func(_ *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		if _, err := os.Stat(dir); err != nil {
			return &api.Error{Text: err.Error(), Hint: "name a folder with experiments", Code: api.ExitNo}
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			return err
		}
		type item struct {
			File  string `json:"file"`
			Title string `json:"title,omitempty"`
			Error string `json:"error,omitempty"`
		}
		all := []item{}
		for _, file := range files {
			x, err := chaos.Load(file)
			i := item{File: file, Title: x.Title}
			if err != nil {
				i.Error = err.Error()
			}
			all = append(all, i)
		}
		if e.json {
			e.print(all)
			return nil
		}
		for _, i := range all {
			if i.Error != "" {
				fmt.Fprintf(e.out, "%s: not an experiment: %s\n", i.File, i.Error)
				continue
			}
			fmt.Fprintf(e.out, "%s: %s\n", i.File, i.Title)
		}
		return nil
	})
}

func (e *env) chaosRunVerb() *cobra.Command {
	return verb("run FILE...", "Run experiments against the running strangler",
		"run sends reads and writes through the proxy, breaks a link while they are under way,\nheals it, and checks every write against both databases.", cobra.MinimumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			var reports []chaos.Report
			worst := api.ExitYes
			for _, file := range args {
				r, err := e.experiment(cmd.Context(), file)
				if err != nil {
					return err
				}
				reports = append(reports, r)
				worst = max(worst, exitOf(r.Verdict))
				if !e.json {
					e.chaosReport(r)
				}
			}
			if e.json {
				e.print(reports)
			}
			if worst != api.ExitYes {
				return codeError{worst}
			}
			return nil
		})
}

func exitOf(v chaos.Verdict) int {
	return map[chaos.Verdict]int{chaos.Pass: api.ExitYes, chaos.Fail: api.ExitNo, chaos.Insufficient: api.ExitNotEnough}[v]
}

// experiment runs one file and files its result.
func (e *env) experiment(ctx context.Context, file string) (chaos.Report, error) {
	x, err := chaos.Load(file)
	if err != nil {
		return chaos.Report{}, &api.Error{Text: err.Error(), Hint: "docs/reference/chaos.md describes the fields", Code: api.ExitNo}
	}
	client, cfg, err := e.client()
	if err != nil {
		return chaos.Report{}, err
	}
	p, ok := cfg.Capability(x.Capability)
	if !ok {
		unknown := api.NoCapability(x.Capability, cfg.Names())
		unknown.Text = file + ": " + unknown.Text
		return chaos.Report{}, unknown
	}
	var s api.Status
	if err := client.Get(ctx, "/v1/status", &s); err != nil {
		return chaos.Report{}, err
	}
	run := "chaos-" + rand.Text()[:10]
	r, err := chaos.Run(ctx, x, chaos.Options{
		BaseURL: s.Listen, Injector: injector{client}, Run: run, Expand: os.ExpandEnv,
		Counters: counters(cfg, p, x, run),
		Tell: func(line string) {
			if !e.json {
				fmt.Fprintln(e.out, "  "+line)
			}
		},
	})
	if err != nil {
		return r, err
	}
	return r, e.file(ctx, api.EvidenceRequest{
		Capability: p.Name, Kind: "chaos", Verdict: string(r.Verdict), Config: p.Digest(), By: who(), Details: raw(r),
		Summary: fmt.Sprintf("%s: %d writes, %d lost, %d doubled, %d resurrected", r.Title, r.Writes.Operations, len(r.Writes.Lost), len(r.Writes.Doubled), len(r.Writes.Resurrected)),
	})
}

func (e *env) chaosReport(r chaos.Report) {
	fmt.Fprintf(e.out, "%s: %s\n", r.Title, r.Verdict)
	for _, s := range r.Steps {
		fmt.Fprintf(e.out, "  %s (%s on %s): %d reads, %d writes, %d felt it\n", s.Name, s.Kind, s.Link, s.Reads, s.Writes, s.Affected)
	}
	fmt.Fprintf(e.out, "  writes: %d acknowledged, %d unknown, %d lost, %d doubled, %d resurrected\n", r.Writes.Acked, r.Writes.Unknown, len(r.Writes.Lost), len(r.Writes.Doubled), len(r.Writes.Resurrected))
	for _, why := range r.Why {
		fmt.Fprintf(e.out, "  %s\n", why)
	}
}

// injector breaks links through the admin API.
type injector struct{ client *api.Client }

// leaseSlack is how much longer than its step a fault may last, should this
// process die.
const leaseSlack = 5 * time.Second

// Inject implements [chaos.Injector].
func (i injector) Inject(ctx context.Context, f chaos.Fault) error {
	return i.client.Put(ctx, "/v1/chaos/faults/"+url.PathEscape(f.Link), api.FaultRequest{
		Kind: f.Kind, Delay: f.Delay, Jitter: f.Jitter, Bytes: f.Bytes, Lease: time.Minute + leaseSlack,
	})
}

// Heal implements [chaos.Injector].
func (i injector) Heal(ctx context.Context, link string) error {
	return i.client.Delete(ctx, "/v1/chaos/faults/"+url.PathEscape(link))
}

// counters count an experiment's writes in both databases, by the queries it
// gives.
func counters(cfg *config.Config, p *config.Capability, x chaos.Experiment, run string) map[string]chaos.Counter {
	all := map[string]chaos.Counter{}
	add := func(side, dsn, query string) {
		if dsn != "" && query != "" {
			all[side] = counter(dsn, strings.ReplaceAll(query, "{{run}}", run))
		}
	}
	add("monolith", cfg.Monolith.Database, x.History.Monolith)
	add("service", p.Service.Database, x.History.Service)
	return all
}

func counter(dsn, query string) chaos.Counter {
	return func(ctx context.Context) (counts map[string]int, err error) {
		driver, source := "pgx", dsn
		if path, embedded := strings.CutPrefix(dsn, "sqlite:"); embedded {
			driver, source = "sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(5000)"
		}
		db, err := sql.Open(driver, source)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("the history query: %w", err)
		}
		defer rows.Close()
		counts = map[string]int{}
		for rows.Next() {
			var key string
			var n int
			if err := rows.Scan(&key, &n); err != nil {
				return nil, fmt.Errorf("the history query returns (key, count): %w", err)
			}
			counts[key] += n
		}
		return counts, rows.Err()
	}
}
