package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/verify"
	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) dataVerb() *cobra.Command {
	cmd := group("data", "Move a capability's data: prepare, writers, copy, verify, rehearse, resume, cancel, complete; fill a pair")
	cmd.AddCommand(e.prepareVerb(), e.writersVerb(), e.copyVerb(), e.verifyVerb(), e.rehearseVerb(), e.resumeVerb(), e.cancelVerb(), e.completeVerb(), e.dataStatusVerb(), e.dataFillVerb())
	return cmd
}

// operate runs a verb on a capability and shows how it comes along.
func (e *env) operate(cmd *cobra.Command, capability, verb string, q api.OperateRequest, into any) error {
	return e.operateAnd(cmd, capability, verb, q, into, func(api.Event) {})
}

// operateAnd does so too, and passes every event on.
func (e *env) operateAnd(cmd *cobra.Command, capability, verb string, q api.OperateRequest, into any, hear func(api.Event)) error {
	client, _, err := e.client()
	if err != nil {
		return err
	}
	q.By = who()
	show := newMeter(e)
	err = client.Watch(cmd.Context(), "/v1/capabilities/"+capability+"/"+verb, q, func(v api.Event) { hear(v); show.event(v) }, into)
	show.end()
	return err
}

func (e *env) prepareVerb() *cobra.Command {
	var dry, observe bool
	cmd := verb("prepare CAPABILITY", "Install change logs and fences in both databases",
		"prepare looks first and changes nothing where something forbids the move. --dry-run only\nlooks, and prints every problem and every statement it would run. --observe prepares nothing: it\nnotes from now on who writes the tables, so that forgotten writers are found before the\ncutover refuses them; data writers lists them.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			if dry {
				return e.plan(cmd, args[0])
			}
			var s engine.Status
			if observe {
				if err := e.operate(cmd, args[0], "observe", api.OperateRequest{}, &s); err != nil {
					return err
				}
				return e.state(s, "writers are noted; strangler data writers "+args[0]+" lists them")
			}
			if err := e.operate(cmd, args[0], "prepare", api.OperateRequest{}, &s); err != nil {
				return err
			}
			return e.state(s, "both databases are prepared")
		})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only look, and print what would be done")
	cmd.Flags().BoolVar(&observe, "observe", false, "only note who writes the tables from now on")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "observe")
	return cmd
}

func (e *env) writersVerb() *cobra.Command {
	var stop bool
	cmd := verb("writers CAPABILITY", "List who writes a capability's tables",
		"Lists role, application, address and last statement of everyone seen since data prepare\n--observe, and marks those that writers: in the file does not name. After a cutover the database refuses all of them but the service: whoever is not\nbehind the proxy has to be moved first. --stop ends the observation.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			if stop {
				var s engine.Status
				if err := e.operate(cmd, args[0], "observe", api.OperateRequest{Stop: true}, &s); err != nil {
					return err
				}
				return e.state(s, "writers are no longer noted")
			}
			var seen map[change.Side][]api.Writer
			if err := e.operate(cmd, args[0], "writers", api.OperateRequest{}, &seen); err != nil {
				return err
			}
			if e.json {
				e.print(seen)
				return nil
			}
			e.renderWriters(seen)
			return nil
		})
	cmd.Flags().BoolVar(&stop, "stop", false, "end the observation and forget what was noted")
	return cmd
}

func (e *env) renderWriters(seen map[change.Side][]api.Writer) {
	for _, side := range []change.Side{change.Monolith, change.Service} {
		if all, observed := seen[side]; observed && len(all) == 0 {
			fmt.Fprintf(e.out, "the %s's database: nobody has written yet\n", side)
		}
		for _, s := range seen[side] {
			mark := "unknown: "
			if s.Known {
				mark = ""
			}
			fmt.Fprintf(e.out, "%s%s's %s: %s by role %s, application %q, from %s: %d sessions, last at %s\n  %s\n",
				mark, side, s.Table, s.Operation, s.Role, s.Application, s.Client, s.Sessions, s.Last.Local().Format(time.DateTime), strings.Join(strings.Fields(s.Statement), " "))
		}
	}
}

func (e *env) plan(cmd *cobra.Command, capability string) error {
	var plan engine.Plan
	if err := e.operate(cmd, capability, "prepare", api.OperateRequest{DryRun: true}, &plan); err != nil {
		return err
	}
	fatal := 0
	for _, problems := range plan.Problems {
		for _, p := range problems {
			if p.Fatal {
				fatal++
			}
		}
	}
	if e.json {
		e.print(plan)
	} else {
		e.renderPlan(plan)
	}
	if fatal > 0 {
		return codeError{api.ExitNo}
	}
	return nil
}

