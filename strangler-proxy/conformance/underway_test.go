package conformance

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// anew changes something about the backends of a file, so that they are made
// anew when it is reloaded.
func anew(yaml string, n int) string {
	return strings.Replace(yaml, "monolith: {", fmt.Sprintf("monolith: {breaker: {failures: %d}, ", 100+n), 1)
}

// TestAReloadCutsNobodyWhoIsUnderWay has the backend made anew, which no longer
// is the one that those under way speak to.
func TestAReloadCutsNobodyWhoIsUnderWay(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			check(t, listener.name+" to "+backend.name, func(t testing.TB) {
				id := newIdentity(t)
				app := newApplication(t, backend, id)
				yaml := listener.listener(id) + "monolith: " + backend.backend(app.address, id) + "\n"
				c := &cell{listener: listener, app: app, id: id, front: start(t, yaml)}
				c.shared = c.client(t)
				event := c.openStream(t)
				rest := c.openUpload(t)
				again := func() {}
				if onlyHTTP1(listener, backend) {
					again = c.openSocket(t)
				}
				for n := range 5 {
					c.front.reload(t, anew(yaml, n))
					answers(t, c)
				}
				if got := event(); got != "data: again\n" {
					t.Errorf("the stream from before carries %q", got)
				}
				if got := rest(); got != "the first half and the second" {
					t.Errorf("the upload from before was answered %q", got)
				}
				again()
			})
		}
	}
}

// openSocket opens a WebSocket; the function it returns says something and
// wants to hear it again.
func (c *cell) openSocket(t testing.TB) func() {
	t.Helper()
	_, socket := c.dial(t, c.socket(t, echo))
	return func() {
		t.Helper()
		if err := socket.Write(t.Context(), websocket.MessageText, []byte("again")); err != nil {
			t.Error(err)
			return
		}
		if _, got, err := socket.Read(t.Context()); err != nil || string(got) != "again" {
			t.Errorf("the WebSocket from before carries %q: %v", got, err)
		}
	}
}

// openUpload begins a request whose body is half sent; the function it returns
// sends the rest and returns the answer, which is the body.
func (c *cell) openUpload(t testing.TB) func() string {
	t.Helper()
	began := make(chan bool, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		half := make([]byte, len("the first half"))
		if _, err := io.ReadFull(r.Body, half); err != nil {
			return
		}
		began <- true
		rest, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Write(append(half, rest...))
	})
	body, sending := io.Pipe()
	answered := make(chan string, 1)
	client, request := c.client(t), c.request(t, "POST", path, body)
	go func() {
		res, err := client.Do(request)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			got = []byte(err.Error())
		}
		answered <- string(got)
	}()
	if _, err := io.WriteString(sending, "the first half"); err != nil {
		t.Fatal(err)
	}
	receive(t, "the first half", began)
	return func() string {
		io.WriteString(sending, " and the second")
		sending.Close()
		return receive(t, "the answer", answered)
	}
}

// TestGRPCStreamsSurviveReloads goes on with a stream both ways after reloads
// that concern other routes, and after some that make the backend anew.
func TestGRPCStreamsSurviveReloads(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			if !listener.h2 || !backend.h2 {
				continue
			}
			check(t, listener.name+" to "+backend.name, func(t testing.TB) {
				c := newCall(t, listener, backend)
				s := c.stream(t, "Chat")
				for n := range 6 {
					tell(t, s, fmt.Sprint("word", n))
					if got := hear(t, s); got != fmt.Sprint("WORD", n) {
						t.Fatalf("message %d was answered %q", n, got)
					}
					if n%2 == 0 {
						c.front.reload(t, c.yaml+owners("127.0.0.1:1", 2*n))
					} else {
						c.front.reload(t, anew(c.yaml, n)+owners("127.0.0.1:1", 2*n))
					}
				}
				over(t, s)
				unaryPasses(t, c)
			})
		}
	}
}

// TestABackendGetsNoMoreThanItMayHave has as many requests under way as the
// file allows and sends one more.
func TestABackendGetsNoMoreThanItMayHave(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			for _, limit := range []string{"requests: 2", "connections: 2"} {
				if backend.h2 && limit == "connections: 2" {
					continue // one connection has room for many requests
				}
				check(t, listener.name+" to "+backend.name+" by "+strings.TrimSuffix(limit, ": 2"), func(t testing.TB) { spared(t, listener, backend, limit) })
			}
		}
	}
}

func spared(t testing.TB, listener, backend kind, limit string) {
	id := newIdentity(t)
	app := newApplication(t, backend, id)
	described := strings.TrimSuffix(backend.backend(app.address, id), "}") + ", timeouts: {dial: 200ms}, limits: {" + limit + "}}"
	c := &cell{listener: listener, app: app, id: id, front: start(t, listener.listener(id)+"monolith: "+described+"\n")}
	c.shared = c.client(t)
	reached, let := make(chan bool, 2), make(chan bool)
	path := app.at(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			reached <- true
			<-let
		}
		io.WriteString(w, "well")
	})
	under := make(chan int, 2)
	for range 2 {
		client, request := c.client(t), c.request(t, "PUT", path, nil)
		go func() {
			res, err := client.Do(request)
			if err != nil {
				under <- 0
				return
			}
			res.Body.Close()
			under <- res.StatusCode
		}()
		receive(t, "a request", reached)
	}
	before := app.served.Load()
	for _, method := range []string{"GET", "POST"} {
		got := c.ask(t, method, path, "")
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || !strings.Contains(got.body, "as much to do as it may have; nothing was sent") {
			t.Errorf("one more %s was answered %s with %v %q", method, got.Status, got.Header, got.body)
		}
	}
	if n := app.served.Load() - before; n != 0 {
		t.Errorf("the backend got %d more", n)
	}
	close(let)
	for range 2 {
		if got := receive(t, "an answer", under); got != http.StatusOK {
			t.Errorf("one that was under way was answered %d", got)
		}
	}
	eventually(t, "there is room again", func() bool { return c.ask(t, "GET", path, "").StatusCode == http.StatusOK })
	if n := c.front.number(t, "strangler_backend_breaker_changes_total"); n != 0 {
		t.Errorf("what was refused changed the breaker %v times", n)
	}
}
