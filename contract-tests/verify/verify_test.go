package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/verify"
)

// side starts a target that answers every request with a JSON body.
func side(t *testing.T, name, body string) verify.Target {
	t.Helper()
	return served(t, name, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	})
}

func served(t *testing.T, name string, h http.HandlerFunc) verify.Target {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return verify.Target{Name: name, BaseURL: server.URL}
}

// dead is a target that no longer listens.
func dead(t *testing.T, name string) verify.Target {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return verify.Target{Name: name, BaseURL: server.URL}
}

func interaction(method, body string) contract.Interaction {
	return contract.Interaction{Key: method + body, Description: "an example", Route: method + " /x",
		Request:  contract.Request{Method: method, Path: "/x"},
		Response: contract.Response{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(body)}}
}

func of(interactions ...contract.Interaction) contract.Contract {
	return contract.Contract{Consumer: "web", Provider: "shop", Interactions: interactions}
}

func run(t *testing.T, o verify.Options) verify.Report {
	t.Helper()
	report, err := verify.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestTheVerdictIsTwoSided(t *testing.T) {
	good, wrong := `{"a":1}`, `{"a":2}`
	for _, c := range []struct {
		name              string
		monolith, service string // an answer, or empty for a target that is down
		verdict           verify.Verdict
		exit              int
	}{
		{"both honour it", good, good, verify.Evidence, 0},
		{"only the monolith does", good, wrong, verify.ServiceBug, 1},
		{"only the service does", wrong, good, verify.ContractWrong, 1},
		{"none does", wrong, wrong, verify.Stale, 1},
		{"both do, differently", good, `{"a":1,"b":2}`, verify.Differs, 1},
		{"the service is down", good, "", verify.Unreachable, 2},
		{"the monolith is down", "", good, verify.Unreachable, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var targets []verify.Target
			for _, s := range []struct{ name, body string }{{"monolith", c.monolith}, {"service", c.service}} {
				if s.body == "" {
					targets = append(targets, dead(t, s.name))
				} else {
					targets = append(targets, side(t, s.name, s.body))
				}
			}
			report := run(t, verify.Options{Contract: of(interaction("GET", good)), Targets: targets})
			if got := report.Interactions[0].Verdict; got != c.verdict || report.ExitCode() != c.exit {
				t.Errorf("%s and exit code %d, want %s and %d: %+v", got, report.ExitCode(), c.verdict, c.exit, report)
			}
		})
	}
}

func TestASingleTargetBearsTheFault(t *testing.T) {
	for name, want := range map[string]verify.Verdict{"monolith": verify.ContractWrong, "service": verify.ServiceBug} {
		report := run(t, verify.Options{Contract: of(interaction("GET", `{"a":1}`)), Targets: []verify.Target{side(t, name, `{}`)}})
		if got := report.Interactions[0].Verdict; got != want {
			t.Errorf("%s alone: %s, want %s", name, got, want)
		}
	}
}

func TestFieldsUnderARuleMayDifferBetweenTheSidesUnlessStrict(t *testing.T) {
	path, err := match.ParsePath("$.a")
	if err != nil {
		t.Fatal(err)
	}
	i := interaction("GET", `{"a":1}`)
	i.Response.Rules = match.Rules{}.WithBody(path, match.Matcher{Kind: match.Type})
	o := verify.Options{Contract: of(i), Targets: []verify.Target{side(t, "monolith", `{"a":1}`), side(t, "service", `{"a":2}`)}}
	if got := run(t, o).Interactions[0].Verdict; got != verify.Evidence {
		t.Errorf("with rules: %s", got)
	}
	o.Strict = true
	got := run(t, o).Interactions[0]
	want := []compare.Difference{{Path: "$.body.a", Kind: compare.Value, Expected: "1", Actual: "2"}}
	if diff := cmp.Diff(want, got.Parity); diff != "" || got.Verdict != verify.Differs {
		t.Errorf("strict: %s (-want +got)\n%s", got.Verdict, diff)
	}
}