func (e *env) renderPlan(plan engine.Plan) {
	for _, side := range []change.Side{change.Monolith, change.Service} {
		fmt.Fprintf(e.out, "-- the %s's database\n", side)
		for _, p := range plan.Problems[side] {
			kind := "warning"
			if p.Fatal {
				kind = "problem"
			}
			fmt.Fprintf(e.out, "-- %s: %s\n", kind, p)
			if p.Hint != "" {
				fmt.Fprintf(e.out, "--   hint: %s\n", p.Hint)
			}
		}
		if f, ok := plan.Disk[side]; ok {
			free := "how much is free cannot be asked"
			if f.Free >= 0 {
				free = engine.Size(f.Free) + " are free"
			}
			fmt.Fprintf(e.out, "-- the copy takes about %s of disk: %s of rows, %s of indexes, %s to build them, %s of log; %s\n",
				engine.Size(f.Total()), engine.Size(f.Rows), engine.Size(f.Indexes), engine.Size(f.Building), engine.Size(f.Log), free)
		}
		for _, s := range plan.Statements[side] {
			fmt.Fprintf(e.out, "%s;\n", strings.TrimSuffix(strings.TrimSpace(s), ";"))
		}
	}
}

// state prints where a move stands after a verb.
func (e *env) state(s engine.Status, text string) error {
	if e.json {
		e.print(s)
		return nil
	}
	fmt.Fprintf(e.out, "%s: %s (%s)\n", s.Capability, text, s.State)
	return nil
}

func (e *env) copyVerb() *cobra.Command {
	return verb("copy CAPABILITY", "Copy the rows, then follow both sides", "A copy that was interrupted goes on where it was. When it is done, changes are\nfollowed by themselves, both ways, until the move is completed or cancelled.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			var s engine.Status
			if err := e.operate(cmd, args[0], "copy", api.OperateRequest{}, &s); err != nil {
				return err
			}
			return e.state(s, "copied, and followed from here on")
		})
}

func (e *env) verifyVerb() *cobra.Command {
	var q api.OperateRequest
	var path string
	cmd := verb("verify CAPABILITY", "Compare every row of both sides", "Rows that change meanwhile raise no alarm. One that was interrupted goes on where it\nwas. --repair makes the follower equal to the owner where they differ.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) (err error) {
			var r verify.Report
			out, err := e.differences(path)
			if err != nil {
				return err
			}
			q.All = path != ""
			err = errors.Join(e.operateAnd(cmd, args[0], "verify", q, &r, out.event), out.close())
			if e.json && (err == nil || r.Rows > 0) {
				e.print(r)
				if err != nil {
					return codeError{explainError(err, e.config).Code}
				}
				return nil
			}
			for _, d := range r.Differences {
				fmt.Fprintln(e.out, differenceText(d))
			}
			if r.Dropped > 0 {
				fmt.Fprintf(e.out, "… and %d more\n", r.Dropped)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(e.out, "%s: %d rows compared, all equal", args[0], r.Rows)
			if r.Repaired > 0 {
				fmt.Fprintf(e.out, " after %d repairs", r.Repaired)
			}
			fmt.Fprintln(e.out)
			return nil
		})
	cmd.Flags().BoolVar(&q.Repair, "repair", false, "make the follower equal where it differs")
	cmd.Flags().BoolVar(&q.Anew, "restart", false, "begin anew, even if an earlier verification was interrupted")
	cmd.Flags().StringVar(&path, "out", "", "write every difference to this `file`, one JSON object a line")
	return cmd
}

func differenceText(d verify.Difference) string {
	switch d.Kind {
	case "missing", "extra":
		return fmt.Sprintf("%s %s: %s on the follower", d.Table, d.Key, d.Kind)
	case "unmappable":
		return fmt.Sprintf("%s %s: the mapping refuses it: %s", d.Table, d.Key, d.Owner+d.Follower)
	}
	return fmt.Sprintf("%s %s: %s differs: the owner has %q, the follower %q", d.Table, d.Key, d.Column, d.Owner, d.Follower)
}

// differences is a file for every difference that a verification finds. Rows may
// hold personal data, so only its owner may read it.
type differences struct {
	file *os.File
	to   *bufio.Writer
	err  error
}

