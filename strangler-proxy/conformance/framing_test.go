package conformance

import (
	"fmt"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

var framingScenes = []scene{
	{"a chunked body in odd pieces arrives whole", oddChunksArrive},
	{"a chunked answer in odd pieces arrives whole", oddAnswersArrive},
	{"chunk extensions do no harm", extensionsDoNoHarm},
	{"an answer that ends with its connection arrives whole", closeDelimitedArrives},
	{"HTTP/1.0 is answered without chunks and closed", oldClientsAreClosed},
	{"HTTP/1.0 with keep-alive is kept", oldClientsAreKept},
	{"HTTP/1.0 needs no Host", oldClientsNeedNoHost},
	{"HEAD has no body, whatever the answer announces", headNeverHasABody},
	{"204 and 304 have no body, whatever they announce", statusesWithoutBody},
	{"trailers that would frame or route are dropped", harmfulTrailersAreDropped},
	{"chunked wins over a length in an answer", chunkedWins},
	{"an announced length beyond 4 GiB is kept", hugeLengthsAreKept},
}

// body reads a body of known length.
func (l *line) body(n int) (string, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(l.in, b)
	return string(b), err
}

// chunked reads a chunked body and its trailer section.
func (l *line) chunked() (body, trailer string, err error) {
	raw, err := io.ReadAll(httputil.NewChunkedReader(l.in))
	if err != nil {
		return "", "", err
	}
	for {
		one, err := l.in.ReadString('\n')
		if err != nil || one == "\r\n" {
			return string(raw), trailer, err
		}
		trailer += one
	}
}

// echoChunks answers with what it read of a chunked body.
func echoChunks(l *line, head string) bool {
	if !strings.Contains(strings.ToLower(head), "\r\ntransfer-encoding: chunked\r\n") {
		io.WriteString(l, "HTTP/1.1 400 Not Chunked\r\nContent-Length: 0\r\n\r\n")
		return false
	}
	body, trailer, err := l.chunked()
	if err != nil {
		return false
	}
	fmt.Fprintf(l, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Trailer: %s\r\n\r\n%s", len(body), strings.ReplaceAll(trailer, "\r\n", "|"), body)
	return true
}

func oddChunksArrive(t testing.TB, s *stage) {
	path := s.script.at(echoChunks)
	for _, size := range []int{1, 2, 3, 7, 1000} {
		w := s.wire(t)
		text := "POST " + path + " HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n00A\r\n0123456789\r\nb\r\nhello world\r\n0\r\nX-Sum: 1\r\n\r\n"
		for len(text) > 0 {
			n := min(size, len(text))
			w.send(text[:n])
			text = text[n:]
		}
		got := w.answer("POST")
		if got.body != "a0123456789hello world" || got.Header.Get("X-Trailer") != "X-Sum: 1|" {
			t.Errorf("in pieces of %d: answered %s %q, trailers %q", size, got.Status, got.body, got.Header.Get("X-Trailer"))
		}
	}
}

func oddAnswersArrive(t testing.TB, s *stage) {
	path := s.script.at(func(l *line, _ string) bool {
		for _, b := range []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n00A;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n") {
			if _, err := l.Write([]byte{b}); err != nil {
				return false
			}
		}
		return true
	})
	w := s.wire(t)
	for range 2 {
		w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\n\r\n")
		got := w.answer("GET")
		if got.body != "a0123456789" || got.Trailer.Get("X-Sum") != "1" {
			t.Errorf("answered %q with the trailers %v", got.body, got.Trailer)
		}
	}
}

func extensionsDoNoHarm(t testing.TB, s *stage) {
	w := s.wire(t)
	w.send("POST " + s.script.at(echoChunks) + " HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3;name=value;q=\"a;b\"\r\nabc\r\n0;last\r\n\r\n")
	if got := w.answer("POST").body; got != "abc" {
		t.Errorf("answered %q", got)
	}
}

func closeDelimitedArrives(t testing.TB, s *stage) {
	text := strings.Repeat("0123456789", 10_000)
	path := s.script.at(sayAndClose("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text))
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	if got := w.answer("GET").body; got != text {
		t.Errorf("%d bytes arrived of %d", len(got), len(text))
	}
	w = s.wire(t)
	w.send("GET " + path + " HTTP/1.0\r\n\r\n")
	if w.head(); w.rest() != text {
		t.Error("the answer to HTTP/1.0 did not arrive whole")
	}
}

func oldClientsAreClosed(t testing.TB, s *stage) {
	w := s.wire(t)
	w.send("GET " + s.script.at(say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n")) + " HTTP/1.0\r\nHost: shop\r\n\r\n")
	if head := strings.ToLower(w.head()); strings.Contains(head, "transfer-encoding") {
		t.Errorf("answered %q", head)
	}
	if got := w.rest(); got != "well" {
		t.Errorf("answered %q", got)
	}
}

func oldClientsAreKept(t testing.TB, s *stage) {
	path := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"))
	w := s.wire(t)
	for range 3 {
		w.send("GET " + path + " HTTP/1.0\r\nHost: shop\r\nConnection: keep-alive\r\n\r\n")
		head := w.head()
		if !strings.Contains(strings.ToLower(head), "\r\nconnection: keep-alive\r\n") {
			t.Errorf("answered %q, which does not say that the connection is kept", head)
		}
		if body, err := w.body(4); err != nil || body != "well" {
			t.Fatalf("answered %q: %v", body, err)
		}
	}
}

func oldClientsNeedNoHost(t testing.TB, s *stage) {
	w := s.wire(t)
	w.send("GET " + s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")) + " HTTP/1.0\r\n\r\n")
	if head := w.head(); !strings.Contains(head, " 200 ") {
		t.Errorf("answered %q", head)
	}
}

func headNeverHasABody(t testing.TB, s *stage) {
	w := s.wire(t)
	for _, announced := range []string{"Content-Length: 99", "Transfer-Encoding: chunked", "X-Nothing: announced"} {
		w.send("HEAD " + s.script.at(say("HTTP/1.1 200 OK\r\n"+announced+"\r\n\r\n")) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Errorf("%s: answered %q", announced, head)
		}
	}
}

func statusesWithoutBody(t testing.TB, s *stage) {
	w := s.wire(t)
	for _, status := range []string{"204 No Content", "304 Not Modified"} {
		for _, announced := range []string{"Content-Length: 99", "Etag: \"v1\""} {
			w.send("GET " + s.script.at(say("HTTP/1.1 "+status+"\r\n"+announced+"\r\n\r\n")) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
			if head := w.head(); firstLine(head) != "HTTP/1.1 "+status {
				t.Errorf("%s with %s: answered %q", status, announced, head)
			}
		}
	}
}

func harmfulTrailersAreDropped(t testing.TB, s *stage) {
	w := s.wire(t)
	w.send("POST " + s.script.at(echoChunks) + " HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" +
		"Content-Length: 5\r\nX-Good: 1\r\nHost: other\r\nTransfer-Encoding: chunked\r\nAuthorization: Basic eA==\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
	if got := w.answer("POST"); got.StatusCode == 200 && got.Header.Get("X-Trailer") != "X-Good: 1|" {
		t.Errorf("the trailers arrived as %q", got.Header.Get("X-Trailer"))
	}
}

func chunkedWins(t testing.TB, s *stage) {
	path := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n"))
	w := s.wire(t)
	for range 2 {
		w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		head := strings.ToLower(w.head())
		if strings.Contains(head, "content-length") || !strings.Contains(head, "chunked") {
			t.Fatalf("answered %q", head)
		}
		if body, _, err := w.chunked(); err != nil || body != "well" {
			t.Fatalf("answered %q: %v", body, err)
		}
	}
}

func hugeLengthsAreKept(t testing.TB, s *stage) {
	w := s.wire(t)
	w.send("HEAD " + s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 5000000000000\r\n\r\n")) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	if head := w.head(); !strings.Contains(head, "\r\nContent-Length: 5000000000000\r\n") {
		t.Errorf("answered %q", head)
	}
}
