package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

func TestRequestsArriveAsTheyWereSent(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices/{id}=service", "POST /invoices=service", "GET /search=service")
	type seen struct{ method, uri, host, header, agent, body string }
	arrived := make(chan seen, 1)
	note := func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- seen{r.Method, r.RequestURI, r.Host, strings.Join(r.Header["X-Two"], "|"), r.UserAgent(), string(body)}
		out.WriteHeader(http.StatusTeapot)
	}
	w.service.answers(note)
	w.monolith.answers(note)
	for _, row := range []struct {
		sent string
		want seen
	}{
		{"GET /invoices/7?a=1;b=%zz&&c=%20&a HTTP/1.1\r\nHost: shop.example:81\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n",
			seen{"GET", "/invoices/7?a=1;b=%zz&&c=%20&a", "shop.example:81", "1|2", "", ""}},
		{"GET /%69nvoices/%37 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: me\r\n\r\n", seen{"GET", "/invoices/7", "shop.example", "", "me", ""}},
		{"GET /search? HTTP/1.1\r\nHost: shop.example\r\n\r\n", seen{"GET", "/search?", "shop.example", "", "", ""}},
		{"POST /invoices HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n", seen{"POST", "/invoices", "shop.example", "", "", "\x00\xff\r\n"}},
		{"GET /not/declared/a%2fb/./{x}//y HTTP/1.1\r\nHost: shop.example\r\n\r\n", seen{"GET", "/not/declared/a%2Fb/%7Bx%7D//y", "shop.example", "", "", ""}},
		{"GET http://shop.example/a/../invoices/7 HTTP/1.1\r\nHost: shop.example\r\n\r\n", seen{"GET", "/invoices/7", "shop.example", "", "", ""}},
	} {
		res := w.raw(row.sent)
		if res.StatusCode != http.StatusTeapot {
			t.Errorf("%q is answered with %d", row.sent, res.StatusCode)
			continue
		}
		if got := <-arrived; got != row.want {
			t.Errorf("%q arrives as\n%q, want\n%q", row.sent, got, row.want)
		}
	}
}

func TestAnswersArriveAsTheyWereGiven(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=service")
	w.service.answers(func(out http.ResponseWriter, _ *http.Request) {
		out.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		out.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		out.Header().Set("Content-Encoding", "gzip")
		out.WriteHeader(http.StatusSeeOther)
		io.WriteString(out, "\x1f\x8bnot really")
	})
	got := w.ask("GET", "/invoices", "", "Accept-Encoding", "gzip")
	if got.StatusCode != http.StatusSeeOther || got.body != "\x1f\x8bnot really" || got.Header.Get("Location") != "http://127.0.0.1:1/elsewhere" ||
		strings.Join(got.Header["Set-Cookie"], "|") != "a=1|b=2" || got.Header.Get("X-Strangler-Fallback") != "" {
		t.Errorf("%d %v %q", got.StatusCode, got.Header, got.body)
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	w := newWorld(t)
	w.obey("POST /invoices=service")
	w.service.answers(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		out.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(out, "%s, sum %s", body, r.Trailer.Get("X-Checksum"))
		out.Header().Set("X-Sum", "43")
	})
	r := w.request("POST", "/invoices", "")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body")), -1
	r.Trailer = http.Header{"X-Checksum": {"42"}}
	got := w.do(r)
	if got.err != nil || got.body != "body, sum 42" || got.Trailer.Get("X-Sum") != "43" {
		t.Errorf("%q, trailer %v, %v", got.body, got.Trailer, got.err)
	}
}

func TestAnswersReachTheClientAsTheyAreSent(t *testing.T) {
	const events = 5
	for kind, length := range map[string]string{"text/event-stream": "", "text/plain": "", "text/csv": strconv.Itoa(events * len("data: 0\n"))} {
		t.Run(kind+" of length "+length, func(t *testing.T) {
			w := newWorld(t)
			w.obey("GET /events=service")
			heard := make(chan struct{})
			w.service.answers(func(out http.ResponseWriter, r *http.Request) {
				out.Header().Set("Content-Type", kind)
				if length != "" {
					out.Header().Set("Content-Length", length)
				}
				for i := range events {
					fmt.Fprintf(out, "data: %d\n", i)
					if err := http.NewResponseController(out).Flush(); err != nil {
						t.Error(err)
					}
					select {
					case <-heard: // the next one is sent only when this one was heard
					case <-r.Context().Done():
						return
					}
				}
			})
			res, err := w.client.Do(w.request("GET", "/events", ""))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			in := bufio.NewReader(res.Body)
			for i := range events {
				if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
					t.Fatalf("event %d: %q, %v", i, line, err)
				}
				heard <- struct{}{}
			}
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				t.Errorf("%q, %v", rest, err)
			}
		})
	}
}

