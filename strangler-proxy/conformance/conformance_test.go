package conformance

import (
	"io"
	"net/http"
	"testing"
)

// promise is a case that every listener in front of every backend must keep,
// unless it says otherwise.
type promise struct {
	name string
	keep func(t testing.TB, c *cell)
	only func(listener, backend kind) bool // nil: for all
}

func onlyHTTP1(listener, backend kind) bool   { return !listener.h2 && !backend.h2 }
func http1Client(listener, backend kind) bool { return !listener.h2 }

// promises are the suite, in the order of the files that have them.
func promises() []promise {
	var all []promise
	for _, part := range [][]promise{messagePromises, bodyPromises, interimPromises, streamPromises, websocketPromises} {
		all = append(all, part...)
	}
	return all
}

// TestConformance runs every promise in every cell.
func TestConformance(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			t.Run(listener.name+" to "+backend.name, func(t *testing.T) {
				t.Parallel()
				var c *cell
				if !holds(t, func(t testing.TB) {
					c = newCell(t, listener, backend, "")
					answers(t, c)
				}) {
					return
				}
				for _, p := range promises() {
					if p.only == nil || p.only(listener, backend) {
						check(t, p.name, func(t testing.TB) { p.keep(t, c) })
					}
				}
			})
		}
	}
}

// answers is what has to hold before anything else is worth asking: the cell
// speaks what it says on both of its ends.
func answers(t testing.TB, c *cell) {
	major := make(chan int, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		major <- r.ProtoMajor
		io.WriteString(w, "well")
	})
	got := c.ask(t, "GET", path, "")
	if got.StatusCode != 200 || got.body != "well" {
		t.Fatalf("answered %s %q", got.Status, got.body)
	}
	if want := 1 + toInt(c.listener.h2); got.ProtoMajor != want {
		t.Errorf("the client was spoken to in HTTP/%d", got.ProtoMajor)
	}
	if got, want := receive(t, "the request", major), 1+toInt(c.app.kind.h2); got != want {
		t.Errorf("the backend was spoken to in HTTP/%d", got)
	}
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
