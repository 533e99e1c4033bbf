package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/upstream"
)

// drops is a body that comes a byte now and then.
type drops struct {
	left  int
	every time.Duration
}

func (d *drops) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	late(d.every)
	d.left--
	return copy(p, "x"), nil
}

// TestATimeToAnswerCountsFromTheEndOfTheRequest however long its body takes to
// come, over whatever both sides speak. A backend that neither takes the body nor
// answers is given up all the same.
func TestATimeToAnswerCountsFromTheEndOfTheRequest(t *testing.T) {
	const answer = 400 * time.Millisecond
	over := make(chan struct{})
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hung" {
			<-over
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		out.Header().Set("X-Answered-By", "service")
		io.WriteString(out, "whole"[:n])
	}))
	service.Config.Protocols = new(http.Protocols)
	service.Config.Protocols.SetHTTP1(true)
	service.Config.Protocols.SetUnencryptedHTTP2(true)
	service.Start()
	t.Cleanup(service.Close)
	t.Cleanup(func() { close(over) })
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.H2C} {
		w := newWorld(t, func(o *proxy.Options) { o.Limits.BodyTimeout = 2 * answer })
		b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{service.URL}, Protocol: protocol, Timeouts: upstream.Timeouts{Answer: answer}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		w.change(func(c *proxy.Capability) { c.Service = b })
		w.obey("POST /invoices=service", "POST /hung=service")
		newer := &http.Transport{Protocols: new(http.Protocols)}
		newer.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(newer.CloseIdleConnections)
		for _, client := range []http.RoundTripper{w.client.Transport, newer} {
			w.client.Transport = client
			slow := w.request("POST", "/invoices", "x")
			slow.Body, slow.ContentLength = io.NopCloser(&drops{4, answer / 3}), 4
			got := w.do(slow)
			if got.err != nil || got.StatusCode != 200 || got.body != "whol" {
				t.Fatalf("to %s: %+v, %v", protocol, got.Response, got.err)
			}
			endless := w.request("POST", "/hung", "x")
			endless.Body, endless.ContentLength = io.NopCloser(zeros{}), 1<<40
			hung := w.do
			if got.ProtoMajor == 1 {
				hung = w.doBoth
			}
			if hung := hung(endless); hung.err != nil || hung.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("%s to %s: of a backend that hangs: %+v, %v", got.Proto, protocol, hung.Response, hung.err)
			}
		}
	}
}

// doBoth writes a request over a connection of its own and reads the answer
// meanwhile. Over HTTP/1.1 net/http may take notice of the end of an upload, and
// not of the answer that came before it.
func (w *world) doBoth(r *http.Request) reply {
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		return reply{err: err}
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		r.Write(conn) // until nobody takes it any more
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), r)
	conn.Close()
	<-written
	return reply{Response: res, err: err}
}
