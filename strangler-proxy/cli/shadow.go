package cli

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) shadowVerb() *cobra.Command {
	cmd := group("shadow", "See what mirrored requests found, and say which differences are meant")
	cmd.AddCommand(e.shadowStatusVerb(), e.differencesVerb(), e.calibrateVerb(), e.allowVerb(), e.shadowRestartVerb())
	return cmd
}

// shadows asks about one capability.
func (e *env) shadows(cmd *cobra.Command, capability string) (api.Shadows, error) {
	var all api.Shadows
	client, _, err := e.client()
	if err != nil {
		return all, err
	}
	return all, client.Get(cmd.Context(), "/v1/shadow/"+url.PathEscape(capability), &all)
}

func (e *env) shadowStatusVerb() *cobra.Command {
	return verb("status CAPABILITY", "Show how far each route's comparison is",
		`status exits with 0 where every read route has been compared enough, with 1 where
one differs in a way that nobody allows, and with 2 where more has to be compared.`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			all, err := e.shadows(cmd, args[0])
			if err != nil {
				return err
			}
			code := all.ExitCode()
			if e.json {
				e.print(all)
				return ending(code)
			}
			for _, s := range all.Routes {
				e.shadowOf(s)
			}
			if len(all.Routes) == 0 {
				fmt.Fprintln(e.out, "nothing has been mirrored yet")
			}
			e.calibrated(all.Calibration)
			return ending(code)
		})
}

// ending is the error of an exit code that needs no further words.
func ending(code int) error {
	if code == api.ExitYes {
		return nil
	}
	return codeError{code}
}

// shadowOf prints one route's comparison.
func (e *env) shadowOf(s api.Shadow) {
	fmt.Fprintf(e.out, "%s (%s)\n", s.Route, directions[s.Direction])
	fmt.Fprintf(e.out, "  %d compared: %d equal, %d noise, %d allowed, %d unexplained\n", s.Compared, s.Matched, s.Noise, s.Allowed, s.Mismatched)
	if s.Fleeting > 0 {
		fmt.Fprintf(e.out, "  %d differed at first and agreed when both were asked again: a side was a moment behind, or errs now and then\n", s.Fleeting)
	}
	if len(s.Reasons) > 0 {
		var parts []string
		for _, why := range slices.Sorted(maps.Keys(s.Reasons)) {
			parts = append(parts, fmt.Sprintf("%d %s", s.Reasons[why], why))
		}
		fmt.Fprintf(e.out, "  %d incomparable, %d dropped: %s\n", s.Incomparable, s.Dropped, strings.Join(parts, ", "))
	}
	if r := s.Rows; r != nil {
		fmt.Fprintf(e.out, "  rows: %d alike, %d different, %d in another state, %d whose counterpart nobody names, %d not looked at\n", r.Alike, r.Different, r.Skewed, r.Unknown, r.Failed)
	}
	fmt.Fprintf(e.out, "  %s\n", stopText(s))
	if l := s.Latency; l.Pairs > 0 {
		fmt.Fprintf(e.out, "  latency: the service is %s (p50 %s and %s, p95 %s and %s, p99 %s and %s)\n", latencyWords(l),
			ms(l.Service["p50"]), ms(l.Monolith["p50"]), ms(l.Service["p95"]), ms(l.Monolith["p95"]), ms(l.Service["p99"]), ms(l.Monolith["p99"]))
		for _, t := range l.Tails {
			fmt.Fprintf(e.out, "    %s: %s; the service's is %s, the monolith's %s\n", t.Quantile, t.Verdict, span(t.Service), span(t.Monolith))
		}
	}
}

var directions = map[string]string{
	"forward":  "the monolith answers, the service is asked as well",
	"reverse":  "the service answers, the monolith is asked as well",
	"isolated": "the monolith writes, the isolated store does as well",
}

