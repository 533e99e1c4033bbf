package conformance

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var connectionScenes = []scene{
	{"a hundred requests in one write are answered in order", pipelinesAreAnswered},
	{"requests with bodies may follow each other in one write", pipelinedBodiesAreAnswered},
	{"a client that asks to be closed is", closeIsHonoured},
	{"connections to the backend are used again", backendsAreReused},
	{"a connection that the backend closed while idle hurts nobody", staleConnectionsHurtNobody},
	{"other upgrades get no tunnel", otherUpgradesGetNone},
	{"a backend that switches to another protocol anyway is refused", otherSwitchesAreRefused},
	{"bytes right behind an upgrade's head arrive both ways", eagerBytesArrive},
	{"each end of a tunnel may stop by itself", tunnelsCloseByHalves},
	{"a body that does not wait for 100 Continue arrives", impatientBodiesArrive},
	{"interim answers reach HTTP/1.1 and not HTTP/1.0", oldClientsSeeNoInterims},
}

func pipelinesAreAnswered(t testing.TB, s *stage) {
	const requests = 100
	path := s.script.at(func(l *line, head string) bool {
		_, number, _ := strings.Cut(firstLine(head), "?")
		number, _, _ = strings.Cut(number, " ")
		_, err := fmt.Fprintf(l, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(number), number)
		return err == nil
	})
	var all bytes.Buffer
	for n := range requests {
		fmt.Fprintf(&all, "GET %s?%d HTTP/1.1\r\nHost: shop\r\n\r\n", path, n)
	}
	w := s.wire(t)
	w.send(all.String())
	for n := range requests {
		if got := w.answer("GET").body; got != fmt.Sprint(n) {
			t.Fatalf("request %d was answered with %q", n, got)
		}
	}
}

func pipelinedBodiesAreAnswered(t testing.TB, s *stage) {
	known := s.script.at(func(l *line, head string) bool {
		var n int
		_, length, _ := strings.Cut(strings.ToLower(head), "content-length: ")
		fmt.Sscan(length, &n)
		body, err := l.body(n)
		fmt.Fprintf(l, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body)
		return err == nil
	})
	unknown := s.script.at(echoChunks)
	var all bytes.Buffer
	for n := range 20 {
		body := strings.Repeat("GET / HTTP/1.1\r\n\r\n", n) // looks like requests, and is none
		fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n%s", known, len(body), body)
		fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s!\r\n0\r\n\r\n", unknown, len(body)+1, body)
	}
	w := s.wire(t)
	w.send(all.String())
	for n := range 20 {
		want := strings.Repeat("GET / HTTP/1.1\r\n\r\n", n)
		if got := w.answer("POST").body; got != want {
			t.Fatalf("body %d came back as %q", n, got)
		}
		if got := w.answer("POST").body; got != want+"!" {
			t.Fatalf("chunked body %d came back as %q", n, got)
		}
	}
}

func closeIsHonoured(t testing.TB, s *stage) {
	path := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"))
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\nGET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	if head := strings.ToLower(w.head()); !strings.Contains(head, "\r\nconnection: close\r\n") {
		t.Errorf("answered %q", head)
	}
	got, _ := io.ReadAll(w.in) // what was sent too much may reset the connection
	if string(got) != "well" {
		t.Errorf("answered %q", got)
	}
}

func backendsAreReused(t testing.TB, s *stage) {
	var mu sync.Mutex
	from := map[string]bool{}
	path := s.script.at(func(l *line, _ string) bool {
		mu.Lock()
		from[l.RemoteAddr().String()] = true
		mu.Unlock()
		_, err := io.WriteString(l, empty)
		return err == nil
	})
	w := s.wire(t)
	for range 50 {
		w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		w.answer("GET")
	}
	if len(from) == 50 { // other cases take from the same pool, and have some of it closed
		t.Errorf("50 requests one after the other took %d connections", len(from))
	}
}

