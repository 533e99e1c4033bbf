package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) switchVerb(name string) *cobra.Command {
	short, long := "Make the service the owner of a capability's writes and data",
		"cutover holds new writes for milliseconds, fences the monolith's tables, waits until\neverything has arrived, and lets the service go on. Anything that goes wrong before the\nservice's database has agreed turns back by itself."
	if name == "rollback" {
		short, long = "Make the monolith the owner again, keeping every write",
			"rollback is a cutover the other way: what was written at the service has been fed back\nall along, so nothing is lost. Every route of the capability comes home."
	}
	var why string
	cmd := verb(name+" CAPABILITY", short, long, cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		return e.runSwitch(cmd, args[0], name, api.OperateRequest{Why: why})
	})
	cmd.Flags().StringVar(&why, "why", "", "a reason for the ledger")
	return cmd
}

func (e *env) runSwitch(cmd *cobra.Command, capability, verb string, q api.OperateRequest) error {
	var r struct {
		engine.SwitchResult
		Effects *api.Effects `json:"effects,omitempty"`
	}
	if err := e.operate(cmd, capability, verb, q, &r); err != nil {
		return err
	}
	if e.json {
		e.print(r)
		return nil
	}
	switch r.Kind {
	case "rehearsal":
		fmt.Fprintf(e.out, "%s: rehearsed; a pause of %.1f ms, %d writes waited, %d rows proven on the way back\n", capability, r.PauseMS, r.Held, r.Proven)
		fmt.Fprintf(e.out, "  %s\n", r.Predicted)
	default:
		fmt.Fprintf(e.out, "%s: the %s owns writes and data at epoch %d; a pause of %.1f ms, %d writes waited\n", capability, r.To, r.Epoch, r.PauseMS, r.Held)
	}
	if r.Warning != "" {
		fmt.Fprintf(e.out, "warning: %s\n", r.Warning)
	}
	return nil
}
