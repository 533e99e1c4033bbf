package shop_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stranglerfig/contract-tests/history"
	"stranglerfig/contract-tests/shop"
	"stranglerfig/strangler-proxy/control/api"
)

var bin string // folder of the built commands

// TestMain builds the commands once.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("end-to-end journeys are left out by -short")
		return
	}
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "strangler-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		bin = dir
		err = shop.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

// waived lets a cutover of billing go without the evidence that other tests are
// about.
func waived(gates ...string) func(string) string {
	return func(text string) string {
		var list []string
		for _, g := range gates {
			list = append(list, fmt.Sprintf("{gate: %s, reason: another test is about it, by: tests, until: 2099-12-31}", g))
		}
		return strings.Replace(text, "contract: billing.pact.json", "contract: billing.pact.json\n    waive: ["+strings.Join(list, ", ")+"]", 1)
	}
}

// world starts a shop and stops it when the test ends.
func world(t *testing.T, o shop.Options) *shop.World {
	t.Helper()
	o.Bin = bin
	if o.Size == 0 {
		o.Size = 100
	}
	w, err := shop.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the strangler's last words:\n%s", w.Proxy.Output())
		}
		if err := w.Close(false); err != nil {
			t.Error(err)
		}
	})
	return w
}

// run runs a verb that must succeed.
func run(t *testing.T, w *shop.World, args ...string) string {
	t.Helper()
	out, err := w.Strangler(t.Context(), args...)
	if err != nil {
		t.Fatalf("strangler %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs a verb that must fail with a code and say certain things.
func refused(t *testing.T, w *shop.World, code int, says []string, args ...string) {
	t.Helper()
	out, err := w.Strangler(t.Context(), args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Errorf("strangler %s: %v, want exit code %d\n%s", strings.Join(args, " "), err, code, out)
	}
	for _, text := range says {
		if !strings.Contains(out, text) {
			t.Errorf("strangler %s does not say %q:\n%s", strings.Join(args, " "), text, out)
		}
	}
}

// moved prepares, copies and verifies billing's data.
func ready(t *testing.T, w *shop.World) {
	t.Helper()
	for _, verb := range []string{"prepare", "copy", "verify"} {
		run(t, w, "data", verb, "billing")
	}
}

// billing asks where billing stands.
func billing(t *testing.T, w *shop.World) api.Capability {
	t.Helper()
	c, err := capability(t.Context(), w, "billing")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func capability(ctx context.Context, w *shop.World, name string) (api.Capability, error) {
	out, err := w.Strangler(ctx, "status", name, "--json")
	if err != nil {
		return api.Capability{}, fmt.Errorf("%w: %s", err, out)
	}
	var s api.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return api.Capability{}, err
	}
	return s.Capabilities[slices.IndexFunc(s.Capabilities, func(c api.Capability) bool { return c.Name == name })], nil
}

// eventually polls until a condition holds; the deadline only ends a test that
// would otherwise hang.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// clerks issue invoices through the strangler, repeating each with its key
// until they know what became of it, whatever happens meanwhile.
type clerks struct {
	w      *shop.World
	log    *history.Log
	stop   context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	n      int
	states map[int]int
}

func hire(t *testing.T, w *shop.World, n int) *clerks {
	ctx, stop := context.WithCancel(context.Background())
	c := &clerks{w: w, log: history.New(time.Now), stop: stop, states: map[int]int{}}
	for range n {
		c.wg.Go(func() { c.work(ctx) })
	}
	t.Cleanup(c.dismiss)
	return c
}

// dismiss waits until every clerk knows of its last invoice.
func (c *clerks) dismiss() { c.stop(); c.wg.Wait() }

func (c *clerks) work(ctx context.Context) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		c.mu.Lock()
		c.n++
		key := fmt.Sprintf("clerk-%06d", c.n)
		c.mu.Unlock()
		done := c.log.Begin("invoice", key)
		for {
			status := c.send(client, key)
			if o := history.Classify(status); o != history.Unknown {
				done(o, fmt.Sprint(status))
				break
			}
			<-pace.C
		}
		<-pace.C
	}
}

func (c *clerks) send(client *http.Client, key string) int {
	body := fmt.Sprintf(`{"customer_id":1,"amount":1.25,"note":%q}`, key)
	req, err := http.NewRequest("POST", "http://"+c.w.Addr.Proxy+"/invoices", strings.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+shop.Token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := client.Do(req)
	status := 0
	if err == nil {
		if _, err = io.Copy(io.Discard, res.Body); err == nil {
			status = res.StatusCode
		}
		res.Body.Close()
	}
	c.mu.Lock()
	c.states[status]++
	c.mu.Unlock()
	return status
}

// acked is how many invoices were acknowledged so far.
func (c *clerks) acked() int {
	n := 0
	for _, op := range c.log.Operations() {
		if op.Outcome == history.OK {
			n++
		}
	}
	return n
}

var notes = map[string]string{
	"shop.db":    "SELECT note, count(*) FROM inv WHERE note LIKE 'clerk-%' GROUP BY note",
	"billing.db": "SELECT note, count(*) FROM invoices WHERE note LIKE 'clerk-%' GROUP BY note",
}

// settle dismisses the clerks and sees that both databases hold exactly what
// they were told: nothing lost, nothing twice.
func (c *clerks) settle(t *testing.T) {
	t.Helper()
	c.dismiss()
	for file, query := range notes {
		var found history.Result
		eventually(t, file+" holds what clerks were told", func() bool {
			counts, err := c.w.Count(context.Background(), file, query)
			if err != nil {
				t.Fatal(err)
			}
			found = history.Check(c.log.Operations(), "invoice", counts)
			if len(found.Doubled)+len(found.Resurrected) > 0 {
				t.Fatalf("%s: %+v", file, found)
			}
			return found.Clean()
		})
		if found.Acked == 0 {
			t.Errorf("%s: no write was acknowledged, so nothing is proven", file)
		}
	}
	t.Logf("%d acknowledged, statuses %v", c.acked(), c.states)
}

// fences returns which sides refuse writers, by their databases.
func fences(t *testing.T, w *shop.World) (monolith, service bool) {
	t.Helper()
	fenced := func(file string) bool {
		counts, err := w.Count(context.Background(), file, "SELECT 'billing', fenced FROM strangler_move WHERE move = 'billing'")
		if err != nil {
			t.Fatal(err)
		}
		return counts["billing"] == 1
	}
	return fenced(filepath.Base("shop.db")), fenced("billing.db")
}

// TestAWorldWhosePortWasTakenFindsAnotherAndSeedsItsDatabaseOnce takes the
// proxy's port between its choice and its use, with a database that outlives the
// first try.
func TestAWorldWhosePortWasTakenFindsAnotherAndSeedsItsDatabaseOnce(t *testing.T) {
	var taken net.Listener
	take := func(text string) string {
		if taken == nil {
			_, after, _ := strings.Cut(text, "\nlisten: ")
			addr, _, _ := strings.Cut(after, "\n")
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Error(err)
				return text
			}
			t.Cleanup(func() { l.Close() })
			taken = l
		}
		return text
	}
	w := world(t, shop.Options{Size: 20, Database: "sqlite:" + filepath.Join(t.TempDir(), "shop.db"), Edit: take})
	if w.Addr.Proxy == taken.Addr().String() {
		t.Error("the proxy is said to listen on a port that another process has")
	}
	res, err := http.Get(w.Proxy.URL + "/products/7")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the shop that was found answers %s", res.Status)
	}
}
