package shadow_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/sequential"
	"stranglerfig/strangler-proxy/shadow"
)

// small is a stop rule that eight clean comparisons fulfil.
var small = sequential.Rule{P0: 0.5, P1: 0.25, Alpha: 0.05, PerClient: 1, PerShape: 1}

func by(rule *atomic.Pointer[sequential.Rule]) func(*shadow.Options) {
	return func(o *shadow.Options) {
		o.Judged = func(string, string) shadow.Judging { return shadow.Judging{Rule: *rule.Load(), Slower: 0.5} }
	}
}

func ruled(r sequential.Rule) *atomic.Pointer[sequential.Rule] {
	p := &atomic.Pointer[sequential.Rule]{}
	p.Store(&r)
	return p
}

func TestTheStopRuleSaysWhenItIsEnough(t *testing.T) {
	w := newWorld(t, by(ruled(small)))
	for n := range 8 {
		w.ask("GET", "/invoices")
		if c := w.until("GET /invoices", judged(int64(n+1))); n < 7 && c.Enough() || c.Test.Missing(c.Rule) != 7-n {
			t.Errorf("after %d comparisons: %+v", n+1, c.Test)
		}
	}
	if c := w.until("GET /invoices", judged(8)); !c.Enough() {
		t.Errorf("%+v", c.Test)
	}
	says(&w.service, `{"total": 2}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(9)); c.Enough() || c.Test.Missing(c.Rule) != 2 || c.Mismatched != 1 {
		t.Errorf("after a mismatch: %+v", c)
	}
}

func TestOneClientCountsLessAndLess(t *testing.T) {
	rule := small
	rule.PerClient = 0.25
	w := newWorld(t, by(ruled(rule)))
	for range 8 {
		w.ask("GET", "/invoices") // with the same credentials
	}
	c := w.until("GET /invoices", judged(8))
	if weight := 2 * (1. + 1./3 + 1./4 + 1./5 + 1./6 + 1./7 + 1./8); c.Enough() || c.Test.Weight < weight-0.01-1 || c.Test.Weight > weight+1 {
		t.Errorf("eight comparisons of one client weigh %v", c.Test.Weight)
	}
}

func TestAnAllowedDifferenceAgreesUntilItsDate(t *testing.T) {
	w := newWorld(t, by(ruled(small)))
	answers(&w.service, func(out http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "both" {
			io.WriteString(out, `{"total": 2, "more": 1}`)
			return
		}
		io.WriteString(out, `{"total": 2}`)
	})
	for range 8 {
		w.ask("GET", "/invoices")
	}
	w.ask("GET", "/invoices?both")
	c := w.until("GET /invoices", judged(9))
	if c.Mismatched != 9 || len(c.Differences) != 2 {
		t.Fatalf("%+v", c)
	}
	total := c.Differences[0].ID // the more frequent
	now := time.Now()
	w.shadow.Allow(map[string]time.Time{total: now.Add(time.Hour)})
	c, _ = w.shadow.Count("GET /invoices", shadow.Forward)
	if c.Mismatched != 1 || c.Allowed != 8 || c.Compared != 9 || c.Enough() || c.Test.Missing(c.Rule) != 2 {
		t.Errorf("with one of two allowed: %+v", c)
	}
	w.shadow.Allow(map[string]time.Time{total: now.Add(time.Hour), c.Differences[1].ID: now.Add(time.Hour)})
	if c, _ = w.shadow.Count("GET /invoices", shadow.Forward); c.Mismatched != 0 || c.Allowed != 9 || !c.Enough() {
		t.Errorf("with both allowed: %+v", c)
	}
	w.shadow.Allow(map[string]time.Time{total: now, c.Differences[1].ID: now.Add(time.Hour)})
	if c, _ = w.shadow.Count("GET /invoices", shadow.Forward); c.Mismatched != 9 || c.Enough() {
		t.Errorf("once the date has passed: %+v", c)
	}
}

func TestNoiseIsExcusedAndNothingElse(t *testing.T) {
	w := newWorld(t)
	rules := match.Rules{}.WithBody(path(t, "$.seen"), match.Matcher{Kind: match.Integer})
	w.shadow.Excuse("billing", func(routeID string, status int) match.Rules {
		if routeID != "GET /invoices" || status != 200 {
			return match.Rules{}
		}
		return rules
	}, nil)
	says(&w.monolith, `{"total": 1, "seen": 41}`)
	says(&w.service, `{"total": 1, "seen": 1}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(1)); c.Noise != 1 || c.Matched != 0 || c.Compared != 1 || c.Test.Matches != 1 {
		t.Errorf("%+v", c)
	}
	w.ask("GET", "/invoices/7") // of which nothing was learned
	if c := w.until("GET /invoices/{id}", judged(1)); c.Mismatched != 1 {
		t.Errorf("%+v", c)
	}
	says(&w.service, `{"total": 1, "seen": "many"}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(2)); c.Mismatched != 1 || c.Differences[0].Difference.Path != "$.body.seen" {
		t.Errorf("what is no integer is excused: %+v", c)
	}
}

func path(t *testing.T, text string) match.Path {
	t.Helper()
	p, err := match.ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatWasFoundOutlivesTheProcess(t *testing.T) {
	w := newWorld(t, by(ruled(small)), func(o *shadow.Options) { kept(t, o) })
	w.shadow.Bind("billing", "build 1")
	for range 5 {
		w.ask("GET", "/invoices")
	}
	w.until("GET /invoices", judged(5))
	says(&w.service, `{"total": 2}`)
	w.ask("GET", "/invoices")
	before := w.until("GET /invoices", judged(6))
	w.restart()
	if w.shadow.Bind("billing", "build 1") {
		t.Error("the same build is taken for another")
	}
	after := w.until("GET /invoices", judged(6))
	if summary(after) != summary(before) {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	says(&w.service, `{"total": 1}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(7)); c.Matched != 6 || c.Mismatched != 1 {
		t.Errorf("it does not go on: %+v", c)
	}
	w.restart()
	if !w.shadow.Bind("billing", "build 2") || len(w.shadow.Counts()) != 0 {
		t.Errorf("what was found about another build is still there: %+v", w.shadow.Counts())
	}
}

