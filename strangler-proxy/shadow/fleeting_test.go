package shadow_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"stranglerfig/strangler-proxy/shadow"
)

// TestAnAnswerThatDiffersOnlyAtFirstIsCounted: nobody can tell a side that was a
// moment behind from one that errs now and then, so it is told.
func TestAnAnswerThatDiffersOnlyAtFirstIsCounted(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	answers(&w.service, func(out http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%2 == 1 { // whatever is asked once more is answered well
			io.WriteString(out, `{"total": 9}`)
			return
		}
		io.WriteString(out, `{"total": 1}`)
	})
	for n := range int64(3) {
		w.ask("GET", "/invoices")
		w.until("GET /invoices", judged(n+1))
	}
	if c, _ := w.shadow.Count("GET /invoices", shadow.Forward); c.Matched != 3 || c.Mismatched != 0 || c.Fleeting != 3 {
		t.Errorf("%+v", c)
	}
}

// TestDataThatWasChangedInBetweenIsNotFleeting: the side that answered the client
// says something else now.
func TestDataThatWasChangedInBetweenIsNotFleeting(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			io.WriteString(out, `{"total": 1}`)
			return
		}
		io.WriteString(out, `{"total": 2}`)
	})
	says(&w.service, `{"total": 2}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(1)); c.Matched != 1 || c.Fleeting != 0 {
		t.Errorf("%+v", c)
	}
}
