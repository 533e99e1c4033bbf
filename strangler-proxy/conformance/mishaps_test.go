package conformance

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
)

var mishapScenes = []scene{
	{"an answer that breaks off breaks the client's connection", shortAnswersBreak},
	{"a chunked answer that breaks off is not ended", shortChunksBreak},
	{"an answer that nobody can read becomes 502", unreadableAnswersAreRefused},
	{"an endless head becomes 502", endlessHeadsAreRefused},
	{"a backend that hangs up without a word has a request sent once", hangingUpIsNotRepeated},
	{"what follows an answer is nobody's answer", surplusIsDropped},
	{"a switch of protocols that nobody asked for becomes 502", unaskedSwitchesAreRefused},
	{"a refusal in mid-upload reaches the client", refusalsInMidUploadArrive},
	{"what is left of an upload is nobody's request", leftoversAreDropped},
}

func shortAnswersBreak(t testing.TB, s *stage) {
	w := s.wire(t)
	w.send("GET " + s.script.at(sayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	head := w.head()
	body, _ := io.ReadAll(w.in) // whether it is closed or reset
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(head, "\r\nContent-Length: 10\r\n") || !strings.HasPrefix("half", string(body)) {
		t.Errorf("answered %q %q", head, body)
	}
}

func shortChunksBreak(t testing.TB, s *stage) {
	for _, broken := range []string{"4\r\nhalf\r\n", "4\r\nhalf\r\n8\r\nano", "4\r\nhalf\r\n0\r\n", "4\r\nhalf\r\nzz\r\n", "4\r\nhalf!!\r\n0\r\n\r\n", "4\r\nhalf\r\n0\r\nX: 1\r\n"} {
		w := s.wire(t)
		w.send("GET " + s.script.at(sayAndClose("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+broken)) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if got, _ := io.ReadAll(w.in); strings.Contains(string(got), " 200 ") && strings.HasSuffix(string(got), "0\r\n\r\n") {
			t.Errorf("%q was ended as %q", broken, got)
		}
		s.isWell(t)
	}
}

func unreadableAnswersAreRefused(t testing.TB, s *stage) {
	for _, text := range []string{
		"SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nwell!", "HTTP/1.1 200 OK\r\nContent-Length: 4x\r\n\r\nwell", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\nwell",
		"HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Le",
	} {
		w := s.wire(t)
		w.send("GET " + s.script.at(sayAndClose(text)) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if got := w.answer("GET").StatusCode; got != 502 {
			t.Errorf("%q was answered with %d", text, got)
		}
		s.isWell(t) // or the breaker would answer the next one
	}
}

// isWell gets an answer from the backend.
func (s *stage) isWell(t testing.TB) {
	t.Helper()
	w := s.wire(t)
	w.send("GET " + s.script.at(say(empty)) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	if got := w.answer("GET"); got.StatusCode != 200 {
		t.Fatalf("a good answer arrived as %s %q", got.Status, got.body)
	}
}

func endlessHeadsAreRefused(t testing.TB, s *stage) {
	stopped := make(chan int, 1)
	path := s.script.at(func(l *line, _ string) bool {
		io.WriteString(l, "HTTP/1.1 200 OK\r\n")
		for n := 0; ; n++ {
			if _, err := fmt.Fprintf(l, "X-Line-%d: %s\r\n", n, strings.Repeat("x", 1000)); err != nil || n > 100_000 {
				stopped <- n
				return false
			}
		}
	})
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	if got := w.answer("GET").StatusCode; got != 502 {
		t.Errorf("answered %d", got)
	}
	if n := receive(t, "the end of the head", stopped); n > 50_000 {
		t.Errorf("%d KB of it were taken", n)
	}
}

func hangingUpIsNotRepeated(t testing.TB, s *stage) {
	var seen atomic.Int64
	path := s.script.at(func(*line, string) bool {
		seen.Add(1)
		return false
	})
	for range 3 {
		seen.Store(0)
		w := s.wire(t)
		w.send("POST " + path + " HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nonce")
		if got := w.answer("POST").StatusCode; got != 502 {
			t.Errorf("answered %d", got)
		}
		if n := seen.Load(); n != 1 {
			t.Errorf("a write was sent %d times", n)
		}
	}
}

func surplusIsDropped(t testing.TB, s *stage) {
	poison := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwellHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"))
	good := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"))
	w := s.wire(t)
	for range 20 {
		w.send("GET " + poison + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if got := w.answer("GET").body; got != "well" {
			t.Fatalf("answered %q", got)
		}
		w.send("GET " + good + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if got := w.answer("GET").body; got != "good" {
			t.Fatalf("the next request was answered %q", got)
		}
	}
}

func unaskedSwitchesAreRefused(t testing.TB, s *stage) {
	path := s.script.at(sayAndClose("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\ntunnel"))
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	if got := w.answer("GET").StatusCode; got != 502 {
		t.Errorf("answered %d", got)
	}
}

func refusalsInMidUploadArrive(t testing.TB, s *stage) {
	path := s.script.at(func(l *line, _ string) bool {
		l.body(1000)
		io.WriteString(l, "HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		l.lingerOn()
		return false
	})
	w := s.wire(t)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.WriteString(w, "POST "+path+" HTTP/1.1\r\nHost: shop\r\nContent-Length: 200000000\r\n\r\n")
		for n := 0; n < 200_000_000; n += piece { // stops when nobody reads any more
			if _, err := w.Write(pattern[:]); err != nil {
				return
			}
		}
	}()
	got := w.answer("POST")
	if got.StatusCode != 413 || got.body != "no" {
		t.Errorf("answered %s %q", got.Status, got.body)
	}
	w.Close()
	receive(t, "the upload", sent)
}

// lingerOn reads on for as long as somebody writes, so that what was said is
// not lost with the connection's reset.
func (l *line) lingerOn() {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	io.Copy(io.Discard, l.in)
}

func leftoversAreDropped(t testing.TB, s *stage) {
	early := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")) // without reading the body
	good := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"))
	for range 10 {
		w := s.wire(t)
		w.send("POST " + early + " HTTP/1.1\r\nHost: shop\r\nContent-Length: 5000\r\n\r\n")
		if got := w.answer("POST").body; got != "early" {
			t.Fatalf("answered %q", got)
		}
		io.WriteString(w, "part of the body") // the client may have been hung up on
		other := s.wire(t)
		other.send("GET " + good + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if got := other.answer("GET").body; got != "good" {
			t.Fatalf("another client was answered %q", got)
		}
	}
}
