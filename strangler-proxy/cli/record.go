package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) recordVerb() *cobra.Command {
	var out string
	q := api.RecordRequest{}
	cmd := verb("record CAPABILITY", "Record live traffic and distil a contract from it",
		`record listens to the monolith's answers to a capability's routes. Secrets, mail addresses,
card numbers and the fields that redact: names are replaced before anything reaches the disk.
The tape stays in the state's folder: strangler contract distill makes another contract of it.

  strangler contract record billing --for 10m --sample 10%`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			q.Capability = args[0]
			if out == "" {
				out = args[0] + ".pact.json"
			}
			if err := unwritten(out); err != nil {
				return err
			}
			client, _, err := e.client()
			if err != nil {
				return err
			}
			var r api.Recorded
			show := newMeter(e)
			err = client.Watch(cmd.Context(), "/v1/record", q, show.event, &r)
			show.end()
			if err != nil {
				return err
			}
			return e.recorded(r, out)
		})
	cmd.Flags().StringVar(&out, "out", "", "the contract file to write; default CAPABILITY.pact.json")
	cmd.Flags().DurationVar(&q.For, "for", 10*time.Second, "how long to record")
	cmd.Flags().Var((*share)(&q.Sample), "sample", "the share of clients to record, such as 10%; default all")
	cmd.Flags().Var((*share)(&q.Cover), "cover", "the share of the traffic that the contract is to cover; default 99.9%")
	cmd.Flags().Uint64Var(&q.Count, "count", 0, "end after so many exchanges; default no bound")
	cmd.Flags().Var((*size)(&q.Bytes), "bytes", "end when the tape is so long, such as 64MiB; default 256MiB")
	return cmd
}

// unwritten refuses to overwrite a contract: people edit them. It also refuses a
// file that could not be written.
func unwritten(out string) error {
	if _, err := os.Stat(out); err == nil {
		return &api.Error{Text: out + " exists already", Hint: "name another file with --out, or move that one away", Code: api.ExitNo}
	}
	return destinations([2]string{"--out", out})
}

// recorded saves what was recorded and says what it was made of.
func (e *env) recorded(r api.Recorded, out string) error {
	c, err := contract.Read(strings.NewReader(string(r.Contract)))
	if err != nil {
		return fmt.Errorf("the distilled contract: %w", err)
	}
	if err := c.Save(out); err != nil {
		return err
	}
	var left []tape.Sort
	var loose []tape.Loose
	if err := json.Unmarshal(r.Left, &left); err != nil {
		return fmt.Errorf("what the contract leaves out: %w", err)
	}
	if len(r.Loose) > 0 { // which an older strangler does not tell
		if err := json.Unmarshal(r.Loose, &loose); err != nil {
			return fmt.Errorf("what the contract does not chain: %w", err)
		}
	}
	if e.json {
		e.print(map[string]any{
			"exchanges": r.Exchanges, "dropped": r.Dropped, "unsampled": r.Unsampled, "beyond": r.Beyond, "interactions": len(c.Interactions),
			"counted": r.Counted, "covered": r.Covered, "left": left, "loose": loose, "contract": out, "tape": r.Tape,
		})
		return nil
	}
	fmt.Fprintf(e.out, "%s: %d interactions from %d exchanges (%d dropped", out, len(c.Interactions), r.Exchanges, r.Dropped)
	for what, n := range map[string]int64{"not drawn": r.Unsampled, "beyond the tape's bound": r.Beyond} {
		if n > 0 {
			fmt.Fprintf(e.out, ", %d %s", n, what)
		}
	}
	fmt.Fprintln(e.out, ")")
	e.covered(r.Covered, r.Counted, left)
	e.loose(loose)
	fmt.Fprintf(e.out, "the redacted tape is %s\n", r.Tape)
	return nil
}

// covered says what share of the traffic a contract covers, and what it leaves
// out.
func (e *env) covered(covered, counted int, left []tape.Sort) {
	if counted > 0 {
		fmt.Fprintf(e.out, "it covers %.2f %% of the traffic\n", 100*float64(covered)/float64(counted))
	}
	for _, s := range left {
		fmt.Fprintf(e.out, "  left out: %s answers %d, %d times, such as %s\n", s.Route, s.Status, s.Weight, s.Example)
	}
}

// loose says what the contract is about that others made up.
func (e *env) loose(all []tape.Loose) {
	for _, l := range all[:min(shownLoose, len(all))] {
		from := "no answer on the tape made it up"
		if l.From != "" {
			from = fmt.Sprintf("%s of %s made it up, and chains end where a capability does", l.From, l.Capability)
		}
		fmt.Fprintf(e.out, "  not chained: %s (%s) of %s answered %d, %d times: %s, so it stays as it was recorded\n", l.Place, l.Noun, l.Route, l.Status, l.Times, from)
	}
	if more := len(all) - shownLoose; more > 0 {
		fmt.Fprintf(e.out, "  not chained: %d more; --json lists all\n", more)
	}
}

// shownLoose is how many places are shown that are not chained.
const shownLoose = 10

// distillFlags are the flags of contract distill.
type distillFlags struct {
	out, merge string
	o          tape.Options
}