func (e *env) differences(path string) (*differences, error) {
	if path == "" {
		return &differences{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, &api.Error{Text: fmt.Sprintf("--out %s: %v", path, plainly(err)), Hint: "nothing was done; name a file in a folder that exists and may be written", Code: api.ExitNo}
	}
	return &differences{file: f, to: bufio.NewWriter(f)}, nil
}

func (d *differences) event(v api.Event) {
	if v.Difference != nil && d.file != nil && d.err == nil {
		_, d.err = d.to.Write(append(v.Difference, '\n'))
	}
}

func (d *differences) close() error {
	if d.file == nil {
		return nil
	}
	return errors.Join(d.err, d.to.Flush(), d.file.Close())
}

func (e *env) resumeVerb() *cobra.Command {
	return verb("resume CAPABILITY", "Put a paused move back to work",
		"A move pauses when something happened that cannot be followed row by row, when changes\nwere lost, or when the log kept for it has outgrown its budget. data status says which.\nresume begins such a log anew and follows both sides; a verification then finds what was\nmissed, and --repair mends it.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			var s engine.Status
			if err := e.operate(cmd, args[0], "resume", api.OperateRequest{}, &s); err != nil {
				return err
			}
			return e.state(s, "followed again; strangler data verify "+args[0]+" finds what was missed, --repair mends it")
		})
}

func (e *env) cancelVerb() *cobra.Command {
	return verb("cancel CAPABILITY", "Undo a move that has not been cut over", "cancel removes everything that was installed and empties the service's tables.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			var s engine.Status
			if err := e.operate(cmd, args[0], "cancel", api.OperateRequest{}, &s); err != nil {
				return err
			}
			return e.state(s, "nothing of the move is left in either database")
		})
}

func (e *env) completeVerb() *cobra.Command {
	var confirm string
	cmd := verb("complete CAPABILITY", "End a move for good: one-way", "complete stops the reverse feed, renames the monolith's tables out of the way and removes\nwhat was installed. There is no rollback after it.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			if confirm == "" && term.IsTerminal(int(os.Stdin.Fd())) && !e.json {
				fmt.Fprintf(e.out, "There is no rollback after this. Type %s to go on: ", args[0])
				if _, err := fmt.Fscanln(os.Stdin, &confirm); err != nil && err != io.EOF {
					confirm = ""
				}
			}
			var s engine.Status
			if err := e.operate(cmd, args[0], "complete", api.OperateRequest{Confirm: confirm}, &s); err != nil {
				return err
			}
			return e.state(s, "the move is over; the monolith's tables were renamed")
		})
	cmd.Flags().StringVar(&confirm, "confirm", "", "the capability's name, typed")
	return cmd
}

func (e *env) dataStatusVerb() *cobra.Command {
	return verb("status CAPABILITY", "Show where a capability's data stands", "", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		s, err := e.status(cmd)
		if err != nil {
			return err
		}
		found, err := only(s.Capabilities, args[0])
		if err != nil {
			return err
		}
		if e.json {
			e.print(found[0].Data)
			return nil
		}
		d := found[0].Data
		if d == nil {
			fmt.Fprintf(e.out, "%s declares no data\n", args[0])
			return nil
		}
		fmt.Fprintf(e.out, "%s: %s, owned by the %s at epoch %d, %d behind\n", args[0], d.State, d.Owner, d.Epoch, d.Lag)
		if d.Paused != "" {
			fmt.Fprintf(e.out, "  paused: %s\n", d.Paused)
			if d.Owner == change.Service {
				fmt.Fprintln(e.out, "  there is NO WAY BACK to the monolith until it is resumed and verified")
			}
			fmt.Fprintf(e.out, "  hint: strangler data resume %s\n", args[0])
		}
		if kept := max(d.Kept[change.Monolith], d.Kept[change.Service]); kept > d.LogBudget/2 {
			fmt.Fprintf(e.out, "  warning: %d MiB of log are kept for it; past %d MiB it pauses and lets them go\n", kept>>20, d.LogBudget>>20)
		}
		for _, t := range d.Tables {
			fmt.Fprintf(e.out, "  %s: %s\n", t.Table, progressText(t))
		}
		if !d.Verified.IsZero() {
			fmt.Fprintf(e.out, "  equal at %s\n", d.Verified.Local().Format(time.DateTime))
		}
		return nil
	})
}

// raw embeds a document in another one.
func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}
