package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/sequential"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	live "stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
	"stranglerfig/strangler-proxy/upstream"
)

// alarmOptions are how an application is held against itself.
type alarmOptions struct {
	comparisons int
	pairs       int // asked while calibrating, of all routes together
	each        int // comparisons of a route and run; 0: as many as the stop rule asks for, and a tenth
	seed        uint64
	planted     bool // the service is wrong about one invoice, to see that an alarm would be raised
}

// alarmed is what became of it. A gate is one route's stop rule in one run: it is
// alarmed if an answer of the same application was called a difference.
type alarmed struct {
	Comparisons  int64         `json:"comparisons"`
	Noise        int64         `json:"noise"`
	Alarms       int64         `json:"alarms"`
	Incomparable int64         `json:"incomparable"`
	Gates        int64         `json:"gates"`
	Enough       int64         `json:"gates_enough"`
	Alarmed      int64         `json:"gates_alarmed"`
	Unlearned    int64         `json:"places_taken_for_data"`
	Rate         [2]float64    `json:"alarm_rate_95"` // of a comparison, between what it lies
	GateRate     [2]float64    `json:"gate_alarm_rate_95"`
	Alpha        float64       `json:"alpha"`
	Seed         uint64        `json:"seed"`
	Took         time.Duration `json:"took"`
	Examples     []string      `json:"examples,omitempty"`
}

// alarms runs the bench of false alarms.
func alarms(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("alarms", flag.ContinueOnError)
	flags.SetOutput(errs)
	o := alarmOptions{pairs: 600}
	flags.IntVar(&o.comparisons, "comparisons", 100_000, "comparisons at least, in whole runs")
	flags.IntVar(&o.each, "each", 0, "comparisons of a route in each run; 0: as many as the stop rule asks for, and a tenth")
	flags.Uint64Var(&o.seed, "seed", 1, "draws what the application says and when its data changes")
	asJSON := flags.Bool("json", false, "print one JSON object")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || o.comparisons < 1 || o.comparisons > 100_000_000 || o.each < 0 {
		return errors.New("alarms takes no arguments, --comparisons of 1 to 100000000 and --each of 0 or more")
	}
	found, err := o.run(ctx, errs)
	if err != nil {
		return err
	}
	if *asJSON {
		err = json.NewEncoder(out).Encode(found)
	} else {
		err = found.print(out)
	}
	if found.GateRate[0] > found.Alpha {
		err = errors.Join(err, fmt.Errorf("%.2f %% of the gates raise an alarm at least, and alpha is %.2f %%", 100*found.GateRate[0], 100*found.Alpha))
	}
	return err
}

func (f alarmed) print(out io.Writer) error {
	_, err := fmt.Fprintf(out, `an application held against itself, seed %d, %s
  %d comparisons: %d noise, %d called a difference; %d more were incomparable
  false alarms       %.3g of a comparison (95 %%: %.3g to %.3g)
  gates              %d of %d say enough, %d raise a false alarm: %.3g (95 %%: %.3g to %.3g); alpha is %.3g
  places that were taken for data and not for noise: %d
`, f.Seed, f.Took.Round(time.Second), f.Comparisons, f.Noise, f.Alarms, f.Incomparable,
		float64(f.Alarms)/float64(max(f.Comparisons, 1)), f.Rate[0], f.Rate[1],
		f.Enough, f.Gates, f.Alarmed, float64(f.Alarmed)/float64(max(f.Gates, 1)), f.GateRate[0], f.GateRate[1], f.Alpha, f.Unlearned)
	for _, e := range f.Examples {
		_, err = fmt.Fprintf(out, "  such as %s\n", e)
	}
	return err
}

// run makes runs until there are enough comparisons: each calibrates anew and
// then compares until the default stop rule would say enough of every route.
func (o alarmOptions) run(ctx context.Context, errs io.Writer) (alarmed, error) {
	begun := time.Now()
	found := alarmed{Seed: o.seed, Alpha: sequential.Default().Alpha}
	for n := uint64(0); found.Comparisons < int64(o.comparisons); n++ {
		if err := o.once(ctx, n, &found); err != nil {
			return found, err
		}
		fmt.Fprintf(errs, "%d of %d compared, %d false alarms\n", found.Comparisons, o.comparisons, found.Alarms)
	}
	found.Rate, found.GateRate = interval(found.Alarms, found.Comparisons), interval(found.Alarmed, found.Gates)
	found.Took = time.Since(begun)
	return found, nil
}

