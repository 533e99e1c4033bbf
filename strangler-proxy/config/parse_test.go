package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stranglerfig/contract-tests/sequential"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/route"
)

var update = flag.Bool("update", false, "write the golden files anew")

func nothingSet(string) (string, bool) { return "", false }

// parse reads a text that must be good.
func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("strangler.yaml", []byte(text), nothingSet)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEveryProblemIsNamedWithItsLineAndAHint compares what is said of each file
// in testdata/bad with the golden text beside it: all problems of a file at
// once.
func TestEveryProblemIsNamedWithItsLineAndAHint(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.Parse("strangler.yaml", text, nothingSet)
			var bad *config.Error
			if !errors.As(err, &bad) {
				t.Fatalf("the error is %v", err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the problems have changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProblemsComeInTheSameOrderEveryTime(t *testing.T) {
	text, err := os.ReadFile("testdata/bad/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, first := config.Parse("strangler.yaml", text, nothingSet)
	for range 50 {
		if _, again := config.Parse("strangler.yaml", text, nothingSet); again.Error() != first.Error() {
			t.Fatalf("once\n%v\nthen\n%v", first, again)
		}
	}
}

func TestTheShopsFileIsGood(t *testing.T) {
	c, err := config.Load("../../contract-tests/shop/strangler.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"billing", "catalog"}, c.Names()); diff != "" {
		t.Error(diff)
	}
	billing, _ := c.Capability("billing")
	if len(billing.Data.Tables) != 3 || billing.CanaryBy != "cookie:shop_session" || filepath.Base(billing.Contract) != "billing.pact.json" {
		t.Errorf("billing was read as %+v", billing)
	}
	r, ok := c.Route("POST  /invoices")
	if !ok || !r.Writes || r.Capability != "billing" || r.Owner.Stage != route.Monolith {
		t.Errorf("POST /invoices was read as %+v", r)
	}
	if n := len(c.AllRoutes()); n != 14 {
		t.Errorf("%d routes were read", n)
	}
}

func TestASmallFileHasDefaultsForTheRest(t *testing.T) {
	c := parse(t, "monolith: {url: http://127.0.0.1:9000/}\n")
	want := &config.Config{
		Path: "strangler.yaml", Listen: ":8080", Admin: config.Admin{Listen: "127.0.0.1:8079"}, State: "./strangler-state", AccessLog: "stdout", IOUring: true,
		Forwarded: "x-forwarded", RequestID: "X-Request-Id", Tracing: config.Tracing{Service: "strangler", Sample: 1},
		Limits: config.Limits{
			Connections: 20_000, Requests: 4096, Head: 64 << 10,
			HeadTimeout: 10 * time.Second, BodyTimeout: time.Minute, Idle: 2 * time.Minute,
		},
		Monolith: config.Backend{
			URL: "http://127.0.0.1:9000", URLs: []string{"http://127.0.0.1:9000"}, Protocol: "http/1.1", Rewrite: true, Build: "/buildz",
			Timeouts: config.Timeouts{Dial: 2 * time.Second, Answer: 5 * time.Minute, Idle: 5 * time.Minute},
			Limits:   config.BackendLimits{Connections: 1024, Requests: 4096},
			Breaker:  config.Breaker{Failures: 5, Pause: 500 * time.Millisecond},
		},
		Hold: config.Hold{Requests: 1000, Bytes: 64 << 20, Wait: 5 * time.Second}, Drain: 10 * time.Second,
		Shadow: config.Shadow{
			Queue: 256, Body: 256 << 10, Timeout: 5 * time.Second,
			Mirroring: config.Mirroring{Rule: sequential.Default(), Latency: config.LatencyWarn, Slower: 0.5, Reverse: 10},
		},
		Evidence: config.Evidence{MaxAge: 24 * time.Hour},
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(config.Config{})); diff != "" {
		t.Error(diff)
	}
}

func TestVariablesComeFromTheEnvironment(t *testing.T) {
	env := map[string]string{"HOST": "10.0.0.1", "TOKEN": "s3cret: [really]"}
	c, err := config.Parse("strangler.yaml", []byte("monolith: {url: \"http://${HOST}:9000\"}\nadmin: {token: \"${TOKEN}\"}\nstate: $HOME/${\n"),
		func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if c.Monolith.URL != "http://10.0.0.1:9000" || c.Admin.Token != "s3cret: [really]" || c.State != "$HOME/${" {
		t.Errorf("%+v, state %q", c.Monolith, c.State)
	}
}

func TestPathsAreResolvedAgainstTheFolderOfTheFile(t *testing.T) {
	c, err := config.Parse("/etc/shop/strangler.yaml", []byte(small), nothingSet)
	if err != nil {
		t.Fatal(err)
	}
	billing, _ := c.Capability("billing")
	if c.Monolith.Database != "sqlite:/etc/shop/shop.db" || billing.Service.Database != "sqlite:/var/billing.db" || billing.Contract != "/etc/shop/billing.pact.json" {
		t.Errorf("%q, %q, %q", c.Monolith.Database, billing.Service.Database, billing.Contract)
	}
	if got := c.Resolve(c.State); got != "/etc/shop/strangler-state" {
		t.Errorf("the state is in %q", got)
	}
}

func TestAWaiverHoldsToTheEndOfItsLastDay(t *testing.T) {
	c := parse(t, small)
	billing, _ := c.Capability("billing")
	for at, want := range map[string]bool{"2030-01-31T23:59:59Z": true, "2030-02-01T00:00:00Z": false, "2029-01-01T00:00:00Z": true} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if w, ok := billing.Waiver("shadow", now); ok != want || ok && w.By != "ana" {
			t.Errorf("at %s: %+v, %v", at, w, ok)
		}
		if _, ok := billing.Waiver("verify", now); ok {
			t.Error("a waiver of one gate opens another")
		}
	}
	exact := parse(t, strings.Replace(small, "2030-01-31", "2030-01-31T12:00:00+01:00", 1))
	billing, _ = exact.Capability("billing")
	if until := billing.Waivers[0].Until.UTC(); !until.Equal(time.Date(2030, 1, 31, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("a time was read as %s", until)
	}
}

// small is a good file that has a bit of everything.
const small = `monolith: {url: http://127.0.0.1:9000, database: sqlite:shop.db}
capabilities:
  billing:
    service: {url: http://127.0.0.1:9102, database: sqlite:/var/billing.db, health: /up, build: /build}
    canary: {by: "cookie:sid"}
    routes:
      GET /invoices: monolith
      GET /invoices/{id}: {owner: shadow 10%, encoded_slash: false}
      POST /invoices: monolith
    data:
      invoices: {from: inv, key: id, columns: {id: id, amount_cents: {from: amount, scale: 2}}}
    contract: billing.pact.json
    waive: [{gate: shadow, reason: no traffic, by: ana, until: 2030-01-31}]
`

// digest is the digest of billing in small after replacing a text by another.
func digest(t *testing.T, path string, replacing ...string) string {
	t.Helper()
	text := strings.NewReplacer(replacing...).Replace(small)
	if len(replacing) > 0 && text == small {
		t.Fatalf("%q is not in the file", replacing)
	}
	c, err := config.Parse(path, []byte(text), nothingSet)
	if err != nil {
		t.Fatal(err)
	}
	billing, _ := c.Capability("billing")
	return billing.Digest()
}

func TestDigestIgnoresOwnerWordsAndWaivers(t *testing.T) {
	want := digest(t, "strangler.yaml")
	for _, replacing := range [][]string{
		{"GET /invoices: monolith", "GET /invoices: canary 5%"},
		{"{owner: shadow 10%, encoded_slash: false}", "service"},
		{"POST /invoices: monolith", "POST /invoices: service"},
		{"POST /invoices: monolith", "POST /invoices: {owner: monolith, writes: true}"},
		{"no traffic", "little traffic"},
		{"    waive: [{gate: shadow, reason: no traffic, by: ana, until: 2030-01-31}]\n", ""},
		{"    routes:", "    # a comment\n    routes:"},
		{"capabilities:\n", "drain: 1s\ncapabilities:\n"},
	} {
		if got := digest(t, "strangler.yaml", replacing...); got != want {
			t.Errorf("%q changes the digest", replacing)
		}
	}
}

func TestDigestIsBoundToEverythingElseThatIsDeclared(t *testing.T) {
	want := digest(t, "strangler.yaml")
	for _, replacing := range [][]string{
		{"http://127.0.0.1:9102", "http://127.0.0.1:9103"},
		{"sqlite:/var/billing.db", "sqlite:/var/other.db"},
		{"health: /up", "health: /readyz"},
		{"build: /build", "build: /version"},
		{"url: http://127.0.0.1:9102", "url: [http://127.0.0.1:9102, http://127.0.0.1:9202]"},
		{"health: /up", "health: /up, protocol: h2c"},
		{"health: /up", "health: /up, host: backend"},
		{"health: /up", "health: /up, rewrite: false"},
		{"http://127.0.0.1:9102", "https://127.0.0.1:9102, tls: {server_name: billing}"},
		{"cookie:sid", "header:X-Client"},
		{"GET /invoices: monolith", "GET /bills: monolith"},
		{"encoded_slash: false", "encoded_slash: true"},
		{"{owner: shadow 10%, encoded_slash: false}", "{owner: monolith, writes: true}"},
		{"      GET /invoices: monolith\n", ""},
		{"from: inv,", "from: invoice,"},
		{"scale: 2", "scale: 3"},
		{"{from: amount, scale: 2}", "amount"},
		{"key: id", "key: [id, amount_cents]"},
	} {
		if got := digest(t, "strangler.yaml", replacing...); got == want {
			t.Errorf("%q does not change the digest", replacing)
		}
	}
}

func TestDigestDoesNotDependOnHowOftenAndHowLongAServiceIsAsked(t *testing.T) {
	want := digest(t, "strangler.yaml")
	for _, more := range []string{
		"timeouts: {dial: 1s, answer: 1s, idle: 1s}", "limits: {connections: 1, requests: 1}", "breaker: {failures: 1, pause: 1s}",
		"health_interval: 1s", "protocol: http/1.1", "host: client", "rewrite: true",
	} {
		if got := digest(t, "strangler.yaml", "health: /up", "health: /up, "+more); got != want {
			t.Errorf("%q changes the digest", more)
		}
	}
}

func TestEvidenceOutlivesKeysThatAreNotGiven(t *testing.T) {
	if got := digest(t, "strangler.yaml"); got != "b7430b201d57d815" {
		t.Errorf("the digest has become %s, which voids everybody's evidence", got)
	}
}

func TestDigestIsTheSameByWhateverPathTheFileIsReached(t *testing.T) {
	here, err := filepath.Abs("strangler.yaml")
	if err != nil {
		t.Fatal(err)
	}
	relative := []string{"sqlite:/var/billing.db", "sqlite:billing.db"}
	if digest(t, "strangler.yaml", relative...) != digest(t, here, relative...) || digest(t, "../config/strangler.yaml", relative...) != digest(t, here, relative...) {
		t.Error("evidence filed from the file's folder would be void elsewhere")
	}
}

// FuzzConfig looks for texts that make reading or editing panic, for edits that
// make a good file bad, and for good files whose routes are none.
func FuzzConfig(f *testing.F) {
	f.Add(small)
	for _, pattern := range []string{"testdata/bad/*.yaml", "../../contract-tests/shop/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Add("a: &a {b: *a}\nmonolith: *a\n")
	f.Add("monolith: {<<: {url: x}}\ncapabilities: {a: {routes: &r {GET /a: &w monolith, GET /b: *w}}, b: {routes: *r}}")
	f.Add("capabilities: {a: {waive: [~], data: {t: ~}}}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := config.Parse("strangler.yaml", []byte(text), nothingSet)
		var bad *config.Error
		if err != nil {
			if !errors.As(err, &bad) || len(bad.Problems) == 0 || err.Error() == "" {
				t.Fatalf("the error is %#v", err)
			}
			return
		}
		if _, problems := route.Compile(c.AllRoutes(), c.Paths()); len(problems) > 0 {
			t.Fatalf("a good file has the problems %v", problems)
		}
		for _, r := range c.AllRoutes() {
			if r.Writes {
				continue
			}
			edited, _, err := config.SetOwners([]byte(text), map[string]route.Owner{r.ID: {Stage: route.Shadow, Share: 12}})
			if err != nil {
				continue // written in a way that cannot be edited
			}
			again, err := config.Parse("strangler.yaml", edited, nothingSet)
			if err != nil {
				t.Fatalf("editing %q made a good file bad: %v\n%s", r.ID, err, edited)
			}
			if now, _ := again.Route(r.ID); now.Owner != (route.Owner{Stage: route.Shadow, Share: 12}) {
				t.Fatalf("editing %q made it %q\n%s", r.ID, now.Owner, edited)
			}
		}
	})
}