func TestRequestBodiesReachTheBackendAsTheyAreSent(t *testing.T) {
	w := newWorld(t)
	w.obey("POST /invoices=service")
	heard := make(chan string)
	w.service.answers(func(out http.ResponseWriter, r *http.Request) {
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			heard <- line
		}
		io.WriteString(out, "all heard")
	})
	body, to := io.Pipe()
	r := w.request("POST", "/invoices", "")
	r.Body, r.ContentLength = body, -1
	answered := make(chan reply, 1)
	go func() { answered <- w.do(r) }()
	for i := range 5 {
		line := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(to, line); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != line {
			t.Fatalf("%q was heard as %q", line, got)
		}
	}
	to.Close()
	if got := <-answered; got.err != nil || got.body != "all heard" {
		t.Errorf("%q, %v", got.body, got.err)
	}
}

func TestWebSocketsPassThrough(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /live=service")
	w.service.answers(func(out http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(out, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		for {
			kind, text, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, append([]byte("echo "), text...)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	c, _, err := websocket.Dial(t.Context(), w.front.URL+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for i := range 3 {
		want := fmt.Sprintf("message %d", i)
		if err := c.Write(t.Context(), websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(t.Context()); err != nil || string(got) != "echo "+want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestOtherUpgradesGetNoTunnel(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=service")
	headers := make(chan http.Header, 1)
	w.service.answers(func(out http.ResponseWriter, r *http.Request) { headers <- r.Header.Clone() })
	for _, upgrade := range []string{"h2c", "TLS/1.0", "websocket, h2c", "h2c, websocket"} {
		res := w.raw("GET /invoices HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + upgrade + "\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
		got := <-headers
		if res.StatusCode != http.StatusOK || got.Get("Upgrade") != "" || got.Get("Connection") != "" || got.Get("Http2-Settings") != "" {
			t.Errorf("%s: answered %d, the backend saw %v", upgrade, res.StatusCode, got)
		}
	}
	// A backend that upgrades nevertheless is not followed.
	w.service.answers(func(out http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(out).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		rw.Flush()
	})
	if res := w.raw("GET /invoices HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("answered %d", res.StatusCode)
	}
}

func TestAClientThatGoesAwayEndsTheCallToTheBackend(t *testing.T) {
	for name, method := range map[string]string{"a read": "GET", "a write": "POST"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.obey("/invoices=service")
			called, ended := make(chan struct{}), make(chan struct{})
			w.service.answers(func(_ http.ResponseWriter, r *http.Request) {
				close(called)
				<-r.Context().Done()
				close(ended)
			})
			ctx, leave := context.WithCancel(t.Context())
			answered := w.later(ctx, method, "/invoices", "")
			<-called
			leave()
			<-ended
			if got := <-answered; !errors.Is(got.err, context.Canceled) {
				t.Errorf("%v", got.err)
			}
			if n := w.monolith.calls.Load(); n != 0 {
				t.Errorf("the monolith was asked %d times in the place of a service that did nothing wrong", n)
			}
		})
	}
}

func TestABackendThatDiesInMidAnswerBreaksTheClientsConnection(t *testing.T) {
	for name, length := range map[string]string{"of a known length": "1000", "in chunks": ""} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.obey("GET /invoices=service")
			w.service.answers(func(out http.ResponseWriter, _ *http.Request) {
				if length != "" {
					out.Header().Set("Content-Length", length)
				}
				io.WriteString(out, "the beginning")
				http.NewResponseController(out).Flush()
				panic(http.ErrAbortHandler)
			})
			got := w.do(w.request("GET", "/invoices", ""))
			if got.err == nil {
				t.Errorf("the client takes %q for the whole answer", got.body)
			}
		})
	}
}

func TestPathsThatStacksReadDifferentlyAreRefused(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices/{id}=service")
	for _, path := range []string{"/invoices%2F7", "//invoices/7", "/invoices;x=1/7", `/invoices\7`, "/invoices/%00", "/a/..;/invoices/7", "*"} {
		res := w.raw("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is answered with %d %q, %v", path, res.StatusCode, body, err)
		}
	}
	if n := w.monolith.calls.Load() + w.service.calls.Load(); n != 0 {
		t.Errorf("%d of them were forwarded", n)
	}
}

func TestBeforeItsFirstSnapshotTheProxySaysThatItIsStarting(t *testing.T) {
	w := newWorld(t)
	if got := w.ask("GET", "/", ""); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || !strings.Contains(got.body, "starting") {
		t.Errorf("%d %v %q", got.StatusCode, got.Header, got.body)
	}
}

func TestASnapshotSwapUnderLoadDropsNothing(t *testing.T) {
	w := newWorld(t)
	w.obey("/invoices=monolith")
	const clients, each = 8, 60
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				method, body := "GET", ""
				if (c+i)%2 == 0 {
					method, body = "POST", "a body"
				}
				got := w.do(w.request(method, "/invoices", body))
				if got.err != nil || got.StatusCode != http.StatusOK || got.body != got.by() {
					t.Errorf("%s: %+v", method, got)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	swaps := 0
	for running := true; running; swaps++ {
		w.obey("/invoices=" + []string{"service", "monolith"}[swaps%2])
		select {
		case <-done:
			running = false
		default:
		}
	}
	monolith, service := w.monolith.calls.Load(), w.service.calls.Load()
	if monolith+service != clients*each || monolith == 0 || service == 0 {
		t.Errorf("of %d requests the monolith had %d and the service %d, over %d swaps", clients*each, monolith, service, swaps)
	}
}

// witness is an observer that wants everything.
type witness chan *proxy.Exchange

func (l witness) Wants(*route.Route, route.Decision) bool { return true }

func (l witness) Observe(x *proxy.Exchange, _ *loop.Task) { l <- x }

// listening returns a world that is observed.
func listening(t *testing.T) (*world, witness) {
	l := make(witness, 10)
	return newWorld(t, func(o *proxy.Options) { o.Observers = []proxy.Observer{l} }), l
}

func TestObserversGetTheWholeExchange(t *testing.T) {
	w, heard := listening(t)
	w.obey("POST /invoices=service")
	w.service.answers(func(out http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		out.WriteHeader(http.StatusCreated)
		io.WriteString(out, "made")
	})
	w.ask("POST", "/%69nvoices?x=1", "a body", "X-Of-Client", "1")
	x := <-heard
	if x.Truncated || string(x.Body) != "a body" || string(x.AnswerBody) != "made" || x.Status != http.StatusCreated || x.Answer.Get("X-Answered-By") != "service" ||
		x.Method != "POST" || x.Path != "/invoices" || x.Query != "x=1" || x.Header.Get("X-Of-Client") != "1" || x.Route.ID != "POST /invoices" || x.Decision.Side != "service" {
		t.Errorf("%+v", x)
	}
}

// TestObserversSeeTheHeaderThatTheOwnerIsTold whichever way a request is read: a
// tester's token and what a client only claims are in neither.
func TestObserversSeeTheHeaderThatTheOwnerIsTold(t *testing.T) {
	w, heard := listening(t)
	w.snapshot.OverrideKey = overrideKey
	w.obey("GET /invoices=service")
	told := make(chan http.Header, 1)
	w.service.answers(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Clone() })
	newer := &http.Transport{Protocols: new(http.Protocols)}
	newer.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(newer.CloseIdleConnections)
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": w.client.Transport, "HTTP/2.0": newer} {
		w.client.Transport = transport
		r := w.request("GET", "/invoices", "", "X-Of-Client", "1", "X-Forwarded-For", "6.6.6.6", "X_Request_Id", "claimed",
			"Cookie", "session=1; "+proxy.OverrideCookie+"="+token(change.Service, "billing", time.Now()))
		r.Header["x-oF-cLient"] = []string{"2"}
		if got := w.do(r); got.err != nil || got.Proto != name || got.by() != "service" {
			t.Fatalf("%s: %+v", name, got)
		}
		want, got := <-told, (<-heard).Header.Map().Clone()
		got.Del("Host") // which net/http has elsewhere
		slices.Sort(want["X-Of-Client"])
		slices.Sort(got["X-Of-Client"])
		if diff := cmp.Diff(want, got); diff != "" || want.Get("Cookie") != "session=1" || want.Get("X-Forwarded-For") == "" || len(want["X-Of-Client"]) != 2 {
			t.Errorf("%s: the owner is told (-), and observers see (+):\n%s", name, diff)
		}
	}
}

func TestCapturedBodiesAreBoundedAndMarked(t *testing.T) {
	w, heard := listening(t)
	w.obey("POST /invoices=service")
	for _, size := range []int{proxy.CaptureLimit - 1, proxy.CaptureLimit, proxy.CaptureLimit + 1, 3 * proxy.CaptureLimit} {
		for _, direction := range []string{"request", "answer"} {
			long, sent, answered := strings.Repeat("x", size), "", ""
			if direction == "request" {
				sent = long
			} else {
				answered = long
			}
			w.service.answers(func(out http.ResponseWriter, r *http.Request) {
				if n, err := io.Copy(io.Discard, r.Body); err != nil || int(n) != len(sent) {
					t.Errorf("%d bytes arrived, %v", n, err)
				}
				io.WriteString(out, answered)
			})
			if got := w.ask("POST", "/invoices", sent); len(got.body) != len(answered) {
				t.Errorf("the client got %d bytes of %d", len(got.body), len(answered))
			}
			x := <-heard
			if x.Truncated != (size > proxy.CaptureLimit) || len(x.Body) != min(len(sent), proxy.CaptureLimit) || len(x.AnswerBody) != min(len(answered), proxy.CaptureLimit) {
				t.Errorf("%s of %d bytes: captured %d and %d, truncated %v", direction, size, len(x.Body), len(x.AnswerBody), x.Truncated)
			}
		}
	}
}

func TestABodyThatIsStillBeingSentWhenTheAnswerCameIsCapturedSafely(t *testing.T) {
	w, heard := listening(t)
	w.obey("POST /invoices=service")
	w.service.answers(func(out http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(out).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		io.WriteString(out, "no, thanks")
	})
	for range 20 {
		got := w.do(w.request("POST", "/invoices", strings.Repeat("x", 4*proxy.CaptureLimit)))
		if got.err == nil && got.StatusCode == http.StatusOK {
			if x := <-heard; !x.Truncated {
				t.Errorf("%d bytes are taken for the whole body", len(x.Body))
			}
		}
	}
}

func TestTheProxysOwnRefusalsAreNotTakenForAnswers(t *testing.T) {
	w, heard := listening(t)
	w.obey("GET /invoices=shadow")
	w.monolith.server.Close()
	if got := w.ask("GET", "/invoices", ""); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, "nothing was sent") {
		t.Fatalf("%d %q", got.StatusCode, got.body)
	}
	w.front.Close() // every request has ended
	select {
	case x := <-heard:
		t.Errorf("the monolith is said to have answered %d %q", x.Status, x.AnswerBody)
	default:
	}
}

// TestAnIDIsCarriedOnceWhateverItsFieldIsCalled has names as long as those of
// other fields that are replaced.
func TestAnIDIsCarriedOnceWhateverItsFieldIsCalled(t *testing.T) {
	for _, name := range []string{"X-Request-Id", "X-Correlation-Id", "Requested", "Trace-Trace", "X-Correlation-Key"} {
		w := newWorld(t, func(o *proxy.Options) { o.Forwarding.RequestID = name })
		w.obey()
		w.monolith.answers(func(out http.ResponseWriter, r *http.Request) { fmt.Fprint(out, r.Header.Values(name)) })
		if got := w.ask("GET", "/", "", name, "one"); got.body != "[one]" {
			t.Errorf("%s: the backend got %s", name, got.body)
		}
	}
}
