package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// vector is hostile bytes, and what becomes of them. In its text {} stands for
// a path that no other vector has, below which every request of it goes.
type vector struct {
	name, text string
	// answers are what the client gets: "+" for a request that was forwarded
	// and answered, or the status with which the proxy refuses and closes. "+?"
	// is a request whose body breaks off, when it may have been forwarded.
	answers string
}

// TestDesync sends the same hostile bytes through the proxy to servers of many
// makes. Each must see the requests that the proxy says it has forwarded, and
// no other.
func TestDesync(t *testing.T) {
	makes := map[string]func(t testing.TB) target{
		"monolith": monolith, "billing": billingService, "catalog": catalogService, "a witness": witness,
	}
	for _, s := range others {
		if _, err := s.path(); err == nil {
			makes[s.name] = s.start
		}
	}
	for name, make := range makes {
		check(t, name, func(t testing.TB) {
			behind := make(t)
			// What breaks off on purpose may come in a row, which would open the breaker.
			f := start(t, "monolith: {url: http://"+behind.address+", breaker: {failures: 1000}, timeouts: {dial: 30s}}\n")
			attack(t, f)
			entries := f.entries(t)
			refuses(t, entries)
			compare(t, entries, behind.seen(t))
		})
	}
}

// attack sends every vector on a connection of its own.
func attack(t testing.TB, f *front) {
	var all sync.WaitGroup
	for i, v := range vectors {
		all.Go(func() {
			got, err := v.send(f.address, expand(v.text, i))
			if err != nil {
				t.Errorf("%s: %v", v.name, err)
			} else if !v.allows(got) {
				t.Errorf("%s: answered %q, want %q", v.name, got, v.answers)
			}
		})
	}
	for i, v := range framedVectors {
		all.Go(func() { v.send(t, f.address, v.own(i)) })
	}
	all.Wait()
}

// refuses checks that what is to be refused was not forwarded, and what is not
// was.
func refuses(t testing.TB, entries []entry) {
	t.Helper()
	forwarded := map[string]int{}
	for _, e := range entries {
		if e.Owner != "" {
			_, own, _ := strings.Cut(e.Path, "/")
			own, _, _ = strings.Cut(own, "/")
			forwarded["/"+own]++
		}
	}
	for i, v := range vectors {
		if n := forwarded[expand("{}", i)]; n > strings.Count(v.answers, "+") {
			t.Errorf("%s: %d of its requests were forwarded", v.name, n)
		}
	}
	for i, v := range framedVectors {
		if n := forwarded[v.own(i)]; v.becomes == "+" && n != 1 || v.becomes == "no" && n != 0 || n > 1 {
			t.Errorf("HTTP/2: %s: %d of its requests were forwarded", v.name, n)
		}
	}
}

// send sends bytes and says what was answered, in a vector's words.
func (v vector) send(address, text string) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(guard)); err != nil {
		return "", err
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		io.WriteString(conn, text) // may be cut short by an answer
		if strings.Contains(v.answers, "+?") {
			conn.(*net.TCPConn).CloseWrite()
		}
	})
	var got []string
	for in := bufio.NewReader(conn); ; {
		if len(got) == len(strings.Fields(v.answers)) {
			conn.(*net.TCPConn).CloseWrite() // whatever comes now is one too many
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return strings.Join(got, " "), nil // closed, or reset behind the last answer
		}
		if res.StatusCode < 200 {
			continue
		}
		if strings.HasPrefix(text, "HEAD ") {
			res.Body = http.NoBody
		}
		body, err := io.ReadAll(res.Body)
		switch {
		case strings.HasPrefix(string(body), "strangler: "):
			got = append(got, fmt.Sprint(res.StatusCode))
		case err != nil:
			return strings.Join(got, " "), nil
		default:
			got = append(got, "+")
		}
	}
}

// allows reports whether answers are what a vector must get. A request whose
// body breaks off is refused, or answered by a backend that did not wait for
// the end, or neither.
func (v vector) allows(got string) bool {
	if !strings.Contains(v.answers, "+?") {
		return got == v.answers
	}
	return slices.Contains([]string{"", "+", "400", "502", "+ 400"}, got)
}

// compare holds what a server saw against what the proxy's log says: nothing
// may have been seen that was not forwarded, and what was answered must have
// been seen.
func compare(t testing.TB, entries []entry, seen []string) {
	t.Helper()
	forwarded, answered := map[string]int{}, map[string]int{}
	for _, e := range entries {
		if e.Owner == "" {
			continue
		}
		forwarded[e.Method+" "+e.Path]++
		if e.Error == "" && e.Status != statusGone {
			answered[e.Method+" "+e.Path]++
		}
	}
	there, unnamed := map[string]int{}, 0
	for _, request := range seen {
		if strings.Contains(request, "smuggled") {
			t.Errorf("%q went through", request)
		}
		if request == haproxyRefused {
			unnamed++
			continue
		}
		there[request]++
	}
	for request, n := range there {
		if n > forwarded[request] {
			t.Errorf("%q was seen %d times and forwarded %d times", request, n, forwarded[request])
		}
	}
	for request, n := range answered {
		for there[request] < n && unnamed > 0 {
			unnamed--
			n--
		}
		if there[request] < n {
			t.Errorf("%q was forwarded and answered %d times and seen %d times", request, n, there[request])
		}
	}
	if unnamed > 0 {
		t.Errorf("%d requests were refused there that were not forwarded", unnamed)
	}
	if len(answered) < 50 {
		t.Errorf("%d requests were forwarded: the grid looks at nothing", len(answered))
	}
}

const (
	statusGone     = 499        // in the proxy's log: the client went away
	haproxyRefused = "<BADREQ>" // in HAProxy's log: a request that it did not take
)
