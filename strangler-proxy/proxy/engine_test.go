package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/upstream"
)

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	w := newWorld(t)
	w.obey()
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(out, "%s %s %s", r.Method, r.URL, body)
	})
	c := w.dial()
	var all strings.Builder
	const n = 100
	for i := range n {
		if i%3 == 0 {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", i)
		} else {
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n", i)
		}
	}
	c.send(all.String())
	for i := range n {
		want := fmt.Sprintf("GET /%d ", i)
		if i%3 == 0 {
			want = fmt.Sprintf("POST /%d abc", i)
		}
		if _, got := c.answer("GET"); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestClientsOfHTTP10AreServedAsTheyExpect(t *testing.T) {
	w := newWorld(t)
	w.obey()
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		io.WriteString(out, "in ")
		http.NewResponseController(out).Flush() // so that the length is not known
		io.WriteString(out, "pieces")
	})
	c := w.dial()
	c.send("GET /a HTTP/1.0\r\n\r\n")
	head, err := readHead(c.in)
	rest, restErr := io.ReadAll(c.in)
	if err != nil || restErr != nil || strings.Contains(head, "Transfer-Encoding") || string(rest) != "in pieces" {
		t.Errorf("%q %q, %v, %v", head, rest, err, restErr)
	}
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) { io.WriteString(out, "whole") })
	c = w.dial()
	for range 2 {
		c.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if res, body := c.answer("GET"); body != "whole" || res.Header.Get("Connection") != "keep-alive" {
			t.Errorf("%q %v", body, res.Header)
		}
	}
	c.send("GET /a HTTP/1.0\r\n\r\n")
	if _, body := c.answer("GET"); body != "whole" || !c.ended() {
		t.Errorf("%q, or the connection goes on", body)
	}
}

func TestWhatIsNoRequestIsRefusedAndCountedAndReachesNobody(t *testing.T) {
	w := newWorld(t)
	w.obey()
	for text, status := range map[string]int{
		"GET / HTTP/1.1\n\nHost: shop\r\n\r\n":  400,
		"GET / HTTP/1.1\r\nHost : shop\r\n\r\n": 400,
		"GET / HTTP/1.1\r\n\r\n":                400,
		"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc":                400,
		"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
		"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: gzip\r\n\r\n":                                  501,
		"CONNECT shop:443 HTTP/1.1\r\nHost: shop\r\n\r\n":                                                   501,
		"GET / HTTP/2.7\r\nHost: shop\r\n\r\n":                                                              505,
		"GET / HTTP/1.1\r\nHost: shop\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n":                    431,
		"GET /" + strings.Repeat("x", 9<<10) + " HTTP/1.1\r\nHost: shop\r\n\r\n":                            414,
	} {
		c := w.dial()
		c.send(text)
		res, _ := c.answer("GET")
		if res.StatusCode != status || !c.ended() {
			t.Errorf("%.60q is answered with %d, want %d and the end of the connection", text, res.StatusCode, status)
		}
	}
	if n := w.number("strangler_refused_total"); n != 10 {
		t.Errorf("%v refusals are counted", n)
	}
	if n := w.monolith.calls.Load(); n != 0 {
		t.Errorf("%d of them reached the monolith", n)
	}
}

