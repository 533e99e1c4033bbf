package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
)

// TestReloadsHurtNobody saves the file again and again, each time with another
// owner of a route and other routes, while clients of every kind ask.
func TestReloadsHurtNobody(t *testing.T) {
	for _, listener := range kinds {
		check(t, listener.name, func(t testing.TB) { reloads(t, listener) })
	}
}

const manyReloads = 30

func reloads(t testing.TB, listener kind) {
	id := newIdentity(t)
	monolith, service := newApplication(t, inClear, id), newApplication(t, inClear, id)
	yaml := func(n int) string {
		return listener.listener(id) + "monolith: " + inClear.backend(monolith.address, id) + owners(service.address, n)
	}
	c := &cell{listener: listener, app: monolith, id: id, front: start(t, yaml(0))}
	for _, app := range []*application{monolith, service} {
		app.cases.Store("read", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "read") }))
	}
	stream := c.openStream(t)
	heard := func() {}
	if !listener.h2 {
		heard = c.openSocket(t)
	}
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 4 {
		client := c.client(t)
		asking.Go(func() {
			for ctx.Err() == nil {
				res, err := client.Do(c.request(t, "GET", "/read", nil))
				if err != nil {
					t.Errorf("a read failed: %v", err)
					return
				}
				if body, err := io.ReadAll(res.Body); err != nil || string(body) != "read" {
					t.Errorf("a read was answered %s %q: %v", res.Status, body, err)
				}
				res.Body.Close()
			}
		})
	}
	for n := range manyReloads {
		c.front.reload(t, yaml(n))
	}
	stop()
	asking.Wait()
	if got := stream(); got != "data: again\n" {
		t.Errorf("the stream from before carries %q", got)
	}
	heard()
	if monolith.served.Load() == 0 || service.served.Load() == 0 {
		t.Errorf("the monolith was asked %d times, the service %d times", monolith.served.Load(), service.served.Load())
	}
}

// owners is what the file says of routes at its nth save: one changes hands,
// others come and go.
func owners(service string, n int) string {
	text := fmt.Sprintf(`
capabilities:
  billing:
    service: {url: "http://%s", health: "", build: ""}
    waive: [{gate: contract, reason: none is needed here, by: the test, until: 2099-01-01}, {gate: shadow, reason: none is needed here, by: the test, until: 2099-01-01}]
    routes:
      GET /read: %s
`, service, []string{"monolith", "service"}[n%2])
	for i := range 200 {
		text += fmt.Sprintf("      GET /other/%d/%d: monolith\n", n, i)
	}
	return text
}

// openStream opens a stream of events; the function it returns has one more
// sent and reads it.
func (c *cell) openStream(t testing.TB) func() string {
	t.Helper()
	again := make(chan bool, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		flush(w)
		select {
		case <-again:
			io.WriteString(w, "data: again\n\n")
		case <-r.Context().Done():
		}
	})
	res, err := c.client(t).Do(c.request(t, "GET", path, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return func() string {
		again <- true
		got, _ := bufio.NewReader(res.Body).ReadString('\n')
		return got
	}
}

// reload saves the file and waits until it is in force.
func (f *front) reload(t testing.TB, yaml string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(frontHead+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.admin+"/v1/reload", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if said, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("the reload was answered %s %s: %v", res.Status, said, err)
	}
}
