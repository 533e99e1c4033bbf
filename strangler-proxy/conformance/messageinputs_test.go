package conformance

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

const host = " HTTP/1.1\r\nHost: shop\r\n"

// headInputs go wrong before the body.
var headInputs = []input{
	{"a head that comes a byte now and then", "408, and the connection ends (`limits.head_timeout`)", small, inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("GET " + s.untouched(t) + host)
		w.refusal(408)
	}},
	{"a head that is longer than `limits.head`", "431, and the connection ends", small, inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("GET " + s.untouched(t) + host + "X-Long: " + strings.Repeat("x", 9000) + "\r\n\r\n")
		w.refusal(431)
	}},
	{"more than 256 fields", "431, and the connection ends", "", inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("GET " + s.untouched(t) + host + strings.Repeat("X: y\r\n", 256) + "\r\n")
		w.refusal(431)
	}},
	{"a target of more than 8 KiB", "414, and the connection ends", "", inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("GET " + s.untouched(t) + "?" + strings.Repeat("x", 8192) + host + "\r\n")
		w.refusal(414)
	}},
	{"the greeting of another protocol", "400, and the connection ends", "", inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n")
		w.refusal(400)
	}},
	{"a TLS handshake in clear text", "400, and the connection ends", "", inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("\x00", 100) + "\n\n")
		w.refusal(400)
	}},
	{"clear text on a port with `tls`", "400, and the connection ends", "", overTLS, func(t testing.TB, s *stage) {
		w := connect(t, s.front.address, false)
		w.send("GET " + s.untouched(t) + host + "\r\n")
		if got := w.answer("GET"); got.StatusCode != 400 {
			t.Errorf("answered %s", got.Status)
		}
		w.isOver()
	}},
	{"a path that climbs above the root", "it is resolved, no further up than `/`", "", inClear, func(t testing.TB, s *stage) {
		there := make(chan string, 1)
		path := s.script.at(record(there, empty))
		w := s.wire(t)
		w.send("GET /../../a/%2e%2E/." + path + host + "\r\n")
		w.answer("GET")
		if got := firstLine(receive(t, "the request", there)); got != "GET "+path+" HTTP/1.1" {
			t.Errorf("it arrived as %q", got)
		}
	}},
	{"a path that is escaped twice, or in overlong UTF-8", "it arrives as it was sent: whatever is read into it is the backend's reading", "", inClear, func(t testing.TB, s *stage) {
		there := make(chan string, 1)
		path := s.script.at(record(there, empty))
		w := s.wire(t)
		for _, below := range []string{"/%252e%252e/x", "/%C0%AE%C0%AE/x", "/%25%32%65/x"} {
			w.send("GET " + path + below + host + "\r\n")
			w.answer("GET")
			sent := strings.ReplaceAll(below, "%32%65", "2e") // digits and letters need no escape
			if got := firstLine(receive(t, "the request", there)); got != "GET "+path+sent+" HTTP/1.1" {
				t.Errorf("%s arrived as %q", below, got)
			}
		}
	}},
	{"escaped control bytes, broken escapes and backslashes in a path", "400; the connection goes on", "", inClear, func(t testing.TB, s *stage) {
		path := s.untouched(t)
		w := s.wire(t)
		for _, below := range []string{"/%00", "/%0a", "/%zz", "/%", "/%5c", "/%5C..%5Cx", `/a\b`} {
			w.send("GET " + path + below + host + "\r\n")
			if got := w.answer("GET"); got.StatusCode != 400 {
				t.Errorf("%s was answered %s", below, got.Status)
			}
		}
	}},
	{"an X-Forwarded-For with a thousand addresses", "it is replaced by the one address that is known", "", inClear, func(t testing.TB, s *stage) {
		there := make(chan string, 1)
		w := s.wire(t)
		w.send("GET " + s.script.at(record(there, empty)) + host + "X-Forwarded-For: " + strings.Repeat("10.1.2.3, ", 1000) + "127.0.0.1\r\n\r\n")
		w.answer("GET")
		if head := receive(t, "the request", there); strings.Count(head, "10.1.2.3") > 0 || !strings.Contains(head, "\r\nX-Forwarded-For: 127.0.0.1\r\n") {
			t.Errorf("it arrived as %q", head)
		}
	}},
	{"a request id of a kilobyte", "it is replaced by one of the proxy's own", "", inClear, func(t testing.TB, s *stage) {
		there := make(chan string, 1)
		w := s.wire(t)
		w.send("GET " + s.script.at(record(there, empty)) + host + "X-Request-Id: " + strings.Repeat("x", 1024) + "\r\n\r\n")
		w.answer("GET")
		if head := receive(t, "the request", there); strings.Contains(head, "xxxx") || strings.Count(head, "\r\nX-Request-Id: ") != 1 {
			t.Errorf("it arrived as %q", head)
		}
	}},
	{"fields that CGI and its heirs take for X-Forwarded-For or for a proxy's address (`X_Forwarded_For`, `Proxy`)", "they are not passed on", "", inClear, func(t testing.TB, s *stage) {
		there := make(chan string, 1)
		w := s.wire(t)
		w.send("GET " + s.script.at(record(there, empty)) + host + "X_Forwarded_For: 10.9.9.9\r\nx-forwarded_for: 10.9.9.9\r\nX_REAL_IP: 10.9.9.9\r\nProxy: http://10.9.9.9\r\n\r\n")
		w.answer("GET")
		if head := receive(t, "the request", there); strings.Contains(head, "10.9.9.9") {
			t.Errorf("it arrived as %q", head)
		}
	}},
	{"a POST that says it is a DELETE (`X-HTTP-Method-Override`, `_method`), a `delete`, a request that names another path (`X-Original-URL`)", "400 where a route with another owner would then be met; the connection goes on", owned, inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		for _, disguise := range []string{" HTTP/1.1\r\nHost: shop\r\nX-HTTP-Method-Override: DELETE\r\n", " HTTP/1.1\r\nHost: shop\r\nx_method_override: delete\r\n", "?_method=DELETE" + host} {
			w.send("POST /owned/7" + disguise + "\r\n")
			if got := w.answer("POST"); got.StatusCode != 400 || !strings.Contains(got.body, "DELETE /owned/{id}") {
				t.Errorf("%q was answered %s %q", disguise, got.Status, got.body)
			}
		}
		for _, disguise := range []string{"delete /owned/7" + host, "DELETE / HTTP/1.1\r\nHost: shop\r\nX-Original-URL: /owned/7\r\n"} {
			w.send(disguise + "\r\n")
			if got := w.answer("GET"); got.StatusCode != 400 || !strings.Contains(got.body, "/owned/{id}") {
				t.Errorf("%q was answered %s %q", disguise, got.Status, got.body)
			}
		}
	}},
}