func (e *env) distillVerb() *cobra.Command {
	var f distillFlags
	cmd := verb("distill TAPE...", "Make a contract of recorded tapes",
		`distill groups exchanges by route, status and the shapes of request and answer, keeps the
most frequent ones until they cover enough of the traffic, and writes what varied among
them as the narrowest matchers that the samples support. An id of one answer that a later
request of the same client is about makes a chain. What is left out is listed.
--merge takes over the interactions of another contract that were not recorded.

  strangler contract distill strangler-state/tapes/billing-*.ndjson --out billing.pact.json`, cobra.MinimumNArgs(1),
		func(_ *cobra.Command, args []string) error { return e.distill(args, f) })
	cmd.Flags().StringVar(&f.out, "out", "", "the contract file to write")
	cmd.Flags().StringVar(&f.merge, "merge", "", "a contract whose written interactions are taken over")
	cmd.Flags().StringVar(&f.o.Consumer, "consumer", "clients", "who relies on the contract")
	cmd.Flags().StringVar(&f.o.Capability, "capability", "", "the capability to make a contract of, where the tapes are of several")
	cmd.Flags().StringVar(&f.o.Provider, "provider", "", "who must honour it; default the capability on the tape")
	cmd.Flags().Var((*share)(&f.o.Cover), "cover", "the share of the traffic to cover; default 99.9%")
	_ = cmd.MarkFlagRequired("out") // fails only for a flag that is not there
	return cmd
}

func (e *env) distill(tapes []string, f distillFlags) error {
	if err := unwritten(f.out); err != nil {
		return err
	}
	var exchanges []tape.Exchange
	damaged := 0
	for _, path := range tapes {
		more, broken, err := tape.Load(path)
		if err != nil {
			return &api.Error{Text: err.Error(), Hint: "tapes are in the folder tapes of the state's", Code: api.ExitNo}
		}
		exchanges, damaged = append(exchanges, more...), damaged+broken
	}
	if err := f.about(exchanges, tapes); err != nil {
		return err
	}
	d := tape.Distill(exchanges, f.o)
	if len(d.Contract.Interactions) == 0 {
		if len(exchanges) == 0 && damaged > 0 {
			return &api.Error{Text: fmt.Sprintf("%s: no line can be read as an exchange, %d are damaged", strings.Join(tapes, ", "), damaged), Hint: "tapes are in the folder tapes of the state's", Code: api.ExitNo}
		}
		return &api.Error{Text: fmt.Sprintf("%d exchanges say nothing that a contract could be made of", len(exchanges)), Hint: "record while clients are active: strangler contract record CAPABILITY --for 1m", Code: api.ExitNotEnough}
	}
	c := d.Contract
	if f.merge != "" {
		written, err := contract.Load(f.merge)
		if err != nil {
			return &api.Error{Text: err.Error(), Hint: "repair that file; nothing was written", Code: api.ExitNo}
		}
		kept := slices.DeleteFunc(written.Interactions, func(i contract.Interaction) bool { return i.Source == contract.Recorded })
		c.Interactions = append(kept, c.Interactions...)
	}
	if err := c.Save(f.out); err != nil {
		return err
	}
	if e.json {
		e.print(map[string]any{
			"contract": f.out, "interactions": len(c.Interactions), "exchanges": len(exchanges), "damaged": damaged,
			"counted": d.Weight, "covered": d.Covered, "left": d.Left, "loose": d.Loose, "skipped": d.Skipped,
		})
		return nil
	}
	fmt.Fprintf(e.out, "%s: %d interactions from %d exchanges (%d damaged; left aside: %d cut short, %d answered 5xx, %d switched protocols)\n",
		f.out, len(c.Interactions), len(exchanges), damaged, d.Skipped.Truncated, d.Skipped.Failed, d.Skipped.Switched)
	e.covered(d.Covered, d.Weight, d.Left)
	e.loose(d.Loose)
	return nil
}

// about settles which capability the contract is about, and who honours it.
func (f *distillFlags) about(exchanges []tape.Exchange, tapes []string) error {
	on := map[string]bool{}
	for _, e := range exchanges {
		if e.Capability != "" {
			on[e.Capability] = true
		}
	}
	known := slices.Sorted(maps.Keys(on))
	switch {
	case f.o.Capability == "" && len(known) > 1:
		return &api.Error{Text: fmt.Sprintf("the tapes are of %s, and a contract is of one of them", strings.Join(known, ", ")),
			Hint: "--capability " + known[0] + "; what the others answered only says where ids come from", Code: api.ExitNo}
	case f.o.Capability != "" && !on[f.o.Capability]:
		return &api.Error{Text: fmt.Sprintf("--capability %q: nothing on the tapes is of it", f.o.Capability), Hint: "on the tapes are: " + strings.Join(known, ", "), Code: api.ExitNo}
	}
	switch {
	case f.o.Provider != "":
	case f.o.Capability != "":
		f.o.Provider = f.o.Capability
	case len(known) == 1:
		f.o.Provider = known[0]
	default:
		f.o.Provider = strings.TrimSuffix(filepath.Base(tapes[0]), ".ndjson")
	}
	return nil
}

// share is a flag such as 10% or 0.1.
type share float64

func (s *share) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(*s), 'g', -1, 64) + "%"
}

func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		n /= 100
	}
	if err != nil || !(n > 0 && n <= 1) {
		return errors.New("accepted are shares such as 10% or 0.1, above 0 and up to 100%")
	}
	*s = share(n)
	return nil
}

func (s *share) Type() string { return "SHARE" }

// size is a flag such as 64MiB.
type size int64

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *size) Set(text string) error {
	factor := int64(1)
	for unit, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			text, factor = number, n
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/factor {
		return errors.New("accepted are sizes such as 512KiB, 64MiB, or a number of bytes")
	}
	*s = size(n * factor)
	return nil
}

func (s *size) Type() string { return "SIZE" }
