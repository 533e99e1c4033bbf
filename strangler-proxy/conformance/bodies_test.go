package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var bodyPromises = []promise{
	{name: "a body of unknown length arrives whole", keep: unknownLengthArrives},
	{name: "a body of known length keeps its length", keep: knownLengthIsKept},
	{name: "trailers pass both ways", keep: trailersPass},
	{name: "trailers that nobody announced pass", keep: lateTrailersPass},
	{name: "a download waits for its reader", keep: downloadsWait},
	{name: "an upload waits for its reader", keep: uploadsWait},
	{name: "an answer that breaks off is broken off", keep: brokenAnswersBreak},
	{name: "an answer of unknown length that breaks off is broken off", keep: brokenStreamsBreak},
}

func unknownLengthArrives(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		duplex(w)
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		flush(w)
		io.Copy(w, r.Body)
	})
	text := strings.Repeat("0123456789abcdef", 20_000)
	got := c.send(t, c.request(t, "POST", path, io.MultiReader(strings.NewReader(text[:10]), strings.NewReader(text[10:]))))
	if got.Header.Get("X-Length") != "-1" || got.ContentLength != -1 {
		t.Errorf("a length was made up: %s for the request, %d for the answer", got.Header.Get("X-Length"), got.ContentLength)
	}
	if got.body != text {
		t.Errorf("%d bytes came back of %d", len(got.body), len(text))
	}
}

func knownLengthIsKept(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body)
	})
	for _, n := range []int{1, 1000, 100_000, 1 << 20} {
		got := c.ask(t, "PUT", path, strings.Repeat("x", n))
		if got.Header.Get("X-Length") != fmt.Sprint(n) || got.ContentLength != int64(n) || len(got.body) != n {
			t.Errorf("%d bytes were announced as %s, came back as %d of %d", n, got.Header.Get("X-Length"), len(got.body), got.ContentLength)
		}
	}
}

func trailersPass(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Rows")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
		w.Header().Set("X-Rows", r.Trailer.Get("X-Rows"))
	})
	trailer := http.Header{"X-Sum": nil, "X-Rows": nil}
	r := c.request(t, "POST", path, &atEnd{strings.NewReader("body"), func() {
		trailer.Set("X-Sum", "f00")
		trailer.Set("X-Rows", "7")
	}}, "Te", "trailers")
	r.Trailer = trailer
	got := c.send(t, r)
	if got.body != "body" || got.Trailer.Get("X-Sum") != "f00" || got.Trailer.Get("X-Rows") != "7" {
		t.Errorf("answered %q with the trailers %v", got.body, got.Trailer)
	}
}

// atEnd calls back before it says that its reader has ended.
type atEnd struct {
	io.Reader
	then func()
}

func (a *atEnd) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		a.then()
	}
	return n, err
}

func lateTrailersPass(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "body")
		flush(w)
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	})
	got := c.ask(t, "GET", path, "", "Te", "trailers")
	if got.body != "body" || got.Trailer.Get("X-Late") != "1" {
		t.Errorf("answered %q with the trailers %v", got.body, got.Trailer)
	}
}

const piece = 64 << 10

// volume is how much a cell's large bodies hold, and how much of it may be
// under way while nobody reads: what four sockets and HTTP/2's windows hold.
func volume(c *cell) (whole, underWay int64) {
	if c.listener.name == "http" && c.app.kind.name == "http" {
		return 256 << 20, 48 << 20
	}
	return 48 << 20, 32 << 20
}

func downloadsWait(t testing.TB, c *cell) {
	whole, underWay := volume(c)
	var taken atomic.Int64 // off the backend's hands
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		for taken.Load() < whole {
			if _, err := w.Write(pattern[:]); err != nil {
				return
			}
			taken.Add(piece)
		}
	})
	res, err := c.client(t).Do(c.request(t, "GET", path, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if held := standstill(t, &taken); held > underWay {
		t.Errorf("%d MiB were taken from the backend while nobody read", held>>20)
	}
	readPattern(t, res.Body, whole)
}

func uploadsWait(t testing.TB, c *cell) {
	whole, underWay := volume(c)
	var taken atomic.Int64 // off the client's hands
	begin, done := make(chan struct{}), make(chan error, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		<-begin
		n, err := io.Copy(&patternChecker{}, r.Body)
		if err == nil && n != whole {
			err = fmt.Errorf("%d bytes arrived", n)
		}
		done <- err
	})
	r := c.request(t, "PUT", path, io.LimitReader(&patternSource{taken: &taken}, whole))
	r.ContentLength = whole
	answered := make(chan error, 1)
	go func() {
		res, err := c.client(t).Do(r)
		if err == nil {
			err = res.Body.Close()
		}
		answered <- err
	}()
	if held := standstill(t, &taken); held > underWay {
		t.Errorf("%d MiB were taken from the client while nobody read", held>>20)
	}
	close(begin)
	if err := receive(t, "the upload", done); err != nil {
		t.Error(err)
	}
	if err := receive(t, "the answer", answered); err != nil {
		t.Error(err)
	}
}

// standstill waits until a count has stopped growing. Taking a pause for the
// end could only make the count too small, never fail what is right.
func standstill(t testing.TB, count *atomic.Int64) int64 {
	t.Helper()
	const still = 20
	last, same := int64(-1), 0
	eventually(t, "the flow stops", func() bool {
		time.Sleep(10 * time.Millisecond)
		now := count.Load()
		if now == last && now > 0 {
			same++
		} else {
			last, same = now, 0
		}
		return same == still
	})
	return last
}

// pattern is what large bodies repeat.
var pattern = func() (p [piece]byte) {
	for i := range p {
		p[i] = byte(i * 31 >> 3)
	}
	return p
}()

// patternSource repeats the pattern and counts.
type patternSource struct {
	taken *atomic.Int64
	at    int64
}

func (s *patternSource) Read(p []byte) (int, error) {
	n := copy(p, pattern[s.at%piece:])
	s.at += int64(n)
	s.taken.Add(int64(n))
	return n, nil
}

// patternChecker takes nothing but the pattern repeated.
type patternChecker struct{ at int64 }

func (s *patternChecker) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		want := pattern[s.at%piece:]
		n := min(len(want), len(p)-done)
		if !bytes.Equal(p[done:done+n], want[:n]) {
			return done, fmt.Errorf("the body differs from what was sent near byte %d", s.at)
		}
		done += n
		s.at += int64(n)
	}
	return len(p), nil
}

func readPattern(t testing.TB, from io.Reader, whole int64) {
	t.Helper()
	if n, err := io.Copy(&patternChecker{}, from); err != nil || n != whole {
		t.Errorf("%d bytes of %d arrived: %v", n, whole, err)
	}
}

func brokenAnswersBreak(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		io.WriteString(w, strings.Repeat("x", 5000))
		flush(w)
		panic(http.ErrAbortHandler)
	})
	breaks(t, c, path)
}

func brokenStreamsBreak(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 5000))
		flush(w)
		panic(http.ErrAbortHandler)
	})
	breaks(t, c, path)
}

// breaks checks that a client cannot take an answer for whole.
func breaks(t testing.TB, c *cell, path string) {
	t.Helper()
	res, err := c.client(t).Do(c.request(t, "GET", path, nil))
	if err != nil {
		return // broken off before it began, for all the client knows
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("the client was told that an answer of %d bytes was whole", n)
	}
}

// flush sends what is written, if anybody is there to take it.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