func TestABodyThatTurnsOutToBeNoneIsRefusedAndNotTakenForWholeByTheBackend(t *testing.T) {
	w := newWorld(t)
	read := make(chan error, 1)
	w.obey()
	w.monolith.answers(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	c := w.dial()
	c.send("POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.send("5\r\nhello\r\n")
	c.send("5 \r\nhello\r\n0\r\n\r\n")
	if res, body := c.answer("POST"); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "chunk") || !c.ended() {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	select {
	case err := <-read:
		if err == nil {
			t.Error("the backend took the body for whole")
		}
	default: // it was never asked
	}
}

func TestIdleConnectionsThatTheBackendEndedAreNotUsedEvenForWrites(t *testing.T) {
	w := newWorld(t)
	w.obey()
	for range 5 {
		if got := w.ask("POST", "/a", "a body"); got.StatusCode != http.StatusOK {
			t.Fatalf("%d %q", got.StatusCode, got.body)
		}
		w.monolith.server.CloseClientConnections()
	}
	if n := w.monolith.calls.Load(); n != 5 {
		t.Errorf("the monolith was asked %d times", n)
	}
}

func TestWhatABackendSentUnaskedIsNobodysAnswer(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	said := make(chan struct{}, 9) // all of it
	w.scripted(func(in *bufio.Reader, conn net.Conn) {
		for {
			if _, err := readHead(in); err != nil {
				return
			}
			n := asked.Add(1)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			said <- struct{}{}
		}
	})
	for i := range 9 {
		if got := w.ask("GET", "/", ""); got.body != fmt.Sprint(i+1) {
			t.Fatalf("request %d is answered with %q", i+1, got.body)
		}
		<-said // what comes while the next one is on its way cannot be told from its answer
	}
}

func TestAnAnswerThatComesBeforeTheBodyWasSentReachesTheClient(t *testing.T) {
	w := newWorld(t)
	w.scripted(func(in *bufio.Reader, conn net.Conn) {
		if _, err := readHead(in); err == nil {
			io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nstop")
		}
	})
	c := w.dial()
	c.send("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\nthe beginning")
	res, body := c.answer("POST")
	if res.StatusCode != http.StatusRequestEntityTooLarge || body != "stop" || !res.Close {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
}

func TestABodyIsSentWhenTheBackendAsksForIt(t *testing.T) {
	w := newWorld(t)
	w.obey()
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // which sends 100 (Continue)
		fmt.Fprintf(out, "%s %v", body, err)
	})
	c := w.dial()
	c.send("POST /a HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if head, err := readHead(c.in); err != nil || head != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("%q, %v", head, err)
	}
	c.send("body")
	if _, body := c.answer("POST"); body != "body <nil>" {
		t.Errorf("%q", body)
	}
}

func TestInterimAnswersPass(t *testing.T) {
	w := newWorld(t)
	w.obey()
	w.monolith.answers(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Link", "</style.css>; rel=preload")
		out.WriteHeader(http.StatusEarlyHints)
		io.WriteString(out, "done")
	})
	c := w.dial()
	c.send("GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
	head, err := textproto.NewReader(c.in).ReadLine()
	if err != nil || head != "HTTP/1.1 103 Early Hints" {
		t.Fatalf("%q, %v", head, err)
	}
	if _, err := readHead(c.in); err != nil {
		t.Fatal(err)
	}
	if _, body := c.answer("GET"); body != "done" {
		t.Errorf("%q", body)
	}
}

func TestFieldsPassInTheirOrderAndCase(t *testing.T) {
	w := newWorld(t, func(o *proxy.Options) {
		o.Forwarding = proxy.Forwarding{Style: proxy.Untold, RequestID: "off"}
	})
	saw := make(chan string, 1)
	const answer = "HTTP/1.1 299 Whatever You Say\r\nx-lower: 1\r\nX-UPPER: 2\r\nx-lower: 3\r\nContent-LENGTH: 2\r\nSet-Cookie: a=b; Path=/\r\n\r\nok"
	w.scripted(func(in *bufio.Reader, conn net.Conn) {
		head, err := readHead(in)
		if err == nil {
			saw <- head
			io.WriteString(conn, answer)
		}
	})
	c := w.dial()
	const head = "GET /a?b=%zz HTTP/1.1\r\nx-First: 1\r\nhOST: Shop.Example\r\naccept: */*\r\nX-first: 2\r\n\r\n"
	c.send(strings.Replace(head, "accept", "Connection: keep-alive, x-gone\r\nX-Gone: 1\r\nKeep-Alive: 5\r\naccept", 1))
	if got := <-saw; got != head {
		t.Errorf("the backend saw\n%q, want\n%q", got, head)
	}
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(c.in, got); err != nil || string(got) != answer {
		t.Errorf("the client saw\n%q, %v, want\n%q", got, err, answer)
	}
}

func TestBodiesOfEverySizeAndFramingPassBothWays(t *testing.T) {
	w := newWorld(t)
	w.obey()
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.ContentLength >= 0 {
			out.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		out.Write(body)
	})
	pattern := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(pattern) // so that no piece is like another
	for _, size := range []int{1, 100, 16<<10 - 1, 16 << 10, 16<<10 + 1, 40_000, 64 << 10, 80 << 10, 200_000, 1 << 20} {
		for _, length := range []int64{int64(size), -1} {
			r := w.request("POST", "/a", "")
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(pattern[:size])), length
			if got := w.do(r); got.err != nil || got.body != string(pattern[:size]) {
				t.Errorf("of %d bytes (length %d) %d came back, %v", size, length, len(got.body), got.err)
			}
		}
	}
}