func latencyWords(l api.Latency) string {
	switch l.Verdict {
	case "slower":
		return "slower than it may be at " + l.At
	case "unsettled":
		return "not yet known to be slower than it may be, or not to be, at " + l.At
	}
	return "not slower than it may be"
}

// span is between what a quantile lies.
func span(s api.Span) string {
	if s.UpTo == 0 {
		return "above " + ms(s.Above)
	}
	return ms(s.Above) + " to " + ms(s.UpTo)
}

// ms is a number of milliseconds to three digits.
func ms(n float64) string { return fmt.Sprintf("%.3g ms", n) }

// stopText says where the stop rule stands.
func stopText(s api.Shadow) string {
	switch {
	case s.Mismatched > 0:
		return "no: strangler shadow differences lists what differs"
	case s.Stop.Enough:
		return fmt.Sprintf("enough: fewer than %s differ, at %s", percent(s.Stop.P0), percent(1-s.Stop.Alpha))
	}
	text := "not enough:"
	if s.Stop.Missing > 0 {
		text += fmt.Sprintf(" %d more without a difference", s.Stop.Missing)
	}
	if s.Stop.Remaining > 0 {
		text += fmt.Sprintf(" over %s more", s.Stop.Remaining.Round(time.Second))
	}
	return text
}

func percent(share float64) string { return fmt.Sprintf("%.4g %%", share*100) }

func (e *env) calibrated(k *api.Calibration) {
	if k == nil {
		return
	}
	fmt.Fprintf(e.out, "calibrated %s by %s: %d pairs at once, %d with %s between them\n", k.At.Local().Format(time.DateTime), k.By, k.Pairs, k.Lagged, k.Lag.Round(time.Millisecond))
	if k.Void != "" {
		fmt.Fprintf(e.out, "  not in force: %s\n", k.Void)
	}
	for _, l := range k.Learned {
		fmt.Fprintf(e.out, "  %s %d %s: %s (differed in %d pairs, %d values seen)\n", l.Route, l.Status, l.Path, l.Matcher, l.Flips, l.Samples)
	}
	for _, u := range k.Unexplained {
		fmt.Fprintf(e.out, "  not covered: %s\n", u)
	}
}

func (e *env) differencesVerb() *cobra.Command {
	return verb("differences CAPABILITY", "List what differs, by kind, with an example of each",
		"differences exits with 1 where one of them is not allowed. Secrets are shown as pseudonyms.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			all, err := e.shadows(cmd, args[0])
			if err != nil {
				return err
			}
			code := api.ExitYes
			listed := 0
			for _, s := range all.Routes {
				listed += len(s.Differences)
				if s.Mismatched > 0 {
					code = api.ExitNo
				}
			}
			if e.json {
				e.print(all.Routes)
				return ending(code)
			}
			for _, s := range all.Routes {
				e.differing(s)
			}
			if listed == 0 {
				fmt.Fprintln(e.out, "nothing differs")
			} else if code == api.ExitNo {
				fmt.Fprintf(e.err, "hint: correct the service; what is meant: strangler shadow allow ID --reason TEXT --expires DATE\n")
			}
			return ending(code)
		})
}

// differing prints what differs on one route.
func (e *env) differing(s api.Shadow) {
	if len(s.Differences) == 0 {
		return
	}
	fmt.Fprintf(e.out, "%s (%s)\n", s.Route, s.Direction)
	for _, d := range s.Differences {
		fmt.Fprintf(e.out, "  %s  %d× %s at %s\n", d.ID, d.Times, d.Kind, d.Path)
		fmt.Fprintf(e.out, "      the monolith: %s\n      the service:  %s\n      such as %s\n", nothing(d.Expected), nothing(d.Actual), d.Example)
		if d.Rule != "" {
			fmt.Fprintf(e.out, "      rule: %s\n", d.Rule)
		}
		if a := d.Allowance; a != nil {
			fmt.Fprintf(e.out, "      allowed by %s until %s: %s\n", a.By, a.Until.Format(time.DateTime+" MST"), a.Reason)
		}
	}
	if s.More > 0 {
		fmt.Fprintf(e.out, "  and %d more that are not listed\n", s.More)
	}
}

func nothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

func (e *env) calibrateVerb() *cobra.Command {
	var length time.Duration
	cmd := verb("calibrate CAPABILITY", "Learn how the monolith differs from itself",
		`calibrate asks the monolith what clients ask it, twice at the same time and once more
a little later, and learns in which places its answers differ from themselves: a
timestamp, a random token, an order that nobody promised. Each becomes the narrowest
matcher that covers what was seen, never one that ignores the place. What was learned
holds for this build of the monolith, and is used from then on.`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			client, _, err := e.client()
			if err != nil {
				return err
			}
			var k api.Calibration
			show := newMeter(e)
			err = client.Watch(cmd.Context(), "/v1/shadow/"+url.PathEscape(args[0])+"/calibrate", api.CalibrateRequest{For: length, By: who()}, show.event, &k)
			show.end()
			if err != nil {
				return err
			}
			if e.json {
				e.print(k)
				return nil
			}
			if len(k.Learned)+len(k.Unexplained) == 0 {
				fmt.Fprintln(e.out, "the monolith does not differ from itself")
			}
			e.calibrated(&k)
			return nil
		})
	cmd.Flags().DurationVar(&length, "for", 30*time.Second, "how long to ask")
	return cmd
}

func (e *env) allowVerb() *cobra.Command {
	var reason, expires string
	var revoke bool
	cmd := verb("allow FINGERPRINT", "Say that a difference is meant, until a date",
		`allow lets a difference, named by its id in strangler shadow differences or by its
fingerprint, count as an
agreement. Who said so, why and until when stands in the ledger. Once the date has
passed, the difference counts again; --revoke ends it at once.`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			q := api.AllowRequest{ID: args[0], Reason: reason, Revoke: revoke, By: who()}
			if !revoke {
				var err error
				if q.Until, err = config.ParseUntil(expires); err != nil {
					return &api.Error{Text: fmt.Sprintf("--expires %q: accepted are a date such as 2030-01-31 and a time such as 2030-01-31T12:00:00Z", expires), Code: api.ExitNo}
				}
			}
			client, _, err := e.client()
			if err != nil {
				return err
			}
			var a api.Allowance
			if err := client.Post(cmd.Context(), "/v1/shadow/allow", q, &a); err != nil {
				return err
			}
			switch {
			case e.json:
				e.print(a)
			case revoke:
				fmt.Fprintf(e.out, "%s on %s counts as a difference again\n", a.Fingerprint, a.Route)
			default:
				fmt.Fprintf(e.out, "%s on %s is allowed until %s\n", a.Fingerprint, a.Route, a.Until.Format(time.DateTime+" MST"))
			}
			return nil
		})
	cmd.Flags().StringVar(&reason, "reason", "", "why the difference is meant")
	cmd.Flags().StringVar(&expires, "expires", "", "until when: a date, which lasts to its end in UTC, or a time")
	cmd.Flags().BoolVar(&revoke, "revoke", false, "take it back")
	return cmd
}

func (e *env) shadowRestartVerb() *cobra.Command {
	var reason string
	cmd := verb("restart CAPABILITY", "Forget what was compared and begin anew",
		"restart is for what no build tells of, such as data that was mended by hand. It\nforgets differences as well, so its reason stands in the ledger.", cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			client, _, err := e.client()
			if err != nil {
				return err
			}
			if err := client.Post(cmd.Context(), "/v1/shadow/"+url.PathEscape(args[0])+"/restart", api.RestartRequest{Reason: reason, By: who()}, nil); err != nil {
				return err
			}
			if e.json {
				e.print(map[string]any{"ok": true})
				return nil
			}
			fmt.Fprintf(e.out, "what shadows found on %s begins anew\n", args[0])
			return nil
		})
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}
