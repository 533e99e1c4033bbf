package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/control/api"
)

// mirrored is what a strangler says of a capability's shadows.
func mirrored(set ...func(*api.Shadow)) api.Shadows {
	s := api.Shadow{
		Route: "GET /invoices", Direction: "forward", Compared: 40, Matched: 38, Noise: 2, Incomparable: 3, Dropped: 1,
		Reasons: map[string]int64{"state-skew": 3, "queue-full": 1},
		Stop:    api.Stop{P0: 0.05, P1: 0.001, Alpha: 0.05, Missing: 20, Remaining: 90 * time.Second},
		Latency: api.Latency{Pairs: 40, Verdict: "not slower", Monolith: map[string]float64{"p50": 2.4, "p95": 4.91, "p99": 6}, Service: map[string]float64{"p50": 1.2, "p95": 2.1, "p99": 3},
			Tails: []api.Tail{{Quantile: "p95", Verdict: "not slower", Monolith: api.Span{Above: 4.5, UpTo: 5.3}, Service: api.Span{Above: 2, UpTo: 2.3}}, {Quantile: "p99", Verdict: "unsettled", Monolith: api.Span{Above: 5}, Service: api.Span{Above: 2.5}}}},
	}
	for _, f := range set {
		f(&s)
	}
	return api.Shadows{Capability: "billing", Routes: []api.Shadow{s}}
}

func enough(s *api.Shadow) { s.Stop.Missing, s.Stop.Remaining, s.Stop.Enough = 0, 0, true }

func differs(s *api.Shadow) {
	s.Mismatched = 2
	s.Differences = []api.Difference{{ID: "4f1c09a2be", Times: 2, Kind: "value", Path: "$.body.note", Expected: `"late"`, Example: "GET /invoices/7", Fingerprint: "value $.body.note"}}
}

func back(s *api.Shadow) { s.Direction = "reverse" }

// told runs a verb against a strangler that says what it is told to.
func told(t *testing.T, says api.Shadows, args ...string) (string, int) {
	t.Helper()
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(says); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(admin.Close)
	path := filepath.Join(t.TempDir(), "strangler.yaml")
	text := "monolith: {url: http://127.0.0.1:9}\nadmin: {listen: \"" + strings.TrimPrefix(admin.URL, "http://") + "\", token: secret}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := Main(append(args, "-c", path), &out, &out)
	return out.String(), code
}

func TestShadowStatusSaysHowFarItIsAndExitsAccordingly(t *testing.T) {
	for name, c := range map[string]struct {
		says  api.Shadows
		code  int
		words []string
	}{
		"not enough": {mirrored(), api.ExitNotEnough, []string{
			"GET /invoices (the monolith answers, the service is asked as well)",
			"40 compared: 38 equal, 2 noise, 0 allowed, 0 unexplained", "3 incomparable, 1 dropped: 1 queue-full, 3 state-skew",
			"not enough: 20 more without a difference over 1m30s more", "not slower than it may be (p50 1.2 ms and 2.4 ms, p95 2.1 ms and 4.91 ms, p99 3 ms and 6 ms)", "p95: not slower; the service's is 2 ms to 2.3 ms, the monolith's 4.5 ms to 5.3 ms", "p99: unsettled; the service's is above 2.5 ms",
		}},
		"enough":             {mirrored(enough), api.ExitYes, []string{"enough: fewer than 5 % differ, at 95 %"}},
		"a difference":       {mirrored(enough, differs), api.ExitNo, []string{"no: strangler shadow differences lists what differs"}},
		"only mirrored back": {mirrored(enough, back), api.ExitNotEnough, []string{"the service answers, the monolith is asked as well"}},
		"nothing":            {api.Shadows{}, api.ExitNotEnough, []string{"nothing has been mirrored yet"}},
	} {
		text, code := told(t, c.says, "shadow", "status", "billing")
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d", name, code, c.code)
		}
		for _, w := range c.words {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is missing in\n%s", name, w, text)
			}
		}
	}
}

func TestShadowDifferencesAreListedWithWhatToDo(t *testing.T) {
	text, code := told(t, mirrored(differs), "shadow", "differences", "billing")
	for _, w := range []string{"4f1c09a2be  2× value at $.body.note", `the monolith: "late"`, "the service:  nothing", "such as GET /invoices/7", "strangler shadow allow ID --reason TEXT --expires DATE"} {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in\n%s", w, text)
		}
	}
	if code != api.ExitNo {
		t.Errorf("exit code %d", code)
	}
	if text, code := told(t, mirrored(), "shadow", "differences", "billing"); code != api.ExitYes || !strings.Contains(text, "nothing differs") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

func TestADateThatIsNoneIsRefused(t *testing.T) {
	text, code := told(t, mirrored(), "shadow", "allow", "4f1c", "--reason", "r", "--expires", "soon")
	if code != api.ExitNo || !strings.Contains(text, `--expires "soon": accepted are a date such as 2030-01-31`) {
		t.Errorf("exit code %d\n%s", code, text)
	}
}