func TestBackendsThatSpeakHTTP2AreReachedFromHTTP1(t *testing.T) {
	w := newWorld(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		out.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(out, "%s %s %s %s %s, sum %s", r.Proto, r.Method, r.Host, r.RequestURI, body, r.Trailer.Get("X-Checksum"))
		out.Header().Set("X-Sum", "43")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	b, err := upstream.New(upstream.Options{Name: "modern", URLs: []string{s.URL}, Protocol: upstream.H2C})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w.snapshot.Monolith = b
	w.obey()
	if got := w.ask("GET", "/a%2Fb?x=1;y", "", "X-Checksum", "no trailer"); got.body != "HTTP/2.0 GET "+w.front.Listener.Addr().String()+" /a%2Fb?x=1;y , sum " || got.Trailer.Get("X-Sum") != "43" {
		t.Errorf("%q, trailer %v", got.body, got.Trailer)
	}
	r := w.request("POST", "/a", "")
	r.Body, r.ContentLength, r.Trailer = io.NopCloser(strings.NewReader("body")), -1, http.Header{"X-Checksum": {"42"}}
	if got := w.do(r); got.err != nil || !strings.HasSuffix(got.body, "/a body, sum 42") {
		t.Errorf("%q, %v", got.body, got.err)
	}
	c := w.dial()
	c.send("HEAD /a HTTP/1.1\r\nHost: shop\r\n\r\nGET /b HTTP/1.0\r\nHost: shop\r\n\r\n")
	if res, body := c.answer("HEAD"); res.StatusCode != 200 || body != "" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if _, body := c.answer("GET"); !strings.HasPrefix(body, "HTTP/2.0 GET shop /b") || !c.ended() {
		t.Errorf("%q", body)
	}
}

func TestAnswersThatCannotBeReadAreNotPassedOn(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/3 200 OK\r\n\r\n", "nonsense\r\n\r\n", "",
	} {
		w := newWorld(t)
		w.scripted(func(in *bufio.Reader, conn net.Conn) {
			if _, err := readHead(in); err == nil {
				io.WriteString(conn, answer)
			}
		})
		if got := w.ask("POST", "/", ""); got.StatusCode != http.StatusBadGateway {
			t.Errorf("%.40q is passed on as %d %q", answer, got.StatusCode, got.body)
		}
	}
}

func TestTooManyRequestsAtOnceAreRefusedEarly(t *testing.T) {
	w := newWorld(t, func(o *proxy.Options) { o.Limits.Requests = 1 })
	w.obey()
	inside, finish := make(chan struct{}), make(chan struct{})
	w.monolith.answers(func(http.ResponseWriter, *http.Request) { inside <- struct{}{}; <-finish })
	first := w.later(t.Context(), "GET", "/", "")
	<-inside
	if got := w.ask("GET", "/", ""); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
	close(finish)
	if got := <-first; got.err != nil || got.StatusCode != http.StatusOK {
		t.Errorf("%+v", got)
	}
}

func TestBodiesLongerThanTheLimitAreRefused(t *testing.T) {
	w := newWorld(t, func(o *proxy.Options) { o.Limits.Body = 1000 })
	w.obey()
	if got := w.ask("POST", "/", strings.Repeat("x", 1000)); got.StatusCode != http.StatusOK {
		t.Errorf("a body of the limit: %d", got.StatusCode)
	}
	c := w.dial()
	c.send("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1001\r\n\r\n")
	if res, _ := c.answer("POST"); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a length above it: %d", res.StatusCode)
	}
	c = w.dial()
	c.send("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + strings.Repeat("x", 1000) + "\r\n")
	c.send("1\r\nx\r\n0\r\n\r\n")
	if res, _ := c.answer("POST"); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("chunks above it: %d", res.StatusCode)
	}
}

