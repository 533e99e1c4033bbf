package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/report"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// verifyFlags are the flags of contract verify.
type verifyFlags struct {
	contract, target string
	headers          []string
	unsafe, states   bool
	teardown         bool
	statesURL        []string
	strict           bool
	concurrency      int
	rates            []string
	seed             uint64
	effects          string
	pair             bool // on the declared pair
	rehearsal        bool // only what writes, on a pair whose service is filled anew
	openapi          string
	reportFlags
}

func (e *env) contractVerifyVerb() *cobra.Command {
	var f verifyFlags
	cmd := verb("verify CAPABILITY", "Check the contract on the monolith and on the service",
		`verify replays the contract against both sides and tells a service's bug from a
contract that is wrong or stale. The result is filed as evidence.

Without --unsafe only requests that read are sent. That is evidence enough for moving
reads; a cutover also asks that the others were exercised. Interactions that write belong on a pair of applications set up for
that, with databases of their own:

  strangler contract verify billing --unsafe --states \
      --target monolith=http://127.0.0.1:9900,service=http://127.0.0.1:9901`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error { return e.verifyContract(cmd.Context(), args[0], f) })
	cmd.Flags().StringVar(&f.contract, "contract", "", "the contract file; default the one in strangler.yaml")
	cmd.Flags().StringVar(&f.target, "target", "monolith,service", "the sides to ask, each NAME or NAME=URL")
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "a header for every request, \"Name: value\" or \"TARGET/Name: value\"; ${NAME} is taken from the environment")
	cmd.Flags().BoolVar(&f.unsafe, "unsafe", false, "send requests that write as well")
	cmd.Flags().BoolVar(&f.states, "states", false, "set up provider states by POST /_states")
	cmd.Flags().StringSliceVar(&f.statesURL, "states-url", nil, "where states are set up instead: a path, a URL, or TARGET=URL; implies --states")
	cmd.Flags().BoolVar(&f.teardown, "teardown", false, "undo provider states afterwards; implies --states")
	cmd.Flags().IntVar(&f.concurrency, "concurrency", 0, "interactions at a time, default 4; with --unsafe or --states always 1")
	cmd.Flags().StringSliceVar(&f.rates, "rate", nil, "requests a second at most, for each side or as TARGET=N")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "draw the generators' values as an earlier run did; default at random")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "compare the two sides without the contract's rules")
	cmd.Flags().StringVar(&f.effects, "effects", "", "also compare what the sides write into their databases, monolith=DSN,service=DSN; needs --unsafe and an isolated pair")
	cmd.Flags().BoolVar(&f.pair, "pair", false, "on the pair that the file declares: with its addresses, headers and databases, and --unsafe and --states")
	cmd.MarkFlagsMutuallyExclusive("pair", "target")
	cmd.MarkFlagsMutuallyExclusive("pair", "effects")
	cmd.Flags().StringVar(&f.openapi, "openapi", "", "hold requests and answers against this OpenAPI description as well")
	f.reports(cmd)
	return cmd
}

func (e *env) verifyContract(ctx context.Context, capability string, f verifyFlags) error {
	cfg, p, err := e.declared(capability)
	if err != nil {
		return err
	}
	if err := f.destinations(e.config, p.Contract, f.contract, f.openapi); err != nil {
		return err
	}
	r, err := e.replay(ctx, cfg, p, f)
	if err != nil {
		return err
	}
	return e.judged(r.run)
}

// replayed is a contract that was replayed on both sides, and stored.
type replayed struct {
	run     report.Run
	targets []verify.Target
	rows    map[string]int64 // whose effects were compared, by the service's tables
}

// replay replays a contract, files the result, and stores it.
func (e *env) replay(ctx context.Context, cfg *config.Config, p *config.Capability, f verifyFlags) (replayed, error) {
	var r replayed
	c, path, err := contractOf(p, f.contract)
	if err != nil {
		return r, err
	}
	if f.rehearsal {
		if c, err = verify.Writing(c); err != nil {
			return r, err
		}
	}
	if r.targets, err = f.complete(cfg, p); err != nil {
		return r, err
	}
	d, err := description(f.openapi)
	if err != nil {
		return r, err
	}
	o := verify.Options{Contract: c, Targets: r.targets, Unsafe: f.unsafe, States: f.states, Teardown: f.teardown,
		Strict: f.strict, Concurrency: f.concurrency, Seed: f.seed, Description: d}
	watched, err := f.watchEffects(ctx, cfg, p, &o)
	if err != nil {
		return r, err
	}
	r.run = report.Run{At: time.Now(), Capability: p.Name, Contract: path}
	r.run.Report, err = verify.Run(ctx, o)
	r.rows = watched.compared()
	if err = errors.Join(err, watched.end(ctx)); err != nil {
		return r, err
	}
	if f.rehearsal {
		r.run.Filed = "part of a rehearsal: only what writes was exercised"
		return r, e.keep(cfg, r.run, f.reportFlags)
	}
	if r.run.Filed, err = e.fileContract(ctx, cfg, p, path, r.targets, r.run.Report); err != nil {
		return r, err
	}
	return r, e.keep(cfg, r.run, f.reportFlags)
}

// judged shows a verification and exits as it says.
func (e *env) judged(run report.Run) error {
	if err := e.tell(run); err != nil {
		return err
	}
	if code := run.Report.ExitCode(); code != 0 {
		if len(run.Report.ShutOut()) > 0 && !e.json {
			fmt.Fprintln(e.err, "hint: the sides ask for credentials: -H 'Authorization: Bearer ${TOKEN}', or for one side -H 'service/Authorization: …'")
		}
		return codeError{code}
	}
	return nil
}

// declared finds a capability that the config declares.
func (e *env) declared(name string) (*config.Config, *config.Capability, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, nil, err
	}
	p, ok := cfg.Capability(name)
	if !ok {
		return nil, nil, api.NoCapability(name, cfg.Names())
	}
	return cfg, p, nil
}

// contractOf reads the contract that a capability declares, or another one.
func contractOf(p *config.Capability, path string) (contract.Contract, string, error) {
	if path == "" {
		path = p.Contract
	}
	if path == "" {
		return contract.Contract{}, "", &api.Error{Text: p.Name + " declares no contract", Hint: fmt.Sprintf("strangler contract record %s --out %s.pact.json, then set capabilities.%s.contract", p.Name, p.Name, p.Name), Code: api.ExitNotEnough}
	}
	c, err := contract.Load(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return c, path, &api.Error{Text: "the contract " + path + " does not exist", Hint: fmt.Sprintf("strangler contract record %s --out %s", p.Name, path), Code: api.ExitNotEnough}
	case err != nil:
		hint := "repair the file; nothing was sent"
		if aboutMessages(err) {
			hint = "nothing was sent; leave out what is not about HTTP: strangler contract import " + path + " --skip-messages --out FILE"
		}
		return c, path, &api.Error{Text: err.Error(), Hint: hint, Code: api.ExitNo}
	}
	return c, path, nil
}
