package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestAnswersThatStandStillAreBrokenOff has backends of every kind stop in the
// middle of an answer. A stream of events may: it is what it is for.
func TestAnswersThatStandStillAreBrokenOff(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			check(t, listener.name+" to "+backend.name, func(t testing.TB) {
				c := &cell{listener: listener, id: newIdentity(t)}
				c.app = newApplication(t, backend, c.id)
				c.front = start(t, listener.listener(c.id)+"monolith: "+strings.TrimSuffix(backend.backend(c.app.address, c.id), "}")+", timeouts: {idle: 100ms}}\n")
				standsStill(t, c)
			})
		}
	}
}

func standsStill(t testing.TB, c *cell) {
	next := make(chan struct{})
	events := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n")
		flush(w)
		<-next
		io.WriteString(w, "data: 2\n")
	})
	ended := make(chan struct{})
	half := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		flush(w)
		<-r.Context().Done()
		close(ended)
	})
	stream, err := c.client(t).Do(c.request(t, "GET", events, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Fatalf("the stream begins with %q: %v", line, err)
	}
	res, err := c.client(t).Do(c.request(t, "GET", half, nil))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err == nil || string(body) != "half" {
		t.Errorf("an answer that stood still arrived as %q: %v", body, err)
	}
	receive(t, "the end of the call", ended)
	close(next) // the stream has stood still for as long by now
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "data: 2\n" {
		t.Errorf("the stream went on with %q: %v", rest, err)
	}
}

// TestWhatCouldNotBeSentIsSentToAnotherEndpoint has a backend of two endpoints
// of which one takes no connections: no client hears of it.
func TestWhatCouldNotBeSentIsSentToAnotherEndpoint(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			check(t, listener.name+" to "+backend.name, func(t testing.TB) {
				c := &cell{listener: listener, id: newIdentity(t)}
				c.app = newApplication(t, backend, c.id)
				dead := closedPort(t)
				both := strings.Replace(backend.backend(c.app.address, c.id), "url: ", fmt.Sprintf("url: [%q, ", backend.scheme()+"://"+dead), 1)
				both = strings.Replace(both, c.app.address, c.app.address+"]", 1)
				c.front = start(t, listener.listener(c.id)+"monolith: "+both+"\n")
				c.shared = c.client(t)
				path := c.app.at(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
				for n := range 30 {
					if got := c.ask(t, "POST", path, "body"); got.StatusCode != 200 || got.body != "body" {
						t.Fatalf("request %d was answered %s %q", n, got.Status, got.body)
					}
				}
			})
		}
	}
}

// closedPort returns an address that takes no connections: somebody has it, but
// does not listen, so that nobody else gets it meanwhile.
func closedPort(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.1:", at.(*syscall.SockaddrInet4).Port)
}
