package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) canCutoverVerb() *cobra.Command {
	return verb("can-cutover ROUTE|CAPABILITY", "Say whether the evidence admits the service as owner, and what is missing",
		`can-cutover asks the gates that a cutover would ask, and changes nothing: of a
capability those of its writes and data, of a route its own. It exits with 0 for yes,
1 for no, 2 for not enough evidence, and names for each reason the command that would
settle it. Without a running strangler it reads the state and asks the backends.

  strangler can-cutover billing
  strangler can-cutover "GET /invoices/{id}" --json`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			a, err := e.canCutover(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if e.json {
				e.print(a)
			} else {
				e.admission(a)
			}
			if code := a.ExitCode(); code != api.ExitYes {
				return codeError{code}
			}
			return nil
		})
}

func (e *env) canCutover(ctx context.Context, what string) (api.Admission, error) {
	var a api.Admission
	client, _, err := e.client()
	if err == nil {
		err = client.Get(ctx, "/v1/can-cutover?what="+url.QueryEscape(what), &a)
	}
	if errors.Is(err, api.ErrNotRunning) {
		return control.Consult(ctx, e.config, what)
	}
	return a, err
}

func (e *env) admission(a api.Admission) {
	subject := a.Capability
	if a.Route != "" {
		subject = a.Route
	}
	fmt.Fprintf(e.out, "%s: %s (now %s)\n", subject, a.Answer, a.Owner)
	for _, f := range a.Findings {
		e.finding(f)
	}
}

// finding prints what a gate says, and the command that would settle it.
func (e *env) finding(f api.Finding) {
	of := ""
	if f.Route != "" {
		of = f.Route + ": "
	}
	fmt.Fprintf(e.out, "  %-9s %-8s %s%s\n", f.Gate, f.Verdict, of, f.Text)
	if f.Command != "" && !f.Open() {
		fmt.Fprintf(e.out, "    → %s\n", f.Command)
	}
}
