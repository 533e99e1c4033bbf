package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// soon is a breaker's pause after which a service that is well again is tried.
const soon = 100 * time.Millisecond

// TestUnderLoad has services fall ill in every way under reads and writes.
func TestUnderLoad(t *testing.T) {
	for name, illness := range map[string]func(t testing.TB, protocol string){
		"the service is killed and comes back": killed, "the service hangs": hung, "the service is slow": slow, "the service breaks its answers off": resetting,
	} {
		for _, protocol := range []string{"http/1.1", "h2c"} {
			check(t, name+" over "+strings.ReplaceAll(protocol, "/", " "), func(t testing.TB) { illness(t, protocol) })
		}
	}
}

func killed(t testing.TB, protocol string) {
	w := newWard(t, protocol, soon)
	before := w.size()
	const deaths = 2
	for range deaths {
		w.service.process.Kill()
		w.reaches("reads while the service is dead", &w.fromMonolith, 200)
		w.service.live()
		w.recovers()
	}
	w.writesHappenedOnce()
	w.readsOnlyBrokeOff(deaths)
	w.isBounded(before)
}

func hung(t testing.TB, protocol string) {
	w := newWard(t, protocol, soon)
	before := w.size()
	w.service.signal(syscall.SIGSTOP)
	w.reaches("reads while the service hangs", &w.fromMonolith, 300)
	w.service.signal(syscall.SIGCONT)
	w.recovers()
	w.writesHappenedOnce()
	w.readsFailed(0)
	w.isBounded(before)
}

func slow(t testing.TB, protocol string) {
	w := newWard(t, protocol, soon)
	before := w.size()
	w.service.is("slow")
	w.reaches("reads while the service is slow", &w.fromMonolith, 300)
	w.service.is("well")
	w.recovers()
	w.writesHappenedOnce()
	w.readsFailed(0)
	w.isBounded(before)
}

// resetting is the one illness that clients see: an answer that has begun
// cannot be asked for elsewhere. Once the breaker is open they do not any more.
func resetting(t testing.TB, protocol string) {
	w := newWard(t, protocol, time.Hour)
	before := w.size()
	w.service.is("reset")
	w.reaches("reads while the service is not tried", &w.fromMonolith, 300)
	w.writesHappenedOnce()
	// Those that opened it, and those under way then. What was answered before the
	// illness and is read to its end only afterwards begins the count anew.
	w.readsFailed(failures + 2*readers)
	w.isBounded(before)
}

// moody is a service that hangs up on requests, or answers them.
type moody struct {
	address string
	asked   atomic.Int64
	well    atomic.Bool
}

func newMoody(t testing.TB) *moody {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &moody{address: l.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				if _, err := (&line{conn, bufio.NewReader(conn)}).head(); err != nil {
					return
				}
				m.asked.Add(1)
				if m.well.Load() {
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return m
}

// write sends a write, which nobody may stand in for.
func write(t testing.TB, f *front) *http.Response {
	t.Helper()
	res, err := http.Post("http://"+f.address+"/", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// TestTheBreakerOpensAndCloses counts what reaches a backend.
func TestTheBreakerOpensAndCloses(t *testing.T) {
	check(t, "it opens after the failures that the file says", func(t testing.TB) {
		m := newMoody(t)
		f := start(t, fmt.Sprintf("monolith: {url: \"http://%s\", breaker: {failures: 3, pause: 1h}}\n", m.address))
		for n := range 3 {
			if got := write(t, f).StatusCode; got != http.StatusBadGateway {
				t.Errorf("failure %d was answered %d", n, got)
			}
		}
		for range 20 {
			if res := write(t, f); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
				t.Errorf("answered %s with %v", res.Status, res.Header)
			}
		}
		if n := m.asked.Load(); n != 3 {
			t.Errorf("the backend was asked %d times", n)
		}
	})
	check(t, "successes in between keep it closed", func(t testing.TB) {
		m := newMoody(t)
		f := start(t, fmt.Sprintf("monolith: {url: \"http://%s\", breaker: {failures: 3, pause: 1h}}\n", m.address))
		for n := range 30 {
			m.well.Store(n%3 == 2)
			write(t, f)
		}
		if n := m.asked.Load(); n != 30 {
			t.Errorf("the backend was asked %d times", n)
		}
	})
	check(t, "it tries after the pause and closes when that went well", func(t testing.TB) {
		m := newMoody(t)
		f := start(t, fmt.Sprintf("monolith: {url: \"http://%s\", breaker: {failures: 3, pause: 10ms}}\n", m.address))
		for range 3 {
			write(t, f)
		}
		eventually(t, "a trial", func() bool { return write(t, f).StatusCode == http.StatusBadGateway && m.asked.Load() > 3 })
		m.well.Store(true)
		eventually(t, "a trial that goes well", func() bool { return write(t, f).StatusCode == http.StatusOK })
		for range 20 {
			if got := write(t, f).StatusCode; got != http.StatusOK {
				t.Errorf("answered %d although the backend is well", got)
			}
		}
	})
}

// TestAnswersThatBreakOffOpenTheBreaker asks backends of every kind, one read
// after the other.
func TestAnswersThatBreakOffOpenTheBreaker(t *testing.T) {
	for _, backend := range kinds {
		check(t, backend.name, func(t testing.TB) {
			id := newIdentity(t)
			app := newApplication(t, backend, id)
			f := start(t, "monolith: "+strings.TrimSuffix(backend.backend(app.address, id), "}")+", breaker: {failures: 3, pause: 1h}}\n")
			path := app.at(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "half")
				flush(w)
				panic(http.ErrAbortHandler)
			})
			for range 20 {
				if res, err := http.Get("http://" + f.address + path); err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
			if n := app.served.Load(); n != 3 {
				t.Errorf("the backend was asked %d times", n)
			}
		})
	}
}
