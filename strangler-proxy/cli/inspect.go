package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/proxy"
)

func (e *env) checkVerb() *cobra.Command {
	return verb("check", "Check strangler.yaml and list every problem", "check reads the file as serve would, without serving.", cobra.NoArgs,
		func(*cobra.Command, []string) error {
			cfg, err := e.load()
			if err != nil {
				return err
			}
			tables := 0
			for _, p := range cfg.Capabilities {
				if p.Data != nil {
					tables += len(p.Data.Tables)
				}
			}
			warnings := cfg.Warnings()
			if e.json {
				e.print(map[string]any{"ok": true, "capabilities": len(cfg.Capabilities), "routes": len(cfg.AllRoutes()), "tables": tables, "warnings": warnings})
				return nil
			}
			fmt.Fprintf(e.out, "%s is valid: %s, %s, %s\n", e.config, numbered(len(cfg.Capabilities), "capability", "capabilities"), numbered(len(cfg.AllRoutes()), "route", "routes"), numbered(tables, "table", "tables"))
			for _, w := range warnings {
				fmt.Fprintf(e.out, "warning: %s:%d: %s\n  hint: %s\n", filepath.Base(e.config), w.Line, w.Text, w.Hint)
			}
			return nil
		})
}

func (e *env) explainVerb() *cobra.Command {
	var asked question
	cmd := verb("explain METHOD PATH", "Say who would answer a request, and why",
		`explain asks the running strangler to decide about a request without sending it.

  strangler explain GET /products/7 -H 'X-Version: 2' --cookie shop_session=abc --query kind=a`, cobra.ExactArgs(2),
		func(cmd *cobra.Command, args []string) error {
			client, _, err := e.client()
			if err != nil {
				return err
			}
			q, err := asked.request(args[0], args[1])
			if err != nil {
				return err
			}
			var x proxy.Explanation
			if err := client.Post(cmd.Context(), "/v1/explain", q, &x); err != nil {
				return err
			}
			if e.json {
				e.print(x)
				return nil
			}
			if x.Refused != "" {
				fmt.Fprintf(e.out, "refused with 400: %s\n", x.Refused)
				return codeError{api.ExitNo}
			}
			fmt.Fprintf(e.out, "%s %s → the %s (%s)\n", q.Method, x.Path, x.Decision.Side, x.URL)
			if x.Route != "" {
				fmt.Fprintf(e.out, "  route:  %s (%s, %s)\n", x.Route, x.Capability, x.Owner)
			}
			fmt.Fprintf(e.out, "  reason: %s\n", x.Decision.Reason)
			if x.Override != "" {
				fmt.Fprintf(e.out, "  override: %s\n", x.Override)
			}
			for _, p := range x.Passed {
				fmt.Fprintf(e.out, "  passed over: %s\n", p)
			}
			return nil
		})
	cmd.Flags().StringArrayVarP(&asked.headers, "header", "H", nil, "a header of the request, \"Name: value\"; may be repeated")
	cmd.Flags().StringArrayVar(&asked.cookies, "cookie", nil, "a cookie of the request, NAME=VALUE; may be repeated")
	cmd.Flags().StringArrayVar(&asked.query, "query", nil, "a query parameter of the request, NAME or NAME=VALUE, which is escaped; may be repeated")
	cmd.Flags().StringVar(&asked.host, "host", "localhost", "the Host of the request")
	return cmd
}

// question is what explain is told about a request by flags.
type question struct {
	host                    string
	headers, cookies, query []string
}

// request puts the question together.
func (q *question) request(method, target string) (api.ExplainRequest, error) {
	out := api.ExplainRequest{Method: strings.ToUpper(method), Target: target, Host: q.host, Headers: map[string][]string{}}
	for _, h := range q.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return out, &api.Error{Text: fmt.Sprintf("-H %q: expected \"Name: value\"", h), Code: api.ExitNo}
		}
		out.Headers[strings.TrimSpace(name)] = append(out.Headers[strings.TrimSpace(name)], strings.TrimSpace(value))
	}
	for _, c := range q.cookies {
		if name, _, ok := strings.Cut(c, "="); !ok || name == "" {
			return out, &api.Error{Text: fmt.Sprintf("--cookie %q: expected NAME=VALUE", c), Code: api.ExitNo}
		}
	}
	if len(q.cookies) > 0 {
		out.Headers["Cookie"] = append(out.Headers["Cookie"], strings.Join(q.cookies, "; "))
	}
	before := "?"
	if strings.Contains(target, "?") {
		before = "&"
	}
	for _, parameter := range q.query {
		name, value, given := strings.Cut(parameter, "=")
		out.Target += before + url.QueryEscape(name)
		if given {
			out.Target += "=" + url.QueryEscape(value)
		}
		before = "&"
	}
	return out, nil
}