func staleConnectionsHurtNobody(t testing.TB, s *stage) {
	var closed sync.WaitGroup
	var seen atomic.Int64
	path := s.script.at(func(l *line, _ string) bool {
		seen.Add(1)
		io.WriteString(l, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell") // and closes without a word
		l.Close()
		closed.Done()
		return false
	})
	w := s.wire(t)
	for n := range 40 {
		closed.Add(1)
		method, body := "GET", ""
		if n%2 == 1 {
			method, body = "POST", "Content-Length: 0\r\n"
		}
		w.send(method + " " + path + " HTTP/1.1\r\nHost: shop\r\n" + body + "\r\n")
		if got := w.answer(method); got.StatusCode != 200 || got.body != "well" {
			t.Fatalf("%s number %d was answered %s %q", method, n, got.Status, got.body)
		}
		closed.Wait() // the next one finds a connection that is closed
	}
	if n := seen.Load(); n != 40 {
		t.Errorf("40 requests were seen %d times", n)
	}
}

func otherUpgradesGetNone(t testing.TB, s *stage) {
	for _, upgrade := range []string{"h2c", "TLS/1.0", "foo", "websocket, h2c", "websocket2", "WebSocket/h2c"} {
		there := make(chan string, 1)
		w := s.wire(t)
		w.send("GET " + s.script.at(record(there, empty)) + " HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + upgrade + "\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")
		if got := w.answer("GET").StatusCode; got != 200 && got != 400 {
			t.Errorf("%s: answered %d", upgrade, got)
		}
		select {
		case head := <-there:
			if lower := strings.ToLower(head); strings.Contains(lower, "\r\nupgrade:") || strings.Contains(lower, "connection: upgrade") || strings.Contains(lower, "http2-settings") {
				t.Errorf("%s: the backend saw %q", upgrade, head)
			}
		default: // refused
		}
	}
}

func otherSwitchesAreRefused(t testing.TB, s *stage) {
	path := s.script.at(sayAndClose("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\ntunnel"))
	for _, upgrade := range []string{"h2c", "websocket"} {
		w := s.wire(t)
		w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: " + upgrade + "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if got := w.answer("GET"); got.StatusCode != 502 || strings.Contains(got.body, "tunnel") {
			t.Errorf("%s: answered %s %q", upgrade, got.Status, got.body)
		}
	}
}

const (
	upgrade  = " HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	upgraded = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

func eagerBytesArrive(t testing.TB, s *stage) {
	path := s.script.at(func(l *line, _ string) bool {
		io.WriteString(l, upgraded+"hello")
		if said, err := l.body(5); err == nil {
			io.WriteString(l, "heard "+said)
		}
		return false
	})
	w := s.wire(t)
	w.send("GET " + path + upgrade + "eager")
	if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("answered %q", head)
	}
	if got, want := w.rest(), "helloheard eager"; got != want {
		t.Errorf("the tunnel carried %q", got)
	}
}

func tunnelsCloseByHalves(t testing.TB, s *stage) {
	path := s.script.at(func(l *line, _ string) bool {
		io.WriteString(l, upgraded)
		said, err := io.ReadAll(l.in)
		if err == nil {
			fmt.Fprintf(l, "heard %s to the end", said)
		}
		return false
	})
	w := s.wire(t)
	w.send("GET " + path + upgrade)
	w.head()
	w.send("words")
	if err := w.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := w.rest(); got != "heard words to the end" {
		t.Errorf("the tunnel carried %q", got)
	}
}

func impatientBodiesArrive(t testing.TB, s *stage) {
	path := s.script.at(func(l *line, head string) bool {
		body, err := l.body(4)
		fmt.Fprintf(l, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return err == nil
	})
	w := s.wire(t)
	for range 2 {
		w.send("POST " + path + " HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
		if got := w.answer("POST"); got.StatusCode != 200 || got.body != "body" {
			t.Errorf("answered %s %q", got.Status, got.body)
		}
	}
}

func oldClientsSeeNoInterims(t testing.TB, s *stage) {
	path := s.script.at(say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"))
	for version, first := range map[string]string{"1.1": "103", "1.0": "200"} {
		w := s.wire(t)
		w.send("GET " + path + " HTTP/" + version + "\r\nHost: shop\r\n\r\n")
		if head := w.head(); !strings.Contains(firstLine(head), " "+first+" ") {
			t.Errorf("HTTP/%s was answered %q first", version, head)
		}
	}
}
