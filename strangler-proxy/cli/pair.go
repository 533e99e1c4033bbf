package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/pair"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
)

// databases are the DSNs of a pair, and what named them, such as --effects.
type databases struct{ by, monolith, service string }

// readDatabases reads what a flag says: monolith=DSN,service=DSN.
func readDatabases(flag, text string) (databases, error) {
	d := databases{by: flag}
	for _, item := range strings.Split(text, ",") {
		name, dsn, ok := strings.Cut(strings.TrimSpace(item), "=")
		switch {
		case ok && dsn != "" && name == "monolith":
			d.monolith = dsn
		case ok && dsn != "" && name == "service":
			d.service = dsn
		default:
			return d, &api.Error{Text: fmt.Sprintf("%s %q: accepted is monolith=DSN,service=DSN", flag, item), Code: api.ExitNo}
		}
	}
	if d.monolith == "" || d.service == "" {
		return d, &api.Error{Text: fmt.Sprintf("%s %q: both databases are needed: monolith=DSN,service=DSN", flag, text), Code: api.ExitNo}
	}
	return d, nil
}

// databasesOf are those that a flag names, or else those of the pair that the
// file declares.
func databasesOf(p *config.Capability, flag, text string) (databases, error) {
	switch {
	case text != "":
		return readDatabases(flag, text)
	case p.Pair == nil:
		return databases{}, noPair(p)
	}
	return databases{by: "pair", monolith: p.Pair.Monolith.Database, service: p.Pair.Service.Database}, nil
}

// watched is a pair whose writes are looked at; the zero value is none.
type watched struct{ pair *pair.Pair }

func (w watched) compared() map[string]int64 {
	if w.pair == nil {
		return nil
	}
	return w.pair.Compared()
}

// end undoes what was installed.
func (w watched) end(ctx context.Context) error {
	if w.pair == nil {
		return nil
	}
	return errors.Join(w.pair.Unwatch(ctx), w.pair.Close())
}

// watchEffects has a verification compare what the sides write, if that is
// wanted; before it the pair's service is filled anew, if that is.
func (f *verifyFlags) watchEffects(ctx context.Context, cfg *config.Config, p *config.Capability, o *verify.Options) (watched, error) {
	if f.effects == "" && (!f.pair || p.Data == nil) {
		return watched{}, nil
	}
	if !f.unsafe || len(o.Targets) != 2 {
		return watched{}, &api.Error{Text: "--effects needs --unsafe and both sides: it is about what requests write", Code: api.ExitNo}
	}
	named, err := databasesOf(p, "--effects", f.effects)
	if err != nil {
		return watched{}, err
	}
	both, err := openPair(ctx, cfg, p, named)
	if err != nil {
		return watched{}, err
	}
	if f.rehearsal {
		if err := errors.Join(both.Empty(ctx), both.Fill(ctx, func(change.Progress) {})); err != nil {
			return watched{}, errors.Join(&api.Error{Text: err.Error(), Hint: "nothing else may write to the pair meanwhile", Code: api.ExitNo}, both.Close())
		}
	}
	if err := both.Watch(ctx); err != nil {
		return watched{}, errors.Join(err, both.Close())
	}
	o.Effects = effects{both}
	return watched{both}, nil
}

// openPair opens the databases of a pair, unless they serve clients.
func openPair(ctx context.Context, cfg *config.Config, p *config.Capability, d databases) (*pair.Pair, error) {
	if p.Data == nil {
		return nil, &api.Error{Text: p.Name + " declares no data, so there is no mapping to compare rows through", Hint: fmt.Sprintf("declare capabilities.%s.data", p.Name), Code: api.ExitNo}
	}
	if cfg.Serves(d.monolith) || cfg.Serves(d.service) {
		return nil, &api.Error{Text: d.by + ": that is a database that serves clients", Hint: "start a second monolith and a second service with databases of their own", Code: api.ExitNo}
	}
	both, err := pair.Open(ctx, p.Data, d.monolith, d.service)
	if err != nil {
		return nil, &api.Error{Text: err.Error(), Hint: "give each of the two a database of its own, with its application's tables", Code: api.ExitNo}
	}
	return both, nil
}

// noPair is returned where a pair is asked for and none is declared.
func noPair(p *config.Capability) error {
	return &api.Error{Text: p.Name + " declares no pair", Hint: fmt.Sprintf("set capabilities.%s.pair, or name it with flags", p.Name), Code: api.ExitNo}
}

// effects says a pair's differences in the comparator's words.
type effects struct{ *pair.Pair }

// Mark implements verify.Effects.
func (e effects) Mark(ctx context.Context, target string) error {
	return e.Pair.Mark(ctx, change.Side(target))
}

// Differences implements verify.Effects.
func (e effects) Differences(ctx context.Context) ([]compare.Difference, error) {
	found, err := e.Effects(ctx)
	return control.RowDifferences(found), err
}

func (e *env) dataFillVerb() *cobra.Command {
	var databases string
	var anew bool
	cmd := verb("fill CAPABILITY", "Copy an isolated monolith's rows into an isolated service",
		`fill prepares a pair of applications of their own, for contracts that write: it copies the
rows of the pair's monolith through the mapping into the empty tables of the pair's service,
sets its key generators, and leaves nothing installed. Databases of a move are refused.
Without --pair it is the pair that the file declares.

  strangler data fill billing --pair monolith=sqlite:copy.db,service=sqlite:copy-billing.db`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error { return e.fill(cmd.Context(), args[0], databases, anew) })
	cmd.Flags().StringVar(&databases, "pair", "", "the databases of the pair, monolith=DSN,service=DSN")
	cmd.Flags().BoolVar(&anew, "anew", false, "empty the service's mapped tables before")
	return cmd
}

func (e *env) fill(ctx context.Context, capability, databases string, anew bool) (err error) {
	cfg, p, err := e.declared(capability)
	if err != nil {
		return err
	}
	named, err := databasesOf(p, "--pair", databases)
	if err != nil {
		return err
	}
	both, err := openPair(ctx, cfg, p, named)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, both.Close()) }()
	if anew {
		if err := both.Empty(ctx); err != nil {
			return &api.Error{Text: err.Error(), Code: api.ExitNo}
		}
	}
	rows := map[string]int64{}
	if err := both.Fill(ctx, func(p change.Progress) { rows[p.Table] = p.Done }); err != nil {
		return &api.Error{Text: err.Error(), Hint: "--anew empties the tables of the pair's service before", Code: api.ExitNo}
	}
	if e.json {
		e.print(map[string]any{"capability": p.Name, "rows": rows})
		return nil
	}
	var sum int64
	for _, n := range rows {
		sum += n
	}
	fmt.Fprintf(e.out, "%s: %d rows of %d tables are in the pair's service, and nothing was left installed\n", p.Name, sum, len(p.Data.Tables))
	return nil
}
