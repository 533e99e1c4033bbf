package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ward is a proxy under load, whose service falls ill.
type ward struct {
	t       testing.TB
	front   *front
	service *ailing
	pause   time.Duration // of the breaker

	reads, fromService, fromMonolith, failed atomic.Int64
	brokenOff                                atomic.Int64 // those of failed whose answer had begun
	written                                  atomic.Int64
	mu                                       sync.Mutex
	acked, sent                              map[string]bool
	strayed                                  []string // writes that the monolith got
	wrong                                    []string // what reads failed with
	stop                                     func()
}

const (
	readers  = 6
	writers  = 3
	failures = 5 // in a row that open the breaker
	rhythm   = 2 * time.Millisecond
)

// newWard starts the load on a service that speaks a protocol; it ends, at the
// latest, with the test.
func newWard(t testing.TB, protocol string, pause time.Duration) *ward {
	t.Helper()
	w := &ward{t: t, service: newAiling(t), pause: pause, acked: map[string]bool{}, sent: map[string]bool{}}
	monolith := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			id, _ := io.ReadAll(r.Body)
			w.mu.Lock()
			w.strayed = append(w.strayed, string(id))
			w.mu.Unlock()
		}
		out.Header().Set("X-Answered-By", "monolith")
		io.WriteString(out, "monolith")
	}))
	t.Cleanup(monolith.Close)
	w.front = startProcess(t, fmt.Sprintf(`monolith: {url: %s}
capabilities:
  billing:
    service: {url: "http://%s", protocol: %s, health: "", build: "", timeouts: {answer: 3s}, breaker: {failures: %d, pause: %s}}
    waive: [{gate: contract, reason: none is needed here, by: the test, until: 2099-01-01}, {gate: shadow, reason: none is needed here, by: the test, until: 2099-01-01}]
    routes:
      GET /read: service
      POST /write: service
`, monolith.URL, w.service.address, protocol, failures, pause))
	w.begin()
	return w
}

// begin starts the load.
func (w *ward) begin() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var load sync.WaitGroup
	for range readers {
		load.Go(func() { w.each(ctx, w.read) })
	}
	for n := range writers {
		number := 0
		load.Go(func() {
			w.each(ctx, func(ctx context.Context, client *http.Client) {
				number++
				w.write(ctx, client, fmt.Sprintf("write-%d-%d", n, number))
			})
		})
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		load.Wait()
	})
	w.t.Cleanup(w.stop)
	w.reaches("reads by the service", &w.fromService, 100)
	w.reaches("writes", &w.written, 20)
}

// each does something again and again, not as fast as it can.
func (w *ward) each(ctx context.Context, do func(ctx context.Context, client *http.Client)) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(rhythm)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do(context.WithoutCancel(ctx), client)
		}
	}
}

func (w *ward) read(ctx context.Context, client *http.Client) {
	by, status, err := w.ask(ctx, client, http.MethodGet, "/read", "")
	switch {
	case err != nil || status != http.StatusOK:
		w.failed.Add(1)
		if status == http.StatusOK {
			w.brokenOff.Add(1)
		}
		w.mu.Lock()
		w.wrong = append(w.wrong, fmt.Sprint(by, " ", status, " ", err))
		w.mu.Unlock()
	case by == "service":
		w.fromService.Add(1)
	default:
		w.fromMonolith.Add(1)
	}
	w.reads.Add(1)
}

func (w *ward) write(ctx context.Context, client *http.Client, id string) {
	w.mu.Lock()
	w.sent[id] = true
	w.mu.Unlock()
	if _, status, err := w.ask(ctx, client, http.MethodPost, "/write", id); err == nil && status == http.StatusCreated {
		w.mu.Lock()
		w.acked[id] = true
		w.mu.Unlock()
		w.written.Add(1)
	}
}

// ask sends a request and reads the answer to its end.
func (w *ward) ask(ctx context.Context, client *http.Client, method, path, body string) (by string, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, guard)
	defer cancel()
	// No GetBody: the client shall not send anything twice either.
	r, err := http.NewRequestWithContext(ctx, method, "http://"+w.front.address+path, struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		return "", 0, err
	}
	if r.ContentLength = int64(len(body)); body == "" {
		r.Body = nil
	}
	res, err := client.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.Header.Get("X-Answered-By"), res.StatusCode, err
}

// reaches waits until a count has grown by n.
func (w *ward) reaches(what string, count *atomic.Int64, n int64) {
	w.t.Helper()
	goal := count.Load() + n
	eventually(w.t, what, func() bool { return count.Load() >= goal })
}

// recovers waits until reads and writes go to the service again.
func (w *ward) recovers() {
	w.t.Helper()
	w.reaches("reads by the service again", &w.fromService, 100)
	w.reaches("writes again", &w.written, 20)
}

// writesHappenedOnce ends the load and checks every write: at the service, once
// at most, and there if its client was told so.
func (w *ward) writesHappenedOnce() {
	w.t.Helper()
	w.happenedOnceAt(w.service)
}

// happenedOnceAt does the same for a service of several processes.
func (w *ward) happenedOnceAt(all ...*ailing) {
	w.t.Helper()
	w.stop()
	got := map[string]int{}
	for _, p := range all {
		for id, times := range p.got() {
			got[id] += times
		}
	}
	for id, times := range got {
		if times > 1 || !w.sent[id] {
			w.t.Errorf("%q was got %d times by the service", id, times)
		}
	}
	for id := range w.acked {
		if got[id] != 1 {
			w.t.Errorf("%q was acknowledged and got %d times", id, got[id])
		}
	}
	if len(w.strayed) > 0 {
		w.t.Errorf("the monolith got the writes %q", w.strayed)
	}
	if len(w.acked) < 40 {
		w.t.Errorf("%d writes were acknowledged", len(w.acked))
	}
}

// readsFailed checks that fewer reads failed than the breaker needs to open,
// or none where the monolith could stand in for each.
func (w *ward) readsFailed(most int64) {
	w.t.Helper()
	if n := w.failed.Load(); n > most {
		w.t.Errorf("%d reads failed, at most %d may: %q", n, most, w.wrong[:min(len(w.wrong), 10)])
	}
}

// readsOnlyBrokeOff checks that no more reads failed than could be under way
// when a service died so many times, and those only because their answer had
// begun, so that nobody else could be asked for the rest.
func (w *ward) readsOnlyBrokeOff(deaths int64) {
	w.t.Helper()
	w.readsFailed(deaths * readers)
	if failed, broken := w.failed.Load(), w.brokenOff.Load(); failed != broken {
		w.t.Errorf("%d reads failed, of which %d had begun to be answered: %q", failed, broken, w.wrong[:min(len(w.wrong), 10)])
	}
}

// size is what a proxy holds.
type size struct{ heap, goroutines, files float64 }

func (w *ward) size() size {
	w.t.Helper()
	return size{w.front.number(w.t, "go_memstats_heap_alloc_bytes"), w.front.number(w.t, "go_goroutines"), w.front.number(w.t, "process_open_fds")}
}

const (
	heapBound = 48 << 20 // beyond what the proxy held before
	restBound = 40       // goroutines and files beyond those before
)

// isBounded checks that an illness has left nothing behind.
func (w *ward) isBounded(before size) {
	w.t.Helper()
	w.front.holdsNoMore(w.t, readers+writers, readers+writers, streamMemory)
	eventually(w.t, "the proxy lets go of what the illness took", func() bool {
		now := w.size()
		return now.heap < before.heap+heapBound && now.goroutines < before.goroutines+restBound && now.files < before.files+restBound
	})
}
