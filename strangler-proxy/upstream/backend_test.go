package upstream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"

	"stranglerfig/strangler-proxy/upstream"
)

func newBackend(t testing.TB, url string) *upstream.Backend {
	t.Helper()
	b, err := upstream.New(upstream.Options{Name: "billing", URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// closedPort returns an address that refuses connections.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// send sends a request, whatever host it names, and returns the answer's body.
func send(ctx context.Context, b *upstream.Backend, method, path string, body io.Reader) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://whatever.invalid"+path, body)
	if err != nil {
		return "", err
	}
	res, err := b.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func isNotSent(err error) bool {
	var notSent *upstream.NotSentError
	return errors.As(err, &notSent)
}

func TestRequestsGoToTheBackendWhateverHostTheyName(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method+" "+r.Host+r.RequestURI) })
	got, err := send(t.Context(), newBackend(t, s.URL), "POST", "/a%2Fb?x=1", strings.NewReader("body"))
	if err != nil || got != "POST whatever.invalid/a%2Fb?x=1" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestARefusedConnectionIsNotSentAndABrokenOneIs(t *testing.T) {
	_, err := send(t.Context(), newBackend(t, "http://"+closedPort(t)), "POST", "/", strings.NewReader("body"))
	if !isNotSent(err) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	_, err = send(t.Context(), newBackend(t, "http://name.invalid"), "POST", "/", nil)
	if !isNotSent(err) {
		t.Errorf("an unknown name: %v", err)
	}
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	_, err = send(t.Context(), newBackend(t, s.URL), "POST", "/", strings.NewReader("body"))
	if err == nil || isNotSent(err) {
		t.Errorf("broken off after it was sent: %v", err)
	}
}

func TestAFailureOfTheBackendOnceInAWhileOpensNothing(t *testing.T) {
	var fails atomic.Bool
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		if fails.Load() {
			panic(http.ErrAbortHandler)
		}
	})
	b := newBackend(t, s.URL)
	for i := range 20 {
		fails.Store(i%5 != 4)
		_, err := send(t.Context(), b, "POST", "/", nil)
		if errors.Is(err, upstream.ErrOpen) || (err != nil) != fails.Load() {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}

func TestFiveFailuresInARowOpenTheBreakerAndOneTrialClosesIt(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	addr := closedPort(t)
	b := newBackend(t, "http://"+addr)
	for i := range 5 {
		if b.Open() {
			t.Fatalf("open after %d failures", i)
		}
		if _, err := send(t.Context(), b, "GET", "/", nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("failure %d: %v", i, err)
		}
	}
	s.Listener.Close()
	var err error
	if s.Listener, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Close()
	b.PassPause()
	for i := range 3 {
		if _, err := send(t.Context(), b, "GET", "/", nil); err != nil || b.Open() {
			t.Errorf("request %d once the backend is back: %v, open %v", i, err, b.Open())
		}
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("the backend was called %d times", n)
	}
}

func TestAnOpenBreakerSendsNothing(t *testing.T) {
	var calls atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		panic(http.ErrAbortHandler)
	})
	b := newBackend(t, s.URL)
	for range 5 {
		if _, err := send(t.Context(), b, "POST", "/", nil); err == nil || errors.Is(err, upstream.ErrOpen) {
			t.Fatal(err)
		}
	}
	b.StayOpen()
	for range 10 {
		if _, err := send(t.Context(), b, "POST", "/", nil); !errors.Is(err, upstream.ErrOpen) || !isNotSent(err) {
			t.Errorf("%v", err)
		}
	}
	if n := calls.Load(); n != 5 {
		t.Errorf("the backend was called %d times", n)
	}
}

