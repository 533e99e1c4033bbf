package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

// longestOverride is how long a token may hold: it cannot be taken back but by
// another key.
const longestOverride = 30 * 24 * time.Hour

func (e *env) overrideVerb() *cobra.Command {
	lasts := time.Hour
	cmd := verb("override ROUTE|CAPABILITY monolith|service", "Make a token with which a tester's reads go to one side",
		`override signs a token with override.key of strangler.yaml. Reads of the route,
or of the whole capability, that bring it go to the side it names, whatever the
owner word says. Writes go to their owner all the same.

  strangler override "GET /invoices/{id}" service
  strangler override billing monolith --for 8h`, cobra.ExactArgs(2),
		func(_ *cobra.Command, args []string) error {
			cfg, err := e.load()
			if err != nil {
				return err
			}
			o, err := overrideOf(cfg, args[0], args[1])
			if err != nil {
				return err
			}
			if lasts < time.Second || lasts > longestOverride {
				return &api.Error{Text: fmt.Sprintf("--for %s: accepted are 1s to %s", lasts, longestOverride), Code: api.ExitNo}
			}
			o.Until = time.Now().Add(lasts).Truncate(time.Second)
			e.tellToken(o, o.Sign([]byte(cfg.OverrideKey)))
			return nil
		})
	cmd.Flags().DurationVar(&lasts, "for", lasts, "how long it holds, at most 720h")
	return cmd
}

// overrideOf finds what a person wants overridden.
func overrideOf(cfg *config.Config, what, side string) (route.Override, error) {
	no := func(hint, format string, args ...any) (route.Override, error) {
		return route.Override{}, &api.Error{Text: fmt.Sprintf(format, args...), Hint: hint, Code: api.ExitNo}
	}
	o := route.Override{Side: change.Side(side), Scope: what}
	if o.Side != change.Monolith && o.Side != change.Service {
		return no("", "%q is no side: accepted are monolith, service", side)
	}
	if cfg.OverrideKey == "" {
		return no("openssl rand -hex 32, and in strangler.yaml: override: {key: \"${STRANGLER_OVERRIDE_KEY}\"}", "%s has no override.key, so no token is obeyed", cfg.Path)
	}
	if _, ok := cfg.Capability(what); ok {
		return o, nil
	}
	r, ok := cfg.Route(what)
	switch {
	case !ok:
		return no("strangler routes lists the routes; capabilities are: "+strings.Join(cfg.Names(), ", "), "%q is neither a declared route nor a capability", what)
	case r.Writes && r.WritesWith("GET"):
		return no("writes go to their owner, whatever a tester brings", "route %q writes, and writes are not overridden", r.ID)
	}
	o.Scope = r.ID
	return o, nil
}

func (e *env) tellToken(o route.Override, token string) {
	if e.json {
		e.print(map[string]any{
			"token": token, "header": proxy.OverrideField, "cookie": proxy.OverrideCookie, "scope": o.Scope, "side": o.Side, "until": o.Until.UTC().Format(time.RFC3339),
		})
		return
	}
	fmt.Fprintf(e.out, "reads of %s go to the %s until %s with\n\n", o.Scope, o.Side, o.Until.UTC().Format(time.RFC3339))
	fmt.Fprintf(e.out, "  %s: %s\n\nor with the cookie %s of the same value\n", proxy.OverrideField, token, proxy.OverrideCookie)
}