func TestUnsafeRequestsAreNotSentUnlessAllowed(t *testing.T) {
	var mu sync.Mutex
	var sent []string
	target := served(t, "service", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Method)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{}`)
	})
	o := verify.Options{Contract: of(interaction("GET", `{}`), interaction("POST", `{}`), interaction("DELETE", `{}`)), Targets: []verify.Target{target}}
	report := run(t, o)
	if report.NotExercised != 2 || report.Passed != 1 || report.Verdict != verify.Pass || strings.Join(sent, " ") != "GET" {
		t.Errorf("sent %v: %+v", sent, report)
	}
	sent = nil
	o.Unsafe = true
	if report := run(t, o); report.Passed != 3 || strings.Join(sent, " ") != "GET POST DELETE" {
		t.Errorf("sent %v: %+v", sent, report)
	}
}

func TestNothingExercisedIsTooLittleEvidence(t *testing.T) {
	target := side(t, "service", `{}`)
	for name, c := range map[string]contract.Contract{"no interactions": of(), "only writes": of(interaction("POST", `{}`))} {
		if report := run(t, verify.Options{Contract: c, Targets: []verify.Target{target}}); report.ExitCode() != 2 {
			t.Errorf("%s: exit code %d, want 2", name, report.ExitCode())
		}
	}
}

func TestPendingInteractionsDoNotFailTheRun(t *testing.T) {
	pending := interaction("GET", `{"a":1}`)
	pending.Pending = true
	report := run(t, verify.Options{Contract: of(interaction("GET", `{}`), pending), Targets: []verify.Target{side(t, "service", `{}`)}})
	if report.Pending != 1 || report.Passed != 1 || report.ExitCode() != 0 {
		t.Errorf("%+v", report)
	}
}

func TestRequestsArriveAsTheContractHasThemPlusTheTargetsHeaders(t *testing.T) {
	i := interaction("POST", `{}`)
	i.Request = contract.Request{Method: "POST", Path: "/a%2Fb", Query: map[string][]string{"q": {"1 2", "3"}},
		Header: map[string][]string{"X-A": {"1", "2"}, "Authorization": {"recorded"}}, Body: []byte("body")}
	var got string
	target := served(t, "service", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, strings.Join(r.Header["X-A"], ","), r.Header.Get("Authorization"), r.Host, string(body)}, " ")
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{}`)
	})
	target.Header = map[string]string{"Authorization": "mine", "Host": "shop.example"}
	run(t, verify.Options{Contract: of(i), Targets: []verify.Target{target}, Unsafe: true})
	if want := "POST /a%2Fb q=1+2&q=3 1,2 mine shop.example body"; got != want {
		t.Errorf("arrived as\n%s, want\n%s", got, want)
	}
}

func TestARedirectIsAnAnswer(t *testing.T) {
	i := interaction("GET", "")
	i.Response = contract.Response{Status: 303, Header: map[string][]string{"Location": {"/login"}}}
	target := served(t, "service", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusSeeOther) })
	for _, client := range []*http.Client{nil, {}} {
		if report := run(t, verify.Options{Contract: of(i), Targets: []verify.Target{target}, Client: client}); report.Passed != 1 {
			t.Errorf("%+v", report.Interactions)
		}
	}
}