func (e *env) routesVerb() *cobra.Command {
	return verb("routes", "List the routes with their wanted and actual owners", "", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		s, err := e.status(cmd)
		if err != nil {
			return err
		}
		if e.json {
			var all []api.Route
			for _, c := range s.Capabilities {
				all = append(all, c.Routes...)
			}
			e.print(all)
			return nil
		}
		e.table([]string{"ROUTE", "CAPABILITY", "WANTED", "ACTUAL", "WHY"}, func(row func(...string)) {
			for _, c := range s.Capabilities {
				for _, r := range c.Routes {
					row(r.ID, r.Capability, r.Wanted, r.Actual, r.Why)
				}
			}
		})
		return nil
	})
}

func (e *env) status(cmd *cobra.Command) (api.Status, error) {
	var s api.Status
	client, _, err := e.client()
	if err != nil {
		return s, err
	}
	return s, client.Get(cmd.Context(), "/v1/status", &s)
}

// table prints aligned columns.
func (e *env) table(header []string, fill func(row func(...string))) {
	w := tabwriter.NewWriter(e.out, 0, 4, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t")) }
	row(header...)
	fill(row)
	w.Flush()
}

func (e *env) statusVerb() *cobra.Command {
	return verb("status [CAPABILITY]", "Show where everything stands", "", cobra.MaximumNArgs(1), func(cmd *cobra.Command, args []string) error {
		s, err := e.status(cmd)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			if s.Capabilities, err = only(s.Capabilities, args[0]); err != nil {
				return err
			}
		}
		if e.json {
			e.print(s)
			return nil
		}
		fmt.Fprintf(e.out, "serving %s by %s (pid %d) since %s\n", s.Listen, s.Config, s.PID, s.Since.Local().Format(time.DateTime))
		if s.Problem != "" {
			fmt.Fprintf(e.out, "the file on disk is NOT in force:\n%s\n", indent(s.Problem))
		}
		if len(args) == 0 {
			e.backends(s.Backends)
		}
		for _, c := range s.Capabilities {
			e.capability(c)
		}
		return nil
	})
}

func only(all []api.Capability, name string) ([]api.Capability, error) {
	var names []string
	for _, c := range all {
		if c.Name == name {
			return []api.Capability{c}, nil
		}
		names = append(names, c.Name)
	}
	return nil, api.NoCapability(name, names)
}

