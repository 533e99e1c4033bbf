// Package cli is the command strangler: its verbs, what they print, and the
// codes they exit with. Most verbs ask the running `strangler serve` over its
// admin API; check, init and contract verify work without one.
//
// Start at [Main].
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
)

// exitCodes is printed by help and is all there is to know about them.
const exitCodes = `Exit codes of every verb:
  0  yes, done
  1  no: refused, failed its check, or the input is wrong
  2  not enough evidence to say yes
  3  the tool itself could not do its work`

// env is what the verbs share.
type env struct {
	out, err io.Writer
	config   string
	json     bool
}

// Main runs the command and returns its exit code.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e := &env{out: out, err: errOut}
	root := e.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return api.ExitYes
	}
	e.json = e.json || slices.Contains(args, "--json") // a line that cannot be read has set no flags
	return e.fail(err)
}

func (e *env) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "strangler",
		Short: "Move a monolith's routes and data to services, one at a time",
		Long:  "strangler stands in front of a monolith and moves its routes, and the data\nbehind them, to extracted services: reversibly, by evidence, without an outage.\n\n" + exitCodes,
		// Errors are printed by fail, with their hints.
		SilenceErrors: true, SilenceUsage: true,
	}
	root.PersistentFlags().StringVarP(&e.config, "config", "c", "strangler.yaml", "the config file")
	root.PersistentFlags().BoolVar(&e.json, "json", false, "print for machines: one JSON document")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(misflagged)
	root.AddCommand(
		e.initVerb(), e.serveVerb(), e.checkVerb(), e.explainVerb(), e.routesVerb(), e.statusVerb(), e.ownVerb(), e.overrideVerb(),
		e.dataVerb(), e.canCutoverVerb(), e.switchVerb("cutover"), e.switchVerb("rollback"), e.contractVerb(), e.shadowVerb(), e.chaosVerb(), e.playbookVerb(), e.ledgerVerb(), e.evidenceVerb(),
	)
	return root
}

// codeError carries an exit code for an error that has been printed already.
type codeError struct{ code int }

func (c codeError) Error() string { return fmt.Sprintf("exit code %d", c.code) }

// fail prints an error with its hints and returns its exit code.
func (e *env) fail(err error) int {
	var printed codeError
	if errors.As(err, &printed) {
		return printed.code
	}
	doc := explainError(err, e.config)
	if e.json {
		e.print(doc)
		return doc.Code
	}
	fmt.Fprintf(e.err, "error: %s\n", doc.Text)
	if doc.Hint != "" {
		fmt.Fprintf(e.err, "hint: %s\n", doc.Hint)
	}
	return doc.Code
}

// explainError gives every error a hint and a code.
func explainError(err error, path string) *api.Error {
	var known *api.Error
	var bad *config.Error
	var locked *ledger.LockedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &bad):
		return &api.Error{Text: fmt.Sprintf("%s is not valid; nothing was changed\n%s", path, bad), Code: api.ExitNo}
	case errors.As(err, &locked):
		return &api.Error{Text: locked.Error(), Hint: "only one strangler serves from one state; stop the other one, or set another state: in strangler.yaml", Code: api.ExitFailed}
	case errors.Is(err, api.ErrNotRunning):
		return &api.Error{Text: err.Error(), Hint: "start it: strangler serve -c " + path, Code: api.ExitFailed}
	case errors.Is(err, os.ErrNotExist) && strings.Contains(err.Error(), "read the config"):
		return &api.Error{Text: err.Error(), Hint: "name the file with -c, or write a first one: strangler init --monolith URL", Code: api.ExitFailed}
	case strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "unknown flag"), strings.HasPrefix(err.Error(), "invalid argument"), strings.HasPrefix(err.Error(), "required flag"):
		return &api.Error{Text: err.Error(), Hint: "strangler help", Code: api.ExitNo}
	}
	return &api.Error{Text: err.Error(), Code: api.ExitFailed}
}

// print writes one JSON document.
func (e *env) print(v any) {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		fmt.Fprintln(e.err, err)
	}
}

// load reads the config.
func (e *env) load() (*config.Config, error) { return config.Load(e.config) }

// client connects to the strangler that serves the config.
func (e *env) client() (*api.Client, *config.Config, error) {
	cfg, err := e.loadForClient()
	if err != nil {
		return nil, nil, err
	}
	token, err := control.Token(cfg)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w at %s", api.ErrNotRunning, cfg.Admin.Listen)
	}
	if err != nil {
		return nil, nil, err
	}
	return &api.Client{Base: "http://" + cfg.Admin.Listen, Token: token}, cfg, nil
}

// loadForClient reads the config. A file that is bad at the moment must not
// keep a person from asking the server that still runs by the last good one.
func (e *env) loadForClient() (*config.Config, error) {
	cfg, err := e.load()
	var bad *config.Error
	if !errors.As(err, &bad) {
		return cfg, err
	}
	lenient, lenientErr := config.Frame(e.config)
	if lenientErr != nil {
		return nil, err
	}
	return lenient, nil
}

// who names the person at the keyboard for the ledger.
func who() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// group makes a command that only holds verbs.
func group(name, short string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		var verbs []string
		for _, c := range cmd.Commands() {
			verbs = append(verbs, c.Name())
		}
		text := name + " needs a verb"
		if len(args) > 0 {
			text = fmt.Sprintf("%q is not a verb of %s", args[0], name)
		}
		return &api.Error{Text: text, Hint: "its verbs are: " + strings.Join(verbs, ", "), Code: api.ExitNo}
	}}
}

// verb makes a command whose errors end in hints.
func verb(use, short, long string, args cobra.PositionalArgs, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: long, Args: takes(use, args), RunE: run}
}

// takes says what a verb takes where it was given something else.
func takes(use string, args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if args(cmd, given) == nil {
			return nil
		}
		_, wanted, ok := strings.Cut(use, " ")
		if !ok {
			wanted = "no arguments"
		}
		got := "none"
		if len(given) > 0 {
			got = fmt.Sprintf("%q", given)
		}
		return &api.Error{
			Text: fmt.Sprintf("%s takes %s, and was given %s", cmd.CommandPath(), wanted, got),
			Hint: "what has spaces in it needs quotes; " + cmd.CommandPath() + " --help", Code: api.ExitNo,
		}
	}
}

// parsed are the ways in which flags' values are refused by what reads them, and
// what is accepted instead.
var parsed = []struct {
	refused  *regexp.Regexp
	accepted string
}{
	{regexp.MustCompile(`strconv\.Parse(Uint|Int): .*$`), "accepted are whole numbers"},
	{regexp.MustCompile(`strconv\.ParseBool: .*$`), "accepted are true and false"},
	{regexp.MustCompile(`time: .*duration.*$`), "accepted are durations such as 10s, 5m or 1h30m"},
}

// misflagged is the error of a flag that there is not, or whose value cannot be
// read.
func misflagged(cmd *cobra.Command, err error) error {
	text := err.Error()
	for _, p := range parsed {
		text = p.refused.ReplaceAllLiteralString(text, p.accepted)
	}
	return &api.Error{Text: text, Hint: cmd.CommandPath() + " --help lists the flags", Code: api.ExitNo}
}
