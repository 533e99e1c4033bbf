package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var headScenes = []scene{
	{"the order and the case of fields are kept both ways", fieldsAreKept},
	{"the reason phrase is kept", reasonIsKept},
	{"the target is kept byte for byte", targetIsKept},
	{"OPTIONS * reaches the backend", asteriskArrives},
	{"the coding of a body reaches the backend in one spelling", codingIsSpelled},
	{"a target in absolute form reaches the backend in origin form", absoluteFormIsTurned},
	{"bytes beyond ASCII in values pass", highBytesPass},
	{"a head that comes byte by byte is a head", slowHeadsAreHeads},
	{"empty lines before a request are skipped", emptyLinesAreSkipped},
	{"old line ends and folds in an answer are read", oldAnswersAreRead},
	{"the same length twice in an answer counts once", sameLengthCountsOnce},
	{"a client's own word of where it comes from is replaced", spoofedOriginsAreReplaced},
}

const empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// fieldsOf lists the lines of a head below the first, but for what a proxy may
// say of itself and of who asked.
func fieldsOf(head string) []string {
	var kept []string
	for _, field := range strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")[1:] {
		name, _, _ := strings.Cut(field, ":")
		if !slices.ContainsFunc(append([]string{"Date", "Connection"}, told...), func(t string) bool { return strings.EqualFold(name, t) }) {
			kept = append(kept, field)
		}
	}
	return kept
}

// firstLine is the first line of a head.
func firstLine(head string) string {
	first, _, _ := strings.Cut(head, "\r\n")
	return first
}

func fieldsAreKept(t testing.TB, s *stage) {
	there := make(chan string, 1)
	back := []string{"server: tiny", "X-zeta: 1", "x-ALPHA: 2", "Content-length: 0", "X-zeta: 3", "etag: \"v\""}
	path := s.script.at(record(there, "HTTP/1.1 200 OK\r\n"+strings.Join(back, "\r\n")+"\r\n\r\n"))
	sent := []string{"X-zeta: 1", "hOST: shop", "x-ALPHA: 2", "accept: */*", "X-zeta: 3", "user-agent: raw"}
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\n" + strings.Join(sent, "\r\n") + "\r\n\r\n")
	if got := fieldsOf(receive(t, "the request", there)); !slices.Equal(got, sent) {
		t.Errorf("the request arrived as %q", got)
	}
	if got := fieldsOf(w.head()); !slices.Equal(got, back) {
		t.Errorf("the answer arrived as %q", got)
	}
}

