package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/pair"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// pairDatabases reads monolith=DSN,service=DSN, and refuses the databases that
// serve clients.
func pairDatabases(cfg *config.Config, p *config.Capability, flag, text string) (monolith, service string, err error) {
	dsns := map[string]string{}
	for _, item := range strings.Split(text, ",") {
		name, dsn, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || dsn == "" || name != "monolith" && name != "service" {
			return "", "", &api.Error{Text: fmt.Sprintf("%s %q: accepted is monolith=DSN,service=DSN", flag, item), Code: api.ExitNo}
		}
		dsns[name] = dsn
	}
	if len(dsns) != 2 {
		return "", "", &api.Error{Text: fmt.Sprintf("%s %q: both databases are needed: monolith=DSN,service=DSN", flag, text), Code: api.ExitNo}
	}
	if p.Data == nil {
		return "", "", &api.Error{Text: p.Name + " declares no data, so there is no mapping to compare rows through", Hint: fmt.Sprintf("declare capabilities.%s.data", p.Name), Code: api.ExitNo}
	}
	for _, dsn := range dsns {
		if servesClients(cfg, dsn) {
			return "", "", &api.Error{Text: fmt.Sprintf("%s: that is a database that serves clients", flag), Hint: "start a second monolith and a second service with databases of their own", Code: api.ExitNo}
		}
	}
	return dsns["monolith"], dsns["service"], nil
}

// servesClients reports whether a database is one that strangler.yaml declares,
// however it is written here.
func servesClients(cfg *config.Config, dsn string) bool {
	if sameDatabase(dsn, cfg.Monolith.Database) {
		return true
	}
	return slices.ContainsFunc(cfg.Capabilities, func(p config.Capability) bool { return sameDatabase(dsn, p.Service.Database) })
}

// sameDatabase reports whether two DSNs name one database: one file, by whatever
// path, or one name on one server, whoever logs in.
func sameDatabase(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	pathA, fileA := strings.CutPrefix(a, "sqlite:")
	pathB, fileB := strings.CutPrefix(b, "sqlite:")
	if fileA != fileB {
		return false
	}
	if fileA {
		return sameFile(pathA, pathB)
	}
	serverA, errA := url.Parse(a)
	serverB, errB := url.Parse(b)
	if errA != nil || errB != nil {
		return a == b
	}
	return serverOf(serverA) == serverOf(serverB) && serverA.Path == serverB.Path
}

// serverOf is host and port of a server, this machine's by one name.
func serverOf(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if ip := net.ParseIP(host); host == "" || host == "localhost" || ip != nil && ip.IsLoopback() {
		host = "localhost"
	}
	return net.JoinHostPort(host, cmp.Or(u.Port(), "5432"))
}

// watchEffects has a verification compare what the sides write, if that is
// wanted. The function it returns undoes what it installed.
func (f *verifyFlags) watchEffects(ctx context.Context, cfg *config.Config, p *config.Capability, o *verify.Options) (func() error, error) {
	if f.effects == "" {
		return func() error { return nil }, nil
	}
	if !f.unsafe || len(o.Targets) != 2 {
		return nil, &api.Error{Text: "--effects needs --unsafe and both sides: it is about what requests write", Code: api.ExitNo}
	}
	monolith, service, err := pairDatabases(cfg, p, "--effects", f.effects)
	if err != nil {
		return nil, err
	}
	both, err := pair.Open(ctx, p.Data, monolith, service)
	if err != nil {
		return nil, &api.Error{Text: err.Error(), Hint: "--effects names the databases of the pair that --target names", Code: api.ExitNo}
	}
	if err := both.Watch(ctx); err != nil {
		return nil, errors.Join(err, both.Close())
	}
	o.Effects = effects{both}
	return func() error { return errors.Join(both.Unwatch(ctx), both.Close()) }, nil
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
	all := make([]compare.Difference, len(found))
	for n, d := range found {
		path := "$.rows." + d.Table
		if d.Column != "" {
			path += "." + d.Column
		}
		all[n] = compare.Difference{Path: path, Kind: compare.Value, Expected: d.Monolith, Actual: d.Service}
		switch d.Kind {
		case "missing":
			all[n].Kind = compare.Missing
		case "extra":
			all[n].Kind = compare.Extra
		}
	}
	return all, err
}

func (e *env) dataFillVerb() *cobra.Command {
	var databases string
	cmd := verb("fill CAPABILITY", "Copy an isolated monolith's rows into an isolated service, once",
		`fill prepares a pair of applications of their own, for contracts that write: it copies the
rows of the pair's monolith through the mapping into the empty tables of the pair's service,
sets its key generators, and leaves nothing installed. Databases of a move are refused.

  strangler data fill billing --pair monolith=sqlite:copy.db,service=sqlite:copy-billing.db`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) (err error) {
			cfg, p, err := e.declared(args[0])
			if err != nil {
				return err
			}
			monolith, service, err := pairDatabases(cfg, p, "--pair", databases)
			if err != nil {
				return err
			}
			both, err := pair.Open(cmd.Context(), p.Data, monolith, service)
			if err != nil {
				return &api.Error{Text: err.Error(), Hint: "give each of the two a database of its own, with its application's tables", Code: api.ExitNo}
			}
			defer func() { err = errors.Join(err, both.Close()) }()
			rows := map[string]int64{}
			if err := both.Fill(cmd.Context(), func(p change.Progress) { rows[p.Table] = p.Done }); err != nil {
				return &api.Error{Text: err.Error(), Code: api.ExitNo}
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
		})
	cmd.Flags().StringVar(&databases, "pair", "", "the databases of the pair, monolith=DSN,service=DSN")
	_ = cmd.MarkFlagRequired("pair") // fails only for a flag that is not there
	return cmd
}