// once is one run: an application, its calibration, and what the gates then say.
func (o alarmOptions) once(ctx context.Context, n uint64, found *alarmed) error {
	app := newFidgety(o.seed, n)
	monolith, service := httptest.NewServer(app), httptest.NewServer(app.with(o.planted))
	defer monolith.Close()
	defer service.Close()
	var sides []*upstream.Backend
	for name, url := range map[string]string{"monolith": monolith.URL, "service": service.URL} {
		b, err := upstream.New(upstream.Options{Name: name, URLs: []string{url}})
		if err != nil {
			return err
		}
		defer b.Close()
		sides = append(sides, b)
		if name == "monolith" {
			sides[0], sides[len(sides)-1] = sides[len(sides)-1], sides[0]
		}
	}
	rule := sequential.Default()
	rule.Span, rule.PerShape = 0, 1 // a run lasts seconds, and most routes have answers of one shape
	s := shadow.New(shadow.Options{
		Queue: 64, Body: live.CaptureLimit, Timeout: time.Minute, Metrics: prometheus.NewRegistry(),
		Backends: func(string) (*upstream.Backend, *upstream.Backend) { return sides[0], sides[1] },
		Owner:    func(string) change.Side { return change.Monolith },
		Synced:   func(string, change.Side) time.Time { return time.Now() }, // both have the same data
		Redact:   tape.NewRedactor([]byte("key"), nil).Redact,
		Judged:   func(string, string) shadow.Judging { return shadow.Judging{Rule: rule, Slower: 0.5} },
	})
	defer s.Close()
	clients := &audience{app: app, shadow: s, random: rand.New(rand.NewPCG(o.seed, n))}
	if err := clients.calibrate(ctx, o.pairs, found); err != nil {
		return err
	}
	each := o.each
	if each == 0 {
		each = rule.Clean() + rule.Clean()/10 // routes are drawn, and weights fall
	}
	if err := clients.ask(ctx, each*len(fidgetyRoutes)); err != nil {
		return err
	}
	for _, c := range s.Counts() {
		found.Comparisons += c.Compared
		found.Noise += c.Noise
		found.Alarms += c.Mismatched
		found.Incomparable += c.Incomparable + c.Dropped
		found.Gates++
		switch {
		case c.Mismatched > 0:
			found.Alarmed++
		case c.Enough():
			found.Enough++
		}
		for _, d := range c.Differences {
			if len(found.Examples) < 5 {
				found.Examples = append(found.Examples, fmt.Sprintf("%s: %s", c.Route, d.Difference))
			}
		}
	}
	return nil
}

// audience asks the application and shows its answers to the shadow.
type audience struct {
	app    *fidgety
	shadow *shadow.Shadow
	random *rand.Rand
}

// exchange asks the application one thing.
func (a *audience) exchange(mirror bool) *live.Exchange {
	r := &fidgetyRoutes[a.random.IntN(len(fidgetyRoutes))]
	path := r.path(a.random)
	begun := time.Now()
	answer := httptest.NewRecorder()
	a.app.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return &live.Exchange{
		Route: &route.Route{ID: r.id, Capability: "billing"}, Client: uint64(a.random.IntN(200)), Decision: route.Decision{Side: change.Monolith, Mirror: mirror},
		Method: http.MethodGet, Path: path, Host: "shop.example", Header: live.HeadersOf(http.Header{"Accept": {"*/*"}}),
		Status: answer.Code, Answer: live.HeadersOf(answer.Header()), AnswerBody: bytes.Clone(answer.Body.Bytes()), At: begun, Took: max(time.Since(begun), 1),
	}
}

// ask asks so many things, which are mirrored. Now and then data changes between
// the answer and the question that mirrors it.
func (a *audience) ask(ctx context.Context, n int) error {
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		for a.shadow.Held() > 0 && i%32 == 0 && !a.shadow.Idle() {
			time.Sleep(50 * time.Microsecond)
		}
		x := a.exchange(true)
		if a.random.IntN(50) == 0 {
			a.app.change()
		}
		a.shadow.Observe(x, nil)
	}
	for !a.shadow.Idle() {
		time.Sleep(50 * time.Microsecond)
	}
	return nil
}

// calibrate learns how the application differs from itself, while its data
// changes as well.
func (a *audience) calibrate(ctx context.Context, pairs int, found *alarmed) error {
	if err := a.ask(ctx, 64); err != nil { // which measures the lag
		return err
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		k, err := a.shadow.Calibrate(bounded, "billing", func(atOnce, lagged int64) {
			if lagged >= int64(pairs) {
				cancel()
			}
		})
		found.Unlearned += int64(len(k.Unexplained))
		rules, wrong := k.Rules()
		a.shadow.Forget("billing")
		a.shadow.Excuse("billing", rules.For, nil)
		done <- errors.Join(err, wrong)
	}()
	for i := 0; ; i++ {
		select {
		case err := <-done:
			return errors.Join(err, ctx.Err())
		default:
			a.shadow.Observe(a.exchange(false), nil)
			if i%200 == 0 {
				a.app.change()
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// interval is between what a share lies, at 95 %, after something happened in
// some of so many cases (Clopper and Pearson, 1934).
func interval(happened, cases int64) [2]float64 {
	const tail = 0.025
	low, high := 0.0, 1.0
	if happened > 0 {
		low = shareAt(func(p float64) bool { return 1-atMost(happened-1, cases, p) < tail })
	}
	if happened < cases {
		high = shareAt(func(p float64) bool { return atMost(happened, cases, p) > tail })
	}
	return [2]float64{low, high}
}

// shareAt finds the share at which something ceases to hold.
func shareAt(holds func(p float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 200 {
		if p := (low + high) / 2; holds(p) {
			low = p
		} else {
			high = p
		}
	}
	return (low + high) / 2
}

// atMost is the probability that something of probability p happens in k of n
// cases at most.
func atMost(k, n int64, p float64) float64 {
	sum := 0.0
	for i := range k + 1 {
		sum += math.Exp(choose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

// choose is the logarithm of a binomial coefficient.
func choose(n, k int64) float64 {
	log := func(n int64) float64 { v, _ := math.Lgamma(float64(n) + 1); return v }
	return log(n) - log(k) - log(n-k)
}
