package cli

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

func (e *env) ownVerb() *cobra.Command {
	return verb("own ROUTE|CAPABILITY OWNER", "Change the owner word of a route, or of all reads of a capability",
		`own edits strangler.yaml, shows what changed, and waits until the running
strangler has taken it up. Write routes whose data moves are switched with
cutover and rollback instead.

  strangler own "GET /products/{id}" "canary 10%"
  strangler own catalog shadow`, cobra.ExactArgs(2),
		func(cmd *cobra.Command, args []string) error {
			cfg, err := e.load()
			if err != nil {
				return err
			}
			owner, err := route.ParseOwner(args[1])
			if err != nil {
				return &api.Error{Text: err.Error(), Code: api.ExitNo}
			}
			words, err := wordsFor(cfg, args[0], owner)
			if err != nil {
				return err
			}
			changes, err := config.SaveOwners(e.config, words)
			if err != nil {
				return err
			}
			sort.Slice(changes, func(i, j int) bool { return changes[i].Line < changes[j].Line })
			return e.report(cmd, words, changes)
		})
}

// wordsFor finds the routes a person means.
func wordsFor(cfg *config.Config, what string, owner route.Owner) (map[string]route.Owner, error) {
	words := map[string]route.Owner{}
	if p, ok := cfg.Capability(what); ok {
		for _, r := range p.Routes {
			if !r.Writes {
				words[r.ID] = owner
			}
		}
		return words, nil
	}
	r, ok := cfg.Route(what)
	if !ok {
		return nil, &api.Error{
			Text: fmt.Sprintf("%q is neither a declared route nor a capability", what),
			Hint: "strangler routes lists the routes; capabilities are: " + strings.Join(cfg.Names(), ", "), Code: api.ExitNo,
		}
	}
	if p, _ := cfg.Capability(r.Capability); r.Writes && p.Data != nil {
		verb := "cutover"
		if owner.Stage == route.Monolith {
			verb = "rollback"
		}
		return nil, &api.Error{
			Text: fmt.Sprintf("route %q writes tables that move: its owner changes together with the data", r.ID),
			Hint: fmt.Sprintf("strangler %s %s", verb, r.Capability), Code: api.ExitNo,
		}
	}
	words[r.ID] = owner
	return words, nil
}

// report says what changed in the file and what became of it.
func (e *env) report(cmd *cobra.Command, words map[string]route.Owner, changes []config.Change) error {
	if !e.json {
		for _, c := range changes {
			fmt.Fprintf(e.out, "%s:%d\n- %s: %s\n+ %s: %s\n", filepath.Base(e.config), c.Line, c.Route, c.From, c.Route, c.To)
		}
		if len(changes) == 0 {
			fmt.Fprintf(e.out, "%s says so already\n", filepath.Base(e.config))
		}
	}
	client, _, err := e.client()
	if err != nil {
		return err
	}
	var s api.Status
	if err := client.Post(cmd.Context(), "/v1/reload", nil, &s); err != nil {
		return err
	}
	var refused []api.Route
	var inForce []api.Route
	for _, c := range s.Capabilities {
		for _, r := range c.Routes {
			if _, ours := words[r.ID]; !ours {
				continue
			}
			if r.Actual == r.Wanted {
				inForce = append(inForce, r)
			} else {
				refused = append(refused, r)
			}
		}
	}
	if e.json {
		e.print(map[string]any{"changes": changes, "in_force": inForce, "refused": refused})
		if len(refused) > 0 {
			return codeError{api.ExitNotEnough}
		}
		return nil
	}
	for _, r := range inForce {
		fmt.Fprintf(e.out, "%s is %s\n", r.ID, r.Actual)
	}
	for _, r := range refused {
		fmt.Fprintf(e.err, "%s stays %s: %s\n", r.ID, r.Actual, r.Why)
	}
	if len(refused) > 0 {
		return &api.Error{Text: "the gates do not admit it yet; the word stays in the file and takes effect once they do", Hint: "strangler own with the old word takes it back", Code: api.ExitNotEnough}
	}
	return nil
}