// owned declares routes that the other inputs do not meet.
const owned = `capabilities:
  billing:
    service: {url: "http://127.0.0.1:1", health: "", build: ""}
    routes:
      DELETE /owned/{id}: monolith
`

// bodyInputs go wrong in the body, or have none where one is usual.
var bodyInputs = []input{
	{"POST without a length", "it is forwarded without a body", "", inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		for range 2 {
			w.send("POST " + s.script.at(say(empty)) + host + "\r\n")
			if got := w.answer("POST"); got.StatusCode != 200 {
				t.Errorf("answered %s", got.Status)
			}
		}
	}},
	{"a body that stops", "408, or just the end of the connection, when no byte has come for `limits.body_timeout`; the backend's call is broken off", small, inClear, func(t testing.TB, s *stage) {
		broken := make(chan error, 1)
		w := s.wire(t)
		w.send("POST " + s.script.at(func(l *line, _ string) bool {
			_, err := l.body(1000)
			broken <- err
			return false
		}) + host + "Content-Length: 1000\r\n\r\nhalf")
		if receive(t, "the end of the call", broken) == nil {
			t.Error("the backend got a whole body")
		}
		w.isOverAfter(408)
	}},
	{"an announced body that is longer than `limits.body`", "413 before a byte of it is read, and the connection ends", small, inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("POST " + s.untouched(t) + host + "Content-Length: 102401\r\nExpect: 100-continue\r\n\r\n")
		w.refusal(413)
	}},
	{"a chunked body that grows longer than `limits.body`", "413, and the connection ends; the backend's call is broken off", small, inClear, func(t testing.TB, s *stage) {
		broken := make(chan error, 1)
		w := s.wire(t)
		path := s.script.at(func(l *line, _ string) bool {
			_, _, err := l.chunked()
			broken <- err
			return false
		})
		go io.WriteString(w, "POST "+path+host+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat(chunk(strings.Repeat("x", 1000)), 110)+lastOne)
		if receive(t, "the end of the call", broken) == nil {
			t.Error("the backend got a whole body")
		}
		w.isOverAfter(413)
	}},
	{"a client that goes on sending after a refusal", "the refusal reaches it all the same", small, inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		go func() {
			io.WriteString(w, "POST "+s.untouched(t)+host+"Content-Length: 10000000\r\n\r\n")
			for range 10_000_000 / piece {
				if _, err := w.Write(pattern[:]); err != nil {
					return
				}
			}
		}()
		if got := w.answer("POST"); got.StatusCode != 413 {
			t.Errorf("answered %s", got.Status)
		}
	}},
	{"a client that does not read its answer", "the connection ends when no byte was taken for `limits.body_timeout`; the backend's call is broken off", small, inClear, func(t testing.TB, s *stage) {
		stopped := make(chan int64, 1)
		w := s.wire(t)
		w.send("GET " + s.script.at(func(l *line, _ string) bool {
			io.WriteString(l, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			n, _ := io.Copy(l, io.LimitReader(endless{}, 1_000_000_000))
			stopped <- n
			return false
		}) + host + "\r\n")
		if n := receive(t, "the end of the call", stopped); n > 100_000_000 {
			t.Errorf("%d bytes were taken from the backend", n)
		}
	}},
}

// endless is a body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, pattern[:]), nil }

// isOverAfter finds the connection ended, with or without a word before.
func (w *wire) isOverAfter(status int) {
	w.t.Helper()
	rest, _ := io.ReadAll(w.in)
	if len(rest) > 0 && !strings.HasPrefix(string(rest), fmt.Sprintf("HTTP/1.1 %d ", status)) {
		w.t.Errorf("answered %q", rest)
	}
}
