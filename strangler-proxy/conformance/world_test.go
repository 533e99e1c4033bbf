package conformance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// kind is a way to speak HTTP.
type kind struct {
	name    string
	tls, h2 bool
}

var kinds = []kind{{name: "http"}, {name: "https", tls: true}, {name: "h2", tls: true, h2: true}, {name: "h2c", h2: true}}

func (k kind) protocols() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(!k.h2)
	p.SetHTTP2(k.h2 && k.tls)
	p.SetUnencryptedHTTP2(k.h2 && !k.tls)
	return p
}

func (k kind) scheme() string {
	if k.tls {
		return "https"
	}
	return "http"
}

// backend says in strangler.yaml how an application of this kind is reached.
func (k kind) backend(address string, id *identity) string {
	text := fmt.Sprintf("url: %s://%s", k.scheme(), address)
	switch {
	case k.h2 && k.tls:
		text += ", protocol: h2"
	case k.h2:
		text += ", protocol: h2c"
	}
	if k.tls {
		text += fmt.Sprintf(", tls: {ca: %q}", id.certificate)
	}
	return "{" + text + "}"
}

// listener says in strangler.yaml how a proxy with listeners of this kind is
// served; what it speaks over either is found out from each connection.
func (k kind) listener(id *identity) string {
	if k.tls {
		return fmt.Sprintf("tls: {certificate: %q, key: %q}\n", id.certificate, id.key)
	}
	return ""
}

// application is a backend that speaks one kind of HTTP and nothing else. Each
// case has a path of its own there.
type application struct {
	kind    kind
	address string
	served  atomic.Int64
	cases   sync.Map     // first segment of a path to http.HandlerFunc
	other   http.Handler // of what is no case's; nil: not found
}

func newApplication(t testing.TB, k kind, id *identity) *application {
	t.Helper()
	a := &application{kind: k}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.address = l.Addr().String()
	server := &http.Server{Handler: a, Protocols: k.protocols(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), MaxHeaderBytes: 1 << 20}
	ended := make(chan error, 1)
	if k.tls {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{id.pair}}
		go func() { ended <- server.ServeTLS(l, "", "") }()
	} else {
		go func() { ended <- server.Serve(l) }()
	}
	t.Cleanup(func() {
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return a
}

// ServeHTTP implements [http.Handler].
func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.served.Add(1)
	segment, _, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if h, ok := a.cases.Load(segment); ok {
		h.(http.HandlerFunc)(w, r)
		return
	}
	if a.other != nil {
		a.other.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

var caseNumber atomic.Int64

// newPath returns a path that no other case has.
func newPath() (path, segment string) {
	segment = fmt.Sprintf("case-%d", caseNumber.Add(1))
	return "/" + segment, segment
}

// at serves requests for a path of its own, and those below it.
func (a *application) at(h http.HandlerFunc) (path string) {
	path, segment := newPath()
	a.cases.Store(segment, h)
	return path
}

// cell is a listener in front of a backend.
type cell struct {
	listener kind
	app      *application
	front    *front
	id       *identity
	shared   *http.Client // for what needs no connections of its own
}

func newCell(t testing.TB, listener, backend kind, more string) *cell {
	t.Helper()
	c := &cell{listener: listener, id: newIdentity(t)}
	c.app = newApplication(t, backend, c.id)
	c.front = start(t, listener.listener(c.id)+"monolith: "+backend.backend(c.app.address, c.id)+"\n"+more)
	c.shared = c.client(t)
	return c
}

// client returns a client with connections of its own.
func (c *cell) client(t testing.TB, set ...func(*http.Transport)) *http.Client {
	t.Helper()
	transport := &http.Transport{
		Protocols: c.listener.protocols(), TLSClientConfig: &tls.Config{RootCAs: c.id.pool}, DisableCompression: true,
		MaxIdleConnsPerHost: 16, MaxResponseHeaderBytes: 1 << 20,
	}
	for _, f := range set {
		f(transport)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// request makes one for the proxy, which the guard ends.
func (c *cell) request(t testing.TB, method, path string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, c.listener.scheme()+"://"+c.front.address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// reply is an answer that has been read to its end.
type reply struct {
	*http.Response
	body string
}

// send sends a request that must be answered whole.
func (c *cell) send(t testing.TB, r *http.Request) reply {
	t.Helper()
	res, err := c.shared.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: the answer (%s) breaks off after %d bytes: %v", r.Method, r.URL, res.Status, len(body), err)
	}
	return reply{res, string(body)}
}

// ask sends a request without more to it.
func (c *cell) ask(t testing.TB, method, path, body string, header ...string) reply {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	return c.send(t, c.request(t, method, path, in, header...))
}
