package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"time"

	"stranglerfig/contract-tests/history"
)

// report is the demo's result; its JSON form is documented in the README.
type report struct {
	OK            bool        `json:"ok"`
	Requests      int64       `json:"requests"`
	ClientErrors  int         `json:"client_errors"` // beyond those the fault explains
	FaultErrors   int         `json:"client_errors_by_fault"`
	WritesAcked   int         `json:"writes_acked"`
	Lost          int         `json:"lost"`
	Doubled       int         `json:"doubled"`
	Resurrected   int         `json:"resurrected"`
	CutoverPause  quantiles   `json:"cutover_pause_ms"`
	RollbackPause quantiles   `json:"rollback_pause_ms"`
	Shadow        shadowCount `json:"shadow"`
	Steps         []step      `json:"steps"`

	trouble   []string
	explained []string
}

// quantiles of a latency, in milliseconds.
type quantiles struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// minWrites is how many acknowledged writes make the story worth believing.
const minWrites = 1000

// check compares what clients were told with both databases, and sums up.
func (s *story) check(ctx context.Context) (report, error) {
	t := s.traffic
	t.mu.Lock()
	r := report{Requests: t.requests.Load(), Shadow: s.shadow, Steps: s.steps}
	for what, n := range t.trouble {
		r.ClientErrors += n
		r.trouble = append(r.trouble, fmt.Sprintf("%s (%d times)", what, n))
	}
	for what, n := range t.faulted {
		r.FaultErrors += n
		r.explained = append(r.explained, fmt.Sprintf("%s (%d times)", what, n))
	}
	sort.Strings(r.explained)
	r.CutoverPause = pauses(t.tries, s.windows["cutover"])
	r.RollbackPause = pauses(t.tries, s.windows["rollback"])
	t.mu.Unlock()
	sort.Strings(r.trouble)

	found, err := s.histories(ctx)
	r.WritesAcked, r.Lost, r.Doubled, r.Resurrected = found.Acked, len(found.Lost), len(found.Doubled), len(found.Resurrected)
	for _, keys := range [][]string{found.Lost, found.Doubled, found.Resurrected} {
		r.trouble = append(r.trouble, keys...)
	}
	r.OK = err == nil && found.Clean() && r.ClientErrors == 0 && r.WritesAcked >= minWrites && r.Shadow.Mismatched == 0 && len(s.steps) > 0
	for _, st := range s.steps {
		r.OK = r.OK && st.OK
	}
	return r, err
}

// pauses are the latencies of every write to billing that was under way at any
// moment of a switch.
func pauses(tries []try, windows []window) quantiles {
	var ms []float64
	for _, t := range tries {
		for _, w := range windows {
			if t.begin.Before(w.end) && t.end.After(w.begin) {
				ms = append(ms, float64(t.end.Sub(t.begin).Microseconds())/1000)
			}
		}
	}
	if len(ms) == 0 {
		return quantiles{}
	}
	slices.Sort(ms)
	at := func(q float64) float64 { return ms[int(math.Ceil(q*float64(len(ms))))-1] }
	return quantiles{N: len(ms), P50: at(0.5), P99: at(0.99), Max: ms[len(ms)-1]}
}

// where each kind of write must be found, by its key, in each database.
var where = []struct{ kind, file, query string }{
	{"invoice", "shop.db", "SELECT note, count(*) FROM inv WHERE note LIKE 'demo-%' GROUP BY note"},
	{"invoice", "billing.db", "SELECT note, count(*) FROM invoices WHERE note LIKE 'demo-%' GROUP BY note"},
	{"payment", "shop.db", "SELECT ref, count(*) FROM inv_pay WHERE ref LIKE 'demo-%' GROUP BY ref"},
	{"payment", "billing.db", "SELECT reference, count(*) FROM payments WHERE reference LIKE 'demo-%' GROUP BY reference"},
	{"order", "shop.db", "SELECT k, count(*) FROM idem WHERE k LIKE 'demo-%' GROUP BY k"},
}

// settleWait bounds how long the follower may take to have everything.
const settleWait = 15 * time.Second

// histories checks every kind of write in every database that must hold it;
// each acknowledged write is counted once.
func (s *story) histories(ctx context.Context) (history.Result, error) {
	ops := s.traffic.log.Operations()
	var sum history.Result
	counted := map[string]bool{}
	for _, place := range where {
		found, err := s.settled(ctx, ops, place.kind, place.file, place.query)
		if err != nil {
			return sum, err
		}
		if counted[place.kind] {
			found.Operations, found.Acked, found.Failed, found.Unknown = 0, 0, 0, 0
		}
		counted[place.kind] = true
		sum = sum.Add(found)
	}
	double, err := s.w.Count(context.WithoutCancel(ctx), "shop.db", "SELECT 'order-' || order_id, count(*) FROM inv WHERE order_id IS NOT NULL GROUP BY order_id HAVING count(*) > 1")
	for key := range double {
		sum.Doubled = append(sum.Doubled, "two invoices for "+key)
	}
	return sum, err
}

// settled checks one place, waiting while the follower still catches up.
func (s *story) settled(ctx context.Context, ops []history.Operation, kind, file, query string) (history.Result, error) {
	deadline := time.Now().Add(settleWait)
	for {
		present, err := s.w.Count(context.WithoutCancel(ctx), file, query)
		if err != nil {
			return history.Result{}, err
		}
		found := history.Check(ops, kind, present)
		if found.Clean() || time.Now().After(deadline) {
			return found, nil
		}
		rest(ctx, 100*time.Millisecond)
	}
}

// print shows the result as a table.
func (r report) print(out io.Writer) {
	var total int64
	fmt.Fprintln(out, "\n── what happened")
	for _, s := range r.Steps {
		mark := "✓"
		if !s.OK {
			mark = "✗"
		}
		fmt.Fprintf(out, "  %s %-47s %6.1f s\n", mark, s.Name, float64(s.MS)/1000)
		total += s.MS
	}
	fmt.Fprintf(out, "    %-47s %6.1f s\n\n", "together", float64(total)/1000)
	row := func(name, value string) { fmt.Fprintf(out, "  %-34s %s\n", name, value) }
	row("requests", fmt.Sprint(r.Requests))
	row("writes acknowledged", fmt.Sprint(r.WritesAcked))
	row("lost · doubled · resurrected", fmt.Sprintf("%d · %d · %d", r.Lost, r.Doubled, r.Resurrected))
	row("client errors", fmt.Sprintf("%d, and %d that the injected fault explains", r.ClientErrors, r.FaultErrors))
	row("writes during cutovers", r.CutoverPause.String())
	row("writes during the rollback", r.RollbackPause.String())
	row("shadow", fmt.Sprintf("%d compared, %d differ", r.Shadow.Compared, r.Shadow.Mismatched))
	for _, t := range r.explained {
		fmt.Fprintln(out, "  by the fault:", t)
	}
	for _, t := range r.trouble {
		fmt.Fprintln(out, "  trouble:", t)
	}
	verdict := "everything held"
	if !r.OK {
		verdict = "NOT everything held"
	}
	fmt.Fprintln(out, "  "+verdict)
}

func (q quantiles) String() string {
	return fmt.Sprintf("%d under way, p50 %.0f ms, p99 %.0f ms, max %.0f ms", q.N, q.P50, q.P99, q.Max)
}
