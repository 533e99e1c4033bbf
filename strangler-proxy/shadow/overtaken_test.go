package shadow_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// TestAFollowerMayHaveACommitBeforeItsOwnerShowsIt: on PostgreSQL a commit is in
// the log before others see it.
func TestAFollowerMayHaveACommitBeforeItsOwnerShowsIt(t *testing.T) {
	for name, c := range map[string]struct {
		monolith func(asked int64) int64
		followed bool
		differs  bool
	}{
		"it shows soon":                 {func(asked int64) int64 { return min(1+asked/4, 2) }, true, false}, // to the client, at both looks, and then
		"it shows later":                {func(asked int64) int64 { return min(1+asked/6, 2) }, true, false},
		"it never shows":                {func(int64) int64 { return 1 }, true, true},
		"something else shows":          {func(asked int64) int64 { return 1 + 2*max(0, asked-3) }, true, true},
		"it shows, and nothing follows": {func(asked int64) int64 { return min(1+asked/4, 2) }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.followed {
				always := time.Now().Add(time.Hour)
				w.synced.Store(&always)
			}
			var asked atomic.Int64
			answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(out, `{"total": %d}`, c.monolith(asked.Add(1)))
			})
			says(&w.service, `{"total": 2}`)
			w.ask("GET", "/invoices")
			if n := w.until("GET /invoices", judged(1)); (n.Mismatched == 1) != c.differs || n.Mismatched+n.Matched != 1 {
				t.Errorf("%+v", n)
			}
		})
	}
}
