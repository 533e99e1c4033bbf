package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a proxy may hold, as docs/reference/proxy.md says.
const (
	ownMemory        = 64 << 20  // by itself
	connectionMemory = 16 << 10  // for each client's connection
	requestMemory    = 128 << 10 // for each request under way
	streamMemory     = 384 << 10 // for each that comes or goes over HTTP/2
)

// holdsNoMore checks what a proxy has against what it may have. The race
// detector takes several times as much, which says nothing.
func (f *front) holdsNoMore(t testing.TB, connections, requests, each int) {
	t.Helper()
	has, may := f.resident(t)/(1<<20), float64(ownMemory+connections*connectionMemory+requests*each)/(1<<20)
	t.Logf("the proxy has %.1f MiB and may have %.1f", has, may)
	if has > may && !raced() {
		t.Errorf("the proxy has %.1f MiB, at most %.1f may be", has, may)
	}
}

// raced reports whether the race detector was built in.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// resident is how much memory the proxy's process has, in bytes.
func (f *front) resident(t testing.TB) float64 {
	t.Helper()
	return f.number(t, "process_resident_memory_bytes")
}

// TestMemoryIsBoundedByWhatTheFileAllows has a proxy as a process of its own
// bear all that it may at once: idle connections, uploads that its backend does
// not take, answers that its clients do not take, and more of all of them than
// there may be.
func TestMemoryIsBoundedByWhatTheFileAllows(t *testing.T) {
	const connections, requests, piece = 1000, 200, 8 << 20
	let := make(chan bool)
	app := newApplication(t, inClear, nil)
	app.cases.Store("large", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		part := []byte(strings.Repeat("x", 64<<10))
		for range piece / len(part) {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}))
	app.cases.Store("hang", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-let }))
	app.cases.Store("small", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "small") }))
	f := startProcess(t, fmt.Sprintf("limits: {connections: %d, requests: %d}\nmonolith: %s\n", connections, requests, inClear.backend(app.address, nil)))
	t.Cleanup(f.end)
	t.Cleanup(func() { close(let) })
	alone := f.resident(t)

	var all []net.Conn
	t.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
	open := func(n int, text string, then func(net.Conn)) {
		for range n {
			c, err := net.Dial("tcp", f.address)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			if then != nil {
				then(c)
			}
		}
	}
	answered := func(status int) func(net.Conn) {
		return func(c net.Conn) {
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != status {
				t.Errorf("answered %s: %v", res.Status, err)
			}
		}
	}
	open(600, "GET /small HTTP/1.1\r\nHost: shop\r\n\r\n", answered(http.StatusOK))
	idle := f.resident(t)
	open(100, fmt.Sprintf("POST /hang HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n", piece)+strings.Repeat("x", 128<<10), nil)
	open(100, "GET /large HTTP/1.1\r\nHost: shop\r\n\r\n", nil)
	eventually(t, "all that may be under way are", func() bool { return f.number(t, "strangler_backend_under_way") == requests })
	open(200, "GET /small HTTP/1.1\r\nHost: shop\r\n\r\n", answered(http.StatusServiceUnavailable))
	t.Logf("%.1f MiB alone, %.1f MiB with 600 idle connections", alone/(1<<20), idle/(1<<20))
	f.holdsNoMore(t, connections, requests, requestMemory)
	if n := f.number(t, "strangler_refused_total"); n != 200 {
		t.Errorf("%v requests were refused", n)
	}
}

// TestMemoryIsBoundedOverHTTP2 has a client of one connection take none of its
// answers and send bodies that nobody reads.
func TestMemoryIsBoundedOverHTTP2(t *testing.T) {
	const requests, piece = 200, 8 << 20
	clear := kind{name: "h2c", h2: true}
	app := newApplication(t, clear, nil)
	let, reached := make(chan bool), make(chan bool, requests)
	app.cases.Store("large", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- true
		part := []byte(strings.Repeat("x", 64<<10))
		for range piece / len(part) {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}))
	app.cases.Store("hang", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- true
		<-let
	}))
	f := startProcess(t, fmt.Sprintf("limits: {requests: %d}\nmonolith: %s\n", requests, clear.backend(app.address, nil)))
	t.Cleanup(f.end)
	c := &cell{listener: clear, app: app, front: f, id: &identity{}}
	client := c.client(t, func(tr *http.Transport) { tr.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10} })
	var asking sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(asking.Wait)
	t.Cleanup(stop)
	t.Cleanup(func() { close(let) })
	for n := range requests {
		r := c.request(t, "GET", "/large", nil)
		if n%2 == 0 {
			r = c.request(t, "POST", "/hang", strings.NewReader(strings.Repeat("x", 1<<20)))
		}
		asking.Go(func() {
			res, err := client.Do(r.WithContext(ctx))
			if err == nil {
				<-ctx.Done() // the answer is not read
				res.Body.Close()
			}
		})
	}
	for range requests {
		receive(t, "a request", reached)
	}
	f.settles(t)
	f.holdsNoMore(t, 1, requests, streamMemory)
}

// settles waits until the proxy has taken what it takes.
func (f *front) settles(t testing.TB) {
	t.Helper()
	last := 0.0
	eventually(t, "the proxy takes no more", func() bool {
		time.Sleep(100 * time.Millisecond)
		now := f.resident(t)
		settled := now <= last*1.01
		last = now
		return settled
	})
}
