package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/upstream"
)

// TestWhoStopsALongBodyIsToldApart although the kernel moves such bodies and does
// not say which end has failed: a client that stops sending or taking, or goes,
// speaks against no backend, and keeps none of its connections.
func TestWhoStopsALongBodyIsToldApart(t *testing.T) {
	const still, long, some = 400 * time.Millisecond, 64 << 20, 1 << 20
	for name, row := range map[string]struct {
		method string
		client func(*net.TCPConn)            // what it does when some of the body has come
		server func(out http.ResponseWriter) // what the backend does then; nil: it goes on
		status string                        // how it is answered; "" for not at all, or not to the end
		want   upstream.Outcome
	}{
		"the client stops sending":      {"POST", func(*net.TCPConn) {}, nil, "HTTP/1.1 408", upstream.Undecided},
		"the client is reset":           {"POST", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, nil, "", upstream.Undecided},
		"the client goes":               {"POST", func(c *net.TCPConn) { c.CloseWrite() }, nil, "", upstream.Undecided},
		"the client stops taking":       {"GET", func(*net.TCPConn) {}, nil, "HTTP/1.1 200", upstream.Undecided},
		"the client is reset, taking":   {"GET", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, nil, "", upstream.Undecided},
		"the backend is reset":          {"POST", func(c *net.TCPConn) { go io.Copy(c, zeros{}) }, reset, "HTTP/1.1 502", upstream.Failed},
		"the backend is reset, sending": {"GET", func(c *net.TCPConn) {}, reset, "HTTP/1.1 200", upstream.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *proxy.Options) { o.Limits.BodyTimeout = still })
			b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{w.service.server.URL}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			w.change(func(c *proxy.Capability) { c.Service = b })
			w.obey("POST /invoices=service", "GET /invoices=service")
			come, ended := make(chan bool), make(chan bool)
			w.service.answers(func(out http.ResponseWriter, r *http.Request) {
				defer close(ended)
				if r.Method == "GET" {
					out.Header().Set("Content-Length", fmt.Sprint(long))
					io.CopyN(out, zeros{}, some)
				} else {
					io.CopyN(io.Discard, r.Body, some)
				}
				close(come)
				if row.server != nil {
					row.server(out)
				} else if r.Method == "GET" {
					io.CopyN(out, zeros{}, long-some)
				} else {
					io.Copy(io.Discard, r.Body)
				}
			})
			conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "%s /invoices HTTP/1.1\r\nHost: shop\r\n", row.method)
			if row.method == "POST" {
				fmt.Fprintf(conn, "Content-Length: %d\r\n\r\n%s", long, strings.Repeat("x", some+1))
			} else {
				io.WriteString(conn, "\r\n")
			}
			<-come
			row.client(conn.(*net.TCPConn))
			<-ended // long before a backend's own time is over
			w.front.Close()
			if got := b.Stats().Endpoints[0].Outcomes; got[row.want] != 1 {
				t.Errorf("the outcomes are %v", got)
			}
			if answer, _ := io.ReadAll(io.LimitReader(conn, 12)); string(answer) != row.status {
				t.Errorf("answered %q", answer)
			}
		})
	}
}

// reset breaks the connection that an answer goes over.
func reset(out http.ResponseWriter) {
	conn, _, err := http.NewResponseController(out).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// zeros is bytes without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestALongAnswerMayPauseForLongerThanItsClientMayStandStill although the kernel
// moves it: the client is not to blame, and nothing is left out.
func TestALongAnswerMayPauseForLongerThanItsClientMayStandStill(t *testing.T) {
	const still, half = 400 * time.Millisecond, 256 << 10
	w := newWorld(t, func(o *proxy.Options) { o.Limits.BodyTimeout = still })
	w.obey("GET /invoices=service")
	sent := strings.Repeat("0123456789abcdef", 2*half/16)
	w.service.answers(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Length", fmt.Sprint(len(sent)))
		io.WriteString(out, sent[:half])
		http.NewResponseController(out).Flush()
		late(2 * still)
		io.WriteString(out, sent[half:])
	})
	if got := w.ask("GET", "/invoices", ""); got.body != sent {
		t.Errorf("%d bytes of %d came", len(got.body), len(sent))
	}
}
