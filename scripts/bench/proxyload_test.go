package main

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// localBackend is a backend within this process that counts its connections.
type localBackend struct {
	net.Listener
	addr     string
	accepted atomic.Int64
}

func (b *localBackend) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err == nil {
		b.accepted.Add(1)
	}
	return c, err
}

func startBackendHere(t *testing.T) *localBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &localBackend{Listener: l, addr: l.Addr().String()}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveBackend(ctx, serving{Answer: smallAnswer}, b) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

// answering serves every connection with the same bytes for each request, and
// closes it after so many.
func answering(t *testing.T, answer string, requests int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serveEach(ctx, l, func(c net.Conn) {
			w := newWire(c, wireBuffer)
			for range requests {
				if _, err := w.head(); err != nil {
					return
				}
				io.WriteString(c, answer)
			}
		})
	}()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// drive sends a small load to an address, as if this process were the proxy.
func drive(t *testing.T, l load) outcome {
	t.Helper()
	l.Connections, l.Routes, l.Answer = 2, 20, smallAnswer
	l.Pid = cmp.Or(l.Pid, os.Getpid())
	d, err := newDriver(l)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	measure := d.measure
	if len(l.Idle) > 0 {
		measure = d.idle
	}
	found, err := measure(t.Context(), func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestALoadCountsWhatIsAnsweredAndHowLongItTakes(t *testing.T) {
	b := startBackendHere(t)
	for name, l := range map[string]load{
		"as fast as it goes": {Addr: b.addr, Warmup: 10, Requests: 100},
		"at a pace":          {Addr: b.addr, Warmup: 10, Requests: 100, Rate: 10_000},
		"with uploads":       {Addr: b.addr, Warmup: 10, Requests: 100, Upload: 300_000},
	} {
		before := b.accepted.Load()
		found := drive(t, l)
		if found.Answered != 100 || len(found.Errors) > 0 || found.P50 <= 0 || found.P99 < found.P50 || found.Took < found.P99 || found.CPU <= 0 {
			t.Errorf("%s: %+v", name, found)
		}
		if n := b.accepted.Load() - before; n != 2 {
			t.Errorf("%s: %d connections of 2 clients", name, n)
		}
	}
}

func TestEveryAnswerThatIsNotAsItShouldBeIsAnErrorByItsKind(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"a status":         {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "status 502"},
		"no answer":        {"", "the connection was closed instead of an answer"},
		"no HTTP":          {"hello\r\n\r\n", "status 0"},
		"another length":   {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "an answer of 3 bytes instead of 340"},
		"no length":        {"HTTP/1.1 200 OK\r\n\r\n", "an answer of 0 bytes instead of 340"},
		"half of a body":   {"HTTP/1.1 200 OK\r\ncontent-length: 340\r\n\r\nabc", "unexpected EOF"},
		"half of a head":   {"HTTP/1.1 200 OK\r\nContent-Le", "unexpected EOF"},
		"a head too large": {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", wireBuffer), "the head is longer than 73728 bytes"},
	} {
		found := drive(t, load{Addr: answering(t, c.answer, 1), Warmup: 2, Requests: 10})
		if len(found.Errors) != 1 || found.Errors[c.want] != 12 || found.Answered != 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestAnAnswerThatEndsItsConnectionIsGoodAndCounted(t *testing.T) {
	answer := strings.Replace(string(cannedAnswer(smallAnswer)), "\r\n", "\r\nConnection: Close\r\n", 1)
	found := drive(t, load{Addr: answering(t, answer, 1), Warmup: 2, Requests: 10})
	if found.Answered != 10 || len(found.Errors) > 0 || found.Ended != 12 {
		t.Errorf("%+v", found)
	}
}

func TestNobodyListeningIsAnErrorOfEachRequest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	found := drive(t, load{Addr: l.Addr().String(), Warmup: 2, Requests: 10})
	if len(found.Errors) != 1 || found.Errors["dial: connect: connection refused"] != 12 {
		t.Errorf("%+v", found)
	}
}

func TestAnIdleConnectionThatTheProxyClosesIsAnError(t *testing.T) {
	quiet := exec.Command("sleep", "600") // whose memory does not change
	if err := quiet.Start(); err != nil {
		t.Fatal(err)
	}
	defer quiet.Wait()
	defer quiet.Process.Kill()
	l := load{Pid: quiet.Process.Pid, Warmup: 2, Idle: []int{3, 10}}
	l.Addr = startBackendHere(t).addr
	if found := drive(t, l); found.Answered != 10 || len(found.Errors) > 0 || len(found.PerIdle) != 2 {
		t.Errorf("left open: %+v", found)
	}
	l.Addr = answering(t, string(cannedAnswer(smallAnswer)), 1)
	if found := drive(t, l); found.Errors["an idle connection was closed"] != 10 {
		t.Errorf("closed: %+v", found)
	}
}

func TestALateClientIsLateByItsSchedule(t *testing.T) {
	begun := time.Now().Add(-time.Minute)
	p := (&driver{load: load{Rate: 20}, clients: make([]*client, 2)}).pace(begun, 1)
	if p.every != 100*time.Millisecond {
		t.Errorf("every %s", p.every)
	}
	for i := range 3 {
		want := begun.Add(50*time.Millisecond + time.Duration(i)*100*time.Millisecond)
		if due := p.wait(); !due.Equal(want) {
			t.Errorf("request %d counts from %s, not %s", i, due, want)
		}
	}
}

func TestQuantilesAreValuesThatWereSeen(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	if p50, p99 := quantile(hundred, 0.5), quantile(hundred, 0.99); p50 != 51 || p99 != 100 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
	if quantile(nil, 0.5) != 0 || quantile(hundred[:1], 0.99) != 1 {
		t.Error("of none or one")
	}
}

func TestMessagesAreToldApartWhereverReadsEnd(t *testing.T) {
	first := "POST /a HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello"
	second := "GET /b HTTP/1.1\r\nContent-Lengthy: 9\r\n\r\n"
	for size := 1; size < len(first+second); size++ {
		client, server := net.Pipe()
		go func() {
			defer client.Close()
			for rest := first + second; rest != ""; {
				piece := rest[:min(size, len(rest))]
				rest = rest[len(piece):]
				io.WriteString(client, piece)
			}
		}()
		w := newWire(server, 64)
		var passed bytes.Buffer
		if err := w.pass(&passed); err != nil || passed.String() != first {
			t.Fatalf("pieces of %d: %q, %v", size, passed.String(), err)
		}
		head, err := w.head()
		if err != nil || string(head) != second {
			t.Fatalf("pieces of %d: %q, %v", size, head, err)
		}
		if n, known := contentLength(head); known {
			t.Fatalf("a length of %d", n)
		}
		if _, err := w.head(); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
	}
}
