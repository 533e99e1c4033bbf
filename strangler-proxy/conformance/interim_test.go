package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var interimPromises = []promise{
	{name: "early hints pass before the answer", keep: earlyHintsPass},
	{name: "several interim answers pass in order", keep: interimsPassInOrder},
	{name: "a body that waits for 100 Continue arrives", keep: patientBodiesArrive},
	{name: "a body that waits for 100 Continue is asked for by the backend", keep: continueIsTheBackends, only: http1Client},
	{name: "a refusal before the body keeps the body at the client", keep: refusalKeepsTheBody, only: http1Client},
	{name: "an answer may come while the body is still being sent", keep: answersMayBeEarly},
	{name: "both directions flow at once", keep: bothDirectionsFlow},
}

// interims notes the interim answers that a request receives.
type interims struct {
	mu  sync.Mutex
	all []string
}

func (i *interims) trace(r *http.Request) *http.Request {
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.all = append(i.all, fmt.Sprintf("%d %s", code, strings.Join(header["Link"], ", ")))
			return nil
		},
	}))
}

func (i *interims) String() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.all, "; ")
}

func earlyHintsPass(t testing.TB, c *cell) {
	go1 := make(chan struct{})
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		<-go1 // the answer comes once the hint has
		w.Header().Set("X-Final", "1")
	})
	var got interims
	r := got.trace(c.request(t, "GET", path, nil))
	seen := httptrace.ContextClientTrace(r.Context())
	note := seen.Got1xxResponse
	seen.Got1xxResponse = func(code int, header textproto.MIMEHeader) error {
		defer close(go1)
		return note(code, header)
	}
	res := c.send(t, r)
	if got.String() != "103 </style.css>; rel=preload" || res.StatusCode != 200 || res.Header.Get("X-Final") != "1" {
		t.Errorf("answered %q, then %s with %v", got.String(), res.Status, res.Header)
	}
}

func interimsPassInOrder(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		for n := range 3 {
			w.Header().Set("Link", fmt.Sprintf("<%d>", n))
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Del("Link")
		io.WriteString(w, "done")
	})
	var got interims
	res := c.send(t, got.trace(c.request(t, "GET", path, nil)))
	if got.String() != "103 <0>; 103 <1>; 103 <2>" || res.body != "done" || res.Header.Get("Link") != "" {
		t.Errorf("answered %q, then %v %q", got.String(), res.Header, res.body)
	}
}

// patient returns a client that sends no body before it is told to.
func (c *cell) patient(t testing.TB) *http.Client {
	return c.client(t, func(transport *http.Transport) { transport.ExpectContinueTimeout = time.Hour })
}

func patientBodiesArrive(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	client := c.patient(t)
	for range 2 {
		res, err := client.Do(c.request(t, "POST", path, strings.NewReader("body"), "Expect", "100-continue"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || string(body) != "body" {
			t.Errorf("answered %s %q: %v", res.Status, body, err)
		}
	}
}

// continueIsTheBackends is for HTTP/1.1 on both ends: Go's HTTP/2 server hides
// from its handlers that a client waits.
func continueIsTheBackends(t testing.TB, c *cell) {
	var asked atomic.Bool
	var early atomic.Bool // the client was told to go on before the backend asked
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && r.Header.Get("Expect") != "100-continue" { // Go's server of HTTP/2 hides it
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		asked.Store(true)
		io.Copy(w, r.Body) // the first read asks for it
	})
	body := strings.NewReader("body")
	r := c.request(t, "POST", path, readerFunc(func(p []byte) (int, error) {
		if !asked.Load() {
			early.Store(true)
		}
		return body.Read(p)
	}), "Expect", "100-continue")
	r.ContentLength = 4
	res, err := c.patient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "body" || res.StatusCode != 200 {
		t.Errorf("answered %s %q: %v", res.Status, body, err)
	}
	if early.Load() {
		t.Error("the body was asked for before the backend wanted it")
	}
}

func refusalKeepsTheBody(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscan(r.URL.RawQuery, &status)
		w.Header().Set("Connection", "close") // or Go's server would read the body after all
		if r.ProtoMajor == 2 {
			w.Header().Del("Connection")
		}
		w.WriteHeader(status)
		io.WriteString(w, "no")
	})
	for _, status := range []int{http.StatusExpectationFailed, http.StatusRequestEntityTooLarge, http.StatusUnauthorized} {
		var read atomic.Bool
		r := c.request(t, "POST", fmt.Sprintf("%s?%d", path, status), readerFunc(func(p []byte) (int, error) {
			read.Store(true)
			return len(p), nil
		}), "Expect", "100-continue")
		r.ContentLength = 1 << 30
		res, err := c.patient(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != status || string(body) != "no" {
			t.Errorf("%d arrived as %s %q: %v", status, res.Status, body, err)
		}
		if read.Load() {
			t.Errorf("%d: the body was asked for although the backend had refused it", status)
		}
	}
}

// readerFunc is a function as a reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func answersMayBeEarly(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		duplex(w)
		first := make([]byte, 5)
		io.ReadFull(r.Body, first)
		io.WriteString(w, "early")
		flush(w)
		rest, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, " %s%s", first, rest)
	})
	in, out := pipe(t)
	sent := make(chan error, 1)
	head := make(chan struct{})
	go func() {
		io.WriteString(out, "begun")
		<-head // the rest follows once the answer has begun
		_, err := io.WriteString(out, " and ended")
		out.Close()
		sent <- err
	}()
	res, err := c.client(t).Do(c.request(t, "POST", path, in))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	begun := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, begun); err != nil || string(begun) != "early" {
		t.Fatalf("the answer began with %q: %v", begun, err)
	}
	close(head)
	if err := receive(t, "the rest of the body", sent); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != " begun and ended" {
		t.Errorf("the answer ended with %q: %v", rest, err)
	}
}

func bothDirectionsFlow(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		duplex(w)
		flush(w)
		buf := make([]byte, 16)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			flush(w)
			if err != nil {
				return
			}
		}
	})
	in, out := pipe(t)
	res, err := c.client(t).Do(c.request(t, "POST", path, in))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for n := range 20 { // each word is sent when the one before has come back
		word := fmt.Sprintf("word%02d", n)
		go io.WriteString(out, word)
		back := make([]byte, len(word))
		if _, err := io.ReadFull(res.Body, back); err != nil || string(back) != word {
			t.Fatalf("%s came back as %q: %v", word, back, err)
		}
	}
	out.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("the answer ended with %q: %v", rest, err)
	}
}

// duplex lets a handler answer while it reads.
func duplex(w http.ResponseWriter) { _ = http.NewResponseController(w).EnableFullDuplex() }

// pipe is a body that is written while the request is under way, and that
// breaks off when it should have been done with long ago.
func pipe(t testing.TB) (*io.PipeReader, *io.PipeWriter) {
	in, out := io.Pipe()
	late := time.AfterFunc(guard, func() { out.CloseWithError(context.DeadlineExceeded) })
	t.Cleanup(func() { late.Stop() })
	return in, out
}