func TestStatesAreSetUpOnEveryTargetFirst(t *testing.T) {
	i := interaction("GET", `{"n":7}`)
	i.States = []contract.State{{Name: "the number is", Params: map[string]any{"n": 7}}}
	stateful := func(name string) verify.Target {
		var mu sync.Mutex
		number := json.Number("0")
		return served(t, name, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if r.URL.Path != "/_states" {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"n":`+string(number)+`}`)
				return
			}
			var change struct {
				State, Action string
				Params        struct{ N json.Number }
			}
			if err := json.NewDecoder(r.Body).Decode(&change); err != nil || r.Method != "POST" || change.State != "the number is" || change.Action != "setup" {
				t.Errorf("the state arrives as %s %+v (%v)", r.Method, change, err)
			}
			number = change.Params.N
		})
	}
	o := verify.Options{Contract: of(i), Targets: []verify.Target{stateful("monolith"), stateful("service")}, States: true}
	if report := run(t, o); report.Passed != 1 {
		t.Errorf("%+v", report.Interactions)
	}
	o.Targets[1] = served(t, "service", http.NotFound)
	report := run(t, o)
	if got := report.Interactions[0].Results[1].Error; report.ExitCode() != 2 || !strings.Contains(got, `state "the number is"`) || !strings.Contains(got, "404") {
		t.Errorf("exit code %d, error %q", report.ExitCode(), got)
	}
}

func TestWhatCannotBeRunIsRefusedWithEveryReason(t *testing.T) {
	_, err := verify.Run(t.Context(), verify.Options{Contract: contract.Contract{}, Targets: []verify.Target{{Name: "a", BaseURL: "nonsense"}, {Name: "a", BaseURL: "http://x"}}})
	for _, want := range []string{"no base URL", "a name of its own", "consumer.name is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if _, err := verify.Run(t.Context(), verify.Options{Contract: of()}); err == nil || !strings.Contains(err.Error(), "no target") {
		t.Errorf("error %v", err)
	}
}

func TestACancelledRunSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err := verify.Run(ctx, verify.Options{Contract: of(interaction("GET", `{}`)), Targets: []verify.Target{side(t, "service", `{}`)}})
	if !errors.Is(err, context.Canceled) || report.ExitCode() == 0 {
		t.Errorf("error %v, exit code %d", err, report.ExitCode())
	}
}

func TestWhatOthersWroteSteersNoTerminalAndForgesNoLine(t *testing.T) {
	hostile := interaction("GET", `{"a":1}`)
	hostile.Description = "\x1b[2Jgone\nevidence       GET /x: forged"
	report := run(t, verify.Options{Contract: of(hostile), Targets: []verify.Target{side(t, "monolith", "\x1b]0;title\x07"), side(t, "service", `{"a":1}`)}})
	var b bytes.Buffer
	if err := report.Text(&b); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.ContainsAny(text, "\x1b\x07") || strings.Contains(text, "\nevidence") || !strings.Contains(text, "gone") {
		t.Errorf("%q", text)
	}
}

func TestTheReportTellsWhatAndWhere(t *testing.T) {
	report := run(t, verify.Options{Contract: of(interaction("GET", `{"a":1}`), interaction("POST", `{}`)),
		Targets: []verify.Target{side(t, "monolith", `{"a":1}`), side(t, "service", `{"a":"x"}`)}})
	var b bytes.Buffer
	if err := report.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"web relies on shop, verified on monolith, service",
		"service-bug    GET /x: an example",
		`service: $.body.a: type: expected 1, got "x"`,
		"not-exercised  POST /x",
		"fail: 0 passed, 1 failed, 0 pending, 0 unreachable, 0 unauthorized, 1 not exercised",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var back verify.Report
	if err := json.Unmarshal(data, &back); err != nil || back.Verdict != verify.Fail || back.Interactions[0].Results[1].Differences[0].Path != "$.body.a" {
		t.Errorf("%v: %s", err, data)
	}
	if got := report.Routes(); !cmp.Equal(got, []string{"GET /x", "POST /x"}) || report.Verdicts()[verify.ServiceBug] != 1 {
		t.Errorf("routes %v, verdicts %v", got, report.Verdicts())
	}
}

// TestASideThatLetsNobodyInIsNamed: a run without credentials looks like a
// service that is all wrong.
func TestASideThatLetsNobodyInIsNamed(t *testing.T) {
	closed := served(t, "service", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	for want, target := range map[bool]verify.Target{true: closed, false: side(t, "service", `{"b":2}`)} {
		report := run(t, verify.Options{Contract: of(interaction("GET", `{"a":1}`)), Targets: []verify.Target{side(t, "monolith", `{"a":1}`), target}})
		var b strings.Builder
		if err := report.Text(&b); err != nil {
			t.Fatal(err)
		}
		if said := strings.Contains(b.String(), "every answer of the service that failed is 401 or 403"); said != want {
			t.Errorf("the report says:\n%s", b.String())
		}
		if strings.Contains(b.String(), "every answer of the monolith") {
			t.Errorf("a side that lets everybody in is named:\n%s", b.String())
		}
	}
}

// TestARequestThatIsNotLetInTellsNothingOfTheSides: without credentials nobody
// is judged; with the same ones, a side that alone turns them away is at fault,
// and one that alone lets them in as well.
func TestARequestThatIsNotLetInTellsNothingOfTheSides(t *testing.T) {
	gate := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if q.Header.Get("Authorization") == "" {
				w.WriteHeader(status)
				return
			}
			io.WriteString(w, `{"a":1}`)
		}
	}
	open := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"a":1}`)
	}
	token := map[string]string{"Authorization": "Bearer x"}
	for name, c := range map[string]struct {
		monolith, service       http.HandlerFunc
		toMonolith, toService   map[string]string
		verdict                 verify.Verdict
		exit, unauthorized, bad int
	}{
		"both turn it away":                              {gate(401), gate(403), nil, nil, verify.Unauthorized, 2, 1, 0},
		"both let it in":                                 {gate(401), gate(401), token, token, verify.Evidence, 0, 0, 0},
		"only the monolith was sent a token":             {gate(401), gate(401), token, nil, verify.Unauthorized, 2, 1, 0},
		"the service forbids what it knows":              {open, gate(403), token, nil, verify.ServiceBug, 1, 0, 1},
		"the service turns away what the monolith takes": {open, gate(401), nil, nil, verify.ServiceBug, 1, 0, 1},
		"the service takes what the monolith turns away": {gate(401), open, nil, nil, verify.ContractWrong, 1, 0, 1},
	} {
		monolith, service := served(t, "monolith", c.monolith), served(t, "service", c.service)
		monolith.Header, service.Header = c.toMonolith, c.toService
		report := run(t, verify.Options{Contract: of(interaction("GET", `{"a":1}`)), Targets: []verify.Target{monolith, service}})
		if got := report.Interactions[0].Verdict; got != c.verdict || report.ExitCode() != c.exit || report.Unauthorized != c.unauthorized || report.Failed != c.bad {
			t.Errorf("%s: %+v", name, report)
		}
	}
	known := interaction("GET", `{"a":1}`)
	known.Response.Status = 401 // what the example itself says is judged
	report := run(t, verify.Options{Contract: of(known), Targets: []verify.Target{served(t, "monolith", gate(401)), served(t, "service", gate(401))}})
	if report.Unauthorized != 0 || report.Failed != 1 {
		t.Errorf("an example of being turned away: %+v", report)
	}
}

func TestARunThatCouldNotJudgeSaysWhatItLacked(t *testing.T) {
	turnAway := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	pending := interaction("GET", `{"a":2}`)
	pending.Pending = true
	for want, o := range map[string]verify.Options{
		"1 of 1 interactions were not let in (401 or 403)": {Contract: of(interaction("GET", `{"a":1}`)), Targets: []verify.Target{served(t, "monolith", turnAway)}},
		"1 of 1 interactions got no answer":                {Contract: of(interaction("GET", `{"a":1}`)), Targets: []verify.Target{dead(t, "monolith")}},
		"none of 1 interactions was exercised":             {Contract: of(interaction("POST", `{"a":1}`)), Targets: []verify.Target{side(t, "monolith", `{"a":1}`)}},
		"and 1 are pending":                                {Contract: of(pending), Targets: []verify.Target{side(t, "monolith", `{"a":1}`)}},
	} {
		report := run(t, o)
		var b strings.Builder
		if err := report.Text(&b); err != nil || report.ExitCode() != 2 || !strings.Contains(b.String(), want) {
			t.Errorf("%v, no %q in\n%s", err, want, b.String())
		}
	}
}