func summary(c shadow.Count) string {
	d := c.Differences[0]
	return fmt.Sprint(c.Test.LogE(c.Rule), c.Test.First.UnixNano(), c.Matched, c.Mismatched, d.ID, d.Times, d.Example, d.Difference, c.Latency)
}

func TestAnotherBuildBeginsAnew(t *testing.T) {
	w := newWorld(t)
	if w.shadow.Bind("billing", "build 1") {
		t.Error("the first build is taken for another")
	}
	w.ask("GET", "/invoices")
	w.until("GET /invoices", judged(1))
	if w.shadow.Bind("catalog", "build 9") || w.shadow.Bind("billing", "build 1") || len(w.shadow.Counts()) != 1 {
		t.Error("the counts are gone without a reason")
	}
	if !w.shadow.Bind("billing", "build 2") || len(w.shadow.Counts()) != 0 {
		t.Errorf("%+v", w.shadow.Counts())
	}
}

func TestARuleThatIsChangedAfterLookingCountsAnew(t *testing.T) {
	rule := ruled(sequential.Default())
	w := newWorld(t, by(rule))
	for range 8 {
		w.ask("GET", "/invoices")
	}
	w.until("GET /invoices", judged(8))
	rule.Store(&small)
	if c, _ := w.shadow.Count("GET /invoices", shadow.Forward); c.Enough() || c.Test.Missing(c.Rule) != 8 || c.Matched != 8 {
		t.Errorf("%+v", c)
	}
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(9)); c.Test.Missing(c.Rule) != 7 {
		t.Errorf("%+v", c.Test)
	}
}

func TestAFileThatCannotBeReadIsToldAndBegunAnew(t *testing.T) {
	var told atomic.Int64
	w := newWorld(t, func(o *shadow.Options) { kept(t, o); o.Failed = func(error) { told.Add(1) } })
	if err := os.WriteFile(w.options.Path, []byte(`{"version": 99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.shadow.Close()
	told.Store(0)
	w.restart()
	if told.Load() != 1 {
		t.Errorf("told %d times", told.Load())
	}
	w.ask("GET", "/invoices")
	w.until("GET /invoices", judged(1))
}

// TestSecretsAreNeitherShownNorKept plants secrets wherever a mirrored exchange
// may have them, in answers that differ.
func TestSecretsAreNeitherShownNorKept(t *testing.T) {
	secrets := []string{"ada@example.org", "4111111111111111", "s3cret-token-1", "s3cret-token-2", "hunter2", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"}
	w := newWorld(t, func(o *shadow.Options) { kept(t, o) })
	answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(out, `{"mail": "ada@example.org", "note": "paid by 4111111111111111", "token": "s3cret-token-1", "ada@example.org": {"n": 1}}`)
	})
	answers(&w.service, func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(out, `{"mail": "bob@example.org", "note": "paid", "token": "s3cret-token-2", "ada@example.org": {"n": 2}}`)
	})
	w.ask("GET", "/invoices?password=hunter2&jwt=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln")
	c := w.until("GET /invoices", judged(1))
	w.shadow.Close()
	raw, err := os.ReadFile(w.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%+v", c)
	for _, secret := range append(secrets, "bob@example.org", "Bearer someone") {
		if strings.Contains(shown, secret) || strings.Contains(string(raw), secret) {
			t.Errorf("%s is shown or kept:\n%s", secret, raw)
		}
	}
	if c.Mismatched != 1 || len(c.Differences) != 4 || !strings.Contains(string(raw), "$.body.token") {
		t.Errorf("%d differences are left of 4: %+v", len(c.Differences), c.Differences)
	}
}

func TestABodyThatCannotBeLookedIntoIsNotShown(t *testing.T) {
	w := newWorld(t)
	for h, body := range map[*atomic.Pointer[http.HandlerFunc]]string{&w.monolith: "one", &w.service: "two"} {
		answers(h, func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Encoding", "br")
			io.WriteString(out, body)
		})
	}
	w.ask("GET", "/invoices")
	c := w.until("GET /invoices", judged(1))
	if c.Mismatched != 1 || len(c.Differences) != 1 || c.Differences[0].Difference.Expected != "(not shown)" {
		t.Errorf("%+v", c)
	}
}