func reasonIsKept(t testing.TB, s *stage) {
	for _, status := range []string{"200 Fine by me", "404 Nothing here", "299 "} {
		w := s.wire(t)
		w.send("GET " + s.script.at(say("HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")) + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if got := firstLine(w.head()); strings.TrimSpace(got) != strings.TrimSpace("HTTP/1.1 "+status) {
			t.Errorf("%q arrived as %q", status, got)
		}
	}
}

func targetIsKept(t testing.TB, s *stage) {
	there := make(chan string, 1)
	path := s.script.at(record(there, empty))
	w := s.wire(t)
	for _, below := range []string{"", "?", "?a=%zz;b=%&&=", "/a%20b/caf%C3%A9?x=%2f", "/a//b/;v=1?q=\"'`{}|^<>", "/a%2Fb?back=http://other/?x"} {
		first := "PUT " + path + below + " HTTP/1.1"
		w.send(first + "\r\nHost: shop\r\nContent-Length: 0\r\n\r\n")
		if got := firstLine(receive(t, "the request", there)); got != first {
			t.Errorf("%q arrived as %q", first, got)
		}
		w.answer("PUT")
	}
}

func asteriskArrives(t testing.TB, s *stage) {
	there := make(chan string, 1)
	s.script.parts.Store("", part(record(there, "HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n")))
	w := s.wire(t)
	w.send("OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n")
	if got := w.answer("OPTIONS"); got.StatusCode != 204 || got.Header.Get("Allow") != "GET" {
		t.Fatalf("answered %s %q", got.Status, got.body)
	}
	if got := firstLine(receive(t, "the request", there)); got != "OPTIONS * HTTP/1.1" {
		t.Errorf("it arrived as %q", got)
	}
}

// codingIsSpelled holds the proxy to the spelling that backends with a careless
// comparison know.
func codingIsSpelled(t testing.TB, s *stage) {
	there := make(chan string, 1)
	path := s.script.at(func(l *line, head string) bool {
		there <- head
		return echoChunks(l, strings.ToLower(head))
	})
	w := s.wire(t)
	w.send("POST " + path + " HTTP/1.1\r\nHost: shop\r\ntransfer-ENCODING:CHUNKED\r\n\r\n0\r\n\r\n")
	if got := receive(t, "the request", there); !strings.Contains(strings.ToLower(got), "\r\ntransfer-encoding: ") || !strings.Contains(got, ": chunked\r\n") {
		t.Errorf("it arrived as %q", got)
	}
}

func absoluteFormIsTurned(t testing.TB, s *stage) {
	there := make(chan string, 1)
	path := s.script.at(record(there, empty))
	w := s.wire(t)
	w.send("GET http://shop.example" + path + "?q=1 HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	head := receive(t, "the request", there)
	if firstLine(head) != "GET "+path+"?q=1 HTTP/1.1" || !strings.Contains(head, "\r\nHost: shop.example\r\n") {
		t.Errorf("it arrived as %q", head)
	}
}

func highBytesPass(t testing.TB, s *stage) {
	there := make(chan string, 1)
	path := s.script.at(record(there, "HTTP/1.1 200 OK\r\nX-Name: gr\xfc\xdf\r\nContent-Length: 0\r\n\r\n"))
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\nX-Name: caf\xe9 \xe2\x82\xac\r\n\r\n")
	if got := receive(t, "the request", there); !strings.Contains(got, "\r\nX-Name: caf\xe9 \xe2\x82\xac\r\n") {
		t.Errorf("the request arrived as %q", got)
	}
	if got := w.head(); !strings.Contains(got, "\r\nX-Name: gr\xfc\xdf\r\n") {
		t.Errorf("the answer arrived as %q", got)
	}
}

func slowHeadsAreHeads(t testing.TB, s *stage) {
	path := s.script.at(func(l *line, _ string) bool {
		body, err := l.body(10)
		fmt.Fprintf(l, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return err == nil
	})
	w := s.wire(t)
	for range 2 {
		for _, b := range []byte("POST " + path + " HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n0123456789") {
			w.send(string(b))
		}
		if got := w.answer("POST").body; got != "0123456789" {
			t.Errorf("answered %q", got)
		}
	}
}

func emptyLinesAreSkipped(t testing.TB, s *stage) {
	path := s.script.at(say(empty))
	w := s.wire(t)
	for range 2 {
		w.send("\r\nGET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		if got := w.answer("GET").StatusCode; got != 200 {
			t.Errorf("answered %d", got)
		}
	}
}

func oldAnswersAreRead(t testing.TB, s *stage) {
	path := s.script.at(say("HTTP/1.1 200 OK\nX-Folded: one\n\ttwo\nX-Next: 3\nContent-Length: 4\n\nwell"))
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	got := w.answer("GET")
	if got.body != "well" || got.Header.Get("X-Folded") != "one two" || got.Header.Get("X-Next") != "3" {
		t.Errorf("answered %s %v %q", got.Status, got.Header, got.body)
	}
}

func sameLengthCountsOnce(t testing.TB, s *stage) {
	path := s.script.at(say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nwell"))
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	head := w.head()
	if strings.Count(strings.ToLower(head), "content-length: 4") != 1 {
		t.Errorf("answered %q", head)
	}
}

func spoofedOriginsAreReplaced(t testing.TB, s *stage) {
	there := make(chan string, 1)
	path := s.script.at(record(there, empty))
	w := s.wire(t)
	w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 10.9.9.9\r\nx-forwarded-proto: gopher\r\nX-FORWARDED-HOST: other\r\nX_Forwarded_For: 10.9.9.8\r\n\r\n")
	head := strings.ToLower(receive(t, "the request", there))
	proto := map[bool]string{false: "http", true: "https"}[s.listener.tls]
	for _, want := range []string{"\r\nx-forwarded-for: 127.0.0.1\r\n", "\r\nx-forwarded-proto: " + proto + "\r\n", "\r\nx-forwarded-host: shop\r\n"} {
		if strings.Count(head, want) != 1 {
			t.Errorf("the request arrived as %q, without %q", head, want)
		}
	}
	for _, spoofed := range []string{"10.9.9.9", "gopher", "other"} {
		if strings.Contains(head, spoofed) {
			t.Errorf("the request arrived as %q, with %q", head, spoofed)
		}
	}
}