func TestClientsThatGoAwayDoNotOpenTheBreaker(t *testing.T) {
	called := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			called <- struct{}{}
			<-r.Context().Done()
		}
		io.Copy(io.Discard, r.Body)
	})
	b := newBackend(t, s.URL)
	for range 10 {
		ctx, leave := context.WithCancel(t.Context())
		go func() { <-called; leave() }()
		if _, err := send(ctx, b, "GET", "/slow", nil); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	broken := errors.New("the client broke off its upload")
	for range 10 {
		body := io.MultiReader(strings.NewReader("the beginning"), iotest.ErrReader(broken))
		if _, err := send(t.Context(), b, "POST", "/upload", body); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	if b.Open() {
		t.Error("what clients did opened the breaker for everyone")
	}
	if _, err := send(t.Context(), b, "GET", "/", nil); err != nil {
		t.Error(err)
	}
}

func TestSlownessOpensTheBreaker(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	b := newBackend(t, s.URL)
	for range 5 {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(upstream.ErrSlow)
		if _, err := send(ctx, b, "GET", "/", nil); err == nil {
			t.Fatal("answered")
		}
	}
	if !b.Open() {
		t.Error("a backend that never answers in time is tried on and on")
	}
}

func TestViaLeadsThroughAnotherAddressAndBack(t *testing.T) {
	direct := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "direct") })
	detour := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "detour for "+r.Host) })
	b := newBackend(t, direct.URL)
	for _, row := range []struct{ via, want string }{
		{"", "direct"}, {detour.Listener.Addr().String(), "detour for whatever.invalid"}, {"", "direct"},
	} {
		b.Via(row.via)
		for range 2 {
			if got, err := send(t.Context(), b, "GET", "/", nil); err != nil || got != row.want {
				t.Errorf("via %q: %q, %v", row.via, got, err)
			}
		}
	}
	b.Via(closedPort(t))
	if err := b.Check(t.Context(), ""); err == nil {
		t.Error("a check does not take the way that requests take")
	}
	if want := direct.Listener.Addr().String(); b.Address() != want {
		t.Errorf("the address is %s, want %s", b.Address(), want)
	}
}

func TestCheckAsksWhetherTheBackendIsWell(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	b := newBackend(t, s.URL)
	for path, want := range map[string]string{"": "", "/readyz": "", "/other": "answers " + s.URL + "/other with 404"} {
		if err := b.Check(t.Context(), path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("at %q: %v", path, err)
		}
	}
	s.Close()
	for _, path := range []string{"", "/readyz"} {
		if err := b.Check(t.Context(), path); err == nil || !strings.Contains(err.Error(), "billing at "+s.URL+" cannot be reached") {
			t.Errorf("when it is gone, at %q: %v", path, err)
		}
	}
}

func TestGetReadsABoundedAnswer(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			io.WriteString(w, strings.Repeat("x", 1<<20))
			return
		}
		io.WriteString(w, "v1.2.3\n")
	})
	b := newBackend(t, s.URL)
	if got, err := b.Get(t.Context(), "/buildz"); err != nil || string(got) != "v1.2.3\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := b.Get(t.Context(), "/long"); err != nil || len(got) != 64<<10 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAddressesHaveAPort(t *testing.T) {
	for url, want := range map[string]string{
		"http://billing": "billing:80", "https://billing": "billing:443", "http://billing:81": "billing:81", "https://[::1]": "[::1]:443", "http://[::1]:82": "[::1]:82",
	} {
		if got := newBackend(t, url).Address(); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
	if _, err := upstream.New(upstream.Options{Name: "billing", URLs: []string{"http://a b"}}); err == nil {
		t.Error("a URL that is none was taken")
	}
}

func TestARequestIsUnderWayUntilItsAnswerHasEnded(t *testing.T) {
	more := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-more
	})
	for name, end := range map[string]func(body io.ReadCloser){
		"read to its end": func(body io.ReadCloser) {
			more <- struct{}{}
			io.Copy(io.Discard, body)
		},
		"closed": func(body io.ReadCloser) {
			body.Close()
			more <- struct{}{}
		},
	} {
		b := newBackend(t, s.URL)
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://whatever.invalid/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if n := b.Stats().InFlight; n != 1 {
			t.Errorf("%d are under way while the answer comes", n)
		}
		end(res.Body)
		if n := b.Stats().InFlight; n != 0 {
			t.Errorf("%s: %d are under way afterwards", name, n)
		}
		res.Body.Close()
	}
}