// numbered says how many there are of something.
func numbered(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

func (e *env) capability(c api.Capability) {
	fmt.Fprintf(e.out, "\n%s  (service %s: %s)\n", c.Name, c.Service, c.Health.Text)
	if d := c.Data; d != nil {
		fmt.Fprintf(e.out, "  data: %s, owned by the %s at epoch %d, %d behind", d.State, d.Owner, d.Epoch, d.Lag)
		if c.Held > 0 {
			fmt.Fprintf(e.out, ", %d writes held", c.Held)
		}
		fmt.Fprintln(e.out)
		if d.Problem != "" {
			fmt.Fprintf(e.out, "  problem: %s\n", d.Problem)
		}
	}
	for _, r := range c.Routes {
		line := fmt.Sprintf("  %-40s %s", r.ID, r.Actual)
		if r.Wanted != r.Actual {
			line += fmt.Sprintf("  (wanted %s: %s)", r.Wanted, r.Why)
		}
		fmt.Fprintln(e.out, line)
	}
	for _, s := range c.Shadow {
		fmt.Fprintf(e.out, "  shadow %s, %s: %d compared, %d differ, %d incomparable, %d dropped; %s\n", s.Route, s.Direction, s.Compared, s.Mismatched, s.Incomparable, s.Dropped, stopText(s))
		if s.Latency.Verdict == "slower" {
			fmt.Fprintf(e.out, "    the service is %s\n", latencyWords(s.Latency))
		}
		for _, d := range s.Differences {
			fmt.Fprintf(e.out, "    %s  %d× %s at %s: the monolith says %s, the service %s (%s)\n", d.ID, d.Times, d.Kind, d.Path, nothing(d.Expected), nothing(d.Actual), d.Example)
		}
	}
	if k := c.Calibration; k != nil {
		fmt.Fprintf(e.out, "  calibration: the monolith differs from itself in %d places%s\n", len(k.Learned), parenthesis(k.Void))
	}
	for _, g := range c.Gates {
		fmt.Fprintf(e.out, "  gate %-10s %-8s %s\n", g.Gate, g.Verdict, g.Text)
	}
}

// parenthesis sets a remark apart, if there is one.
func parenthesis(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func (e *env) playbookVerb() *cobra.Command {
	return verb("playbook [CAPABILITY]", "Show the ladder, where a capability stands, and the next command", "", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			client, cfg, err := e.client()
			if err != nil {
				return err
			}
			names := cfg.Names()
			if len(args) == 1 {
				names = args
			}
			var books []api.Playbook
			for _, name := range names {
				var book api.Playbook
				if err := client.Get(cmd.Context(), "/v1/playbook/"+url.PathEscape(name), &book); err != nil {
					return err
				}
				books = append(books, book)
			}
			if e.json {
				e.print(books)
				return nil
			}
			for i, book := range books {
				if i > 0 {
					fmt.Fprintln(e.out)
				}
				e.playbook(book)
			}
			return nil
		})
}

var marks = map[string]string{"done": "✓", "next": "→", "later": "·"}

func (e *env) playbook(book api.Playbook) {
	fmt.Fprintln(e.out, book.Capability)
	for _, s := range book.Steps {
		line := "  " + marks[s.State] + " " + s.Name
		if s.Text != "" && s.State != "later" {
			line += " (" + s.Text + ")"
		}
		fmt.Fprintln(e.out, line)
	}
	if book.Command == "" {
		return
	}
	if len(book.Needs) > 0 {
		fmt.Fprintln(e.out, "the next step still needs:")
		for _, n := range book.Needs {
			fmt.Fprintf(e.out, "  %s: %s\n", n.Gate, n.Text)
			if n.Command != "" {
				fmt.Fprintf(e.out, "    %s\n", n.Command)
			}
		}
	}
	fmt.Fprintf(e.out, "next: %s\n", book.Command)
}

func (e *env) ledgerVerb() *cobra.Command {
	cmd := verb("ledger [CAPABILITY]", "Print the audit trail", "The ledger is read from the state's folder, whether a strangler serves or not.", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			l, err := e.openLedger()
			if err != nil {
				return err
			}
			defer l.Close()
			filter := ledger.Filter{}
			if len(args) == 1 {
				filter.Capability = args[0]
			}
			entries, err := l.Entries(cmd.Context(), filter)
			if err != nil {
				return err
			}
			if len(entries) == 0 && len(args) == 1 {
				return &api.Error{Text: fmt.Sprintf("the ledger holds nothing about %q", args[0]), Code: api.ExitNo}
			}
			if e.json {
				e.print(control.Entries(entries))
				return nil
			}
			e.table([]string{"SEQ", "AT", "CAPABILITY", "KIND", "BY", "WHAT"}, func(row func(...string)) {
				for _, n := range entries {
					row(fmt.Sprint(n.Seq), n.At.Local().Format(time.DateTime), n.Capability, n.Kind, n.Actor, n.Text)
				}
			})
			return nil
		})
	cmd.AddCommand(e.ledgerVerifyVerb())
	return cmd
}

func (e *env) openLedger() (*ledger.Ledger, error) {
	cfg, err := e.loadForClient()
	if err != nil {
		return nil, err
	}
	return readLedger(cfg)
}

// readLedger opens the ledger of a state, which there is once something was
// served from it.
func readLedger(cfg *config.Config) (*ledger.Ledger, error) {
	l, err := ledger.OpenReadOnly(cfg.Resolve(cfg.State))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &api.Error{Text: fmt.Sprintf("there is no ledger in %s: nothing has been served from that state yet", cfg.Resolve(cfg.State)), Hint: "strangler serve, or name another config with -c", Code: api.ExitNotEnough}
	case err != nil:
		return nil, &api.Error{Text: err.Error(), Hint: "look for a copy of the state's folder, and leave this one as it is", Code: api.ExitFailed}
	}
	return l, nil
}