func TestAHeadThatTakesTooLongIsRefused(t *testing.T) {
	w := newWorld(t, func(o *proxy.Options) { o.Limits.HeadTimeout = time.Millisecond })
	w.obey()
	c := w.dial()
	c.send("GET / HTTP/1.1\r\nHost:")
	if res, _ := c.answer("GET"); res.StatusCode != http.StatusRequestTimeout || !c.ended() {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestBackendsAreToldAboutClients(t *testing.T) {
	headers := make(chan http.Header, 1)
	for name, row := range map[string]struct {
		o    proxy.Forwarding
		sent []string
		want map[string]string
	}{
		"by anybody": {proxy.Forwarding{}, []string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X-Request-Id", "mine"},
			map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example", "X-Request-Id": "mine"}},
		"by a trusted proxy": {proxy.Forwarding{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			[]string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "www.example"},
			map[string]string{"X-Forwarded-For": "6.6.6.6, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "www.example"}},
		"by a trusted proxy that has fields of its own": {proxy.Forwarding{Style: proxy.BothStyles, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			[]string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "10.0.0.7", "X-Forwarded-Host", "forged", "X-Forwarded-Host", "www.example", "Forwarded", "for=6.6.6.6", "Forwarded", "for=10.0.0.7"},
			map[string]string{"X-Forwarded-For": "6.6.6.6, 10.0.0.7, 127.0.0.1", "X-Forwarded-Host": "www.example",
				"Forwarded": `for=6.6.6.6, for=10.0.0.7, for=127.0.0.1;host="shop.example";proto=http`}},
		"by RFC 7239": {proxy.Forwarding{Style: proxy.RFC7239}, []string{"Forwarded", "for=6.6.6.6", "X-Forwarded-For", "6.6.6.6"},
			map[string]string{"Forwarded": `for=127.0.0.1;host="shop.example";proto=http`, "X-Forwarded-For": ""}},
		"by nobody": {proxy.Forwarding{Style: proxy.Untold, RequestID: "off"}, []string{"X-Forwarded-For", "6.6.6.6"},
			map[string]string{"X-Forwarded-For": "6.6.6.6", "X-Request-Id": ""}},
	} {
		w := newWorld(t, func(o *proxy.Options) { o.Forwarding = row.o })
		w.obey()
		w.monolith.answers(func(_ http.ResponseWriter, r *http.Request) { headers <- r.Header.Clone() })
		r := w.request("GET", "/", "", row.sent...)
		r.Host = "shop.example"
		w.do(r)
		got := <-headers
		for field, want := range row.want {
			if got.Get(field) != want || len(got.Values(field)) > 1 {
				t.Errorf("%s: %s is %q, want %q", name, field, got.Values(field), want)
			}
		}
		if row.o.RequestID == "" && got.Get("X-Request-Id") == "" {
			t.Errorf("%s: the request has no id", name)
		}
	}
}

func TestABackendsOwnNameIsTurnedIntoWhatTheClientAskedFor(t *testing.T) {
	w := newWorld(t)
	w.snapshot.Manners = map[*upstream.Backend]proxy.Manners{w.snapshot.Monolith: {OwnHost: true, Rewrite: true}}
	w.obey()
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("X-Asked-For", r.Host)
		out.Header().Set("Location", "http://"+r.Host+"/there?x=http://"+r.Host)
		out.Header().Add("Set-Cookie", "a=b; Domain=127.0.0.1; Path=/")
		out.Header().Add("Set-Cookie", "c=d; Domain=other.example")
		out.WriteHeader(http.StatusFound)
	})
	r := w.request("GET", "/", "")
	r.Host = "shop.example"
	got := w.do(r)
	own := w.snapshot.Monolith.URL.Host
	if got.Header.Get("X-Asked-For") != own || got.Header.Get("Location") != "http://shop.example/there?x=http://"+own ||
		strings.Join(got.Header["Set-Cookie"], "|") != "a=b; Path=/|c=d; Domain=other.example" {
		t.Errorf("%v", got.Header)
	}
}

func TestADrainFinishesWhatWasBegun(t *testing.T) {
	w := newWorld(t)
	w.obey()
	inside, finish := make(chan struct{}), make(chan struct{})
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		inside <- struct{}{}
		<-finish
		io.WriteString(out, "done")
	})
	answered := w.later(t.Context(), "GET", "/", "")
	<-inside
	closed := make(chan struct{})
	go func() { w.front.Close(); close(closed) }()
	for {
		conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
		if err != nil {
			break // nobody new is taken
		}
		conn.Close()
	}
	close(finish)
	if got := <-answered; got.err != nil || got.body != "done" || !got.Close {
		t.Errorf("%+v", got)
	}
	<-closed
}
