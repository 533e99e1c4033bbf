package shadow_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
	"stranglerfig/strangler-proxy/upstream"
)

// mirrored has one exchange mirrored to a service that answers each request
// with what answer returns, raw, and returns what was found and what it heard.
func mirrored(t *testing.T, x *proxy.Exchange, most int64, answers ...string) (shadow.Count, []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 16)
	var asked atomic.Int64
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			for {
				text, err := readRequest(r)
				if err != nil {
					break
				}
				heard <- text
				answer := answers[min(int(asked.Add(1)), len(answers))-1]
				for piece := range strings.SplitSeq(answer, "|") {
					io.WriteString(c, piece)
				}
				if answer == "" || strings.Contains(answer, "Connection: close") || !strings.Contains(answer, "Length") && !strings.Contains(answer, "chunked") {
					break
				}
			}
			c.Close()
		}
	}()
	service, err := upstream.New(upstream.Options{Name: "service", URLs: []string{"http://" + l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	s := shadow.New(shadow.Options{
		Queue: 4, Body: most, Timeout: time.Minute, Metrics: prometheus.NewRegistry(),
		Backends: func(string) (*upstream.Backend, *upstream.Backend) { return service, service },
		Owner:    func(string) change.Side { return change.Monolith },
		Synced:   func(string, change.Side) time.Time { return time.Time{} },
		Redact:   tape.NewRedactor([]byte("key"), nil).Redact,
	})
	x.Route, x.Decision, x.At = &route.Route{ID: "GET /a", Capability: "billing"}, route.Decision{Mirror: true, Side: change.Monolith}, time.Now()
	s.Observe(x, nil)
	deadline := time.Now().Add(time.Minute)
	for !s.Idle() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	count, _ := s.Count("GET /a", shadow.Forward)
	s.Close()
	service.Close()
	l.Close()
	<-served
	close(heard)
	var all []string
	for text := range heard {
		all = append(all, text)
	}
	return count, all
}

// readRequest reads a head and a body of a known length.
func readRequest(r *bufio.Reader) (string, error) {
	var text strings.Builder
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		text.WriteString(line)
		fmt.Sscanf(line, "Content-Length: %d", &length)
		if line == "\r\n" {
			break
		}
	}
	_, err := io.CopyN(&text, r, int64(length))
	return text.String(), err
}

func TestAMirroredRequestIsWhatTheOwnerGotAndSaysThatItIsOne(t *testing.T) {
	x := &proxy.Exchange{
		Method: "GET", Path: "/a", Query: "b=1", Host: "shop.example", Status: 200, AnswerBody: []byte("yes"), Answer: proxy.HeadersOf(http.Header{"Content-Length": {"3"}}),
		Header: proxy.HeadersOf(http.Header{"Accept": {"text/plain"}, "X-Two": {"1", "2"}, "Connection": {"close"}, "Te": {"trailers"}, "Host": {"shop.example"}}),
	}
	count, heard := mirrored(t, x, 1<<10, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
	if count.Matched != 1 || len(heard) != 1 {
		t.Fatalf("%+v, %q", count, heard)
	}
	for _, want := range []string{"GET /a?b=1 HTTP/1.1\r\nHost: shop.example\r\n", "\r\nAccept: text/plain\r\n", "\r\nX-Two: 1\r\nX-Two: 2\r\n", "\r\nX-Strangler-Shadow: 1\r\n\r\n"} {
		if !strings.Contains(heard[0], want) {
			t.Errorf("%q lacks %q", heard[0], want)
		}
	}
	for _, never := range []string{"Connection", "Te:", "Content-Length"} {
		if strings.Contains(heard[0], never) {
			t.Errorf("%q has %q", heard[0], never)
		}
	}
}

func TestAMirroredAnswerIsReadHoweverItIsFramed(t *testing.T) {
	for name, row := range map[string]struct {
		answer                    string
		matched, differed, untold int64
	}{
		"a length":                    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n|y|es", 1, 0, 0},
		"chunks":                      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\ny\r\n|2\r\nes\r\n0|\r\n\r\n", 1, 0, 0},
		"the connection's end":        {"HTTP/1.1 200 OK\r\n\r\n|yes", 1, 0, 0},
		"an interim answer before it": {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n|HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", 1, 0, 0},
		"another body":                {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 0, 1, 0},
		"half a body":                 {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\ny", 0, 0, 1},
		"too long a body":             {"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("y", 2000), 0, 0, 1},
		"too long a body in chunks":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + strings.Repeat("y", 2000) + "\r\n0\r\n\r\n", 0, 0, 1},
		"no HTTP":                     {"SSH-2.0\r\n\r\nContent-Length", 0, 0, 1},
		"nothing":                     {"", 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			x := &proxy.Exchange{Method: "GET", Path: "/a", Host: "shop.example", Status: 200, AnswerBody: []byte("yes"), Answer: proxy.HeadersOf(http.Header{"Content-Length": {"3"}}), Header: proxy.HeadersOf(http.Header{})}
			if !strings.Contains(row.answer, "200 OK\r\nContent-Length") {
				x.Answer = proxy.HeadersOf(http.Header{})
			}
			count, heard := mirrored(t, x, 1<<10, row.answer)
			// A side that differs is asked again, and is in motion where it differs
			// from itself; here both sides are the same one.
			if count.Matched != row.matched && row.differed == 0 || count.Incomparable != row.untold || len(heard) == 0 {
				t.Errorf("%+v, %q", count, heard)
			}
		})
	}
}

func TestAMirroredReadIsSentOnceMoreWhereItWasNotHeard(t *testing.T) {
	x := &proxy.Exchange{Method: "GET", Path: "/a", Host: "shop.example", Status: 200, AnswerBody: []byte("yes"), Answer: proxy.HeadersOf(http.Header{"Content-Length": {"3"}}), Header: proxy.HeadersOf(http.Header{})}
	count, heard := mirrored(t, x, 1<<10, "", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
	if count.Matched != 1 || len(heard) != 2 {
		t.Errorf("%+v, %q", count, heard)
	}
}
