package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

var streamPromises = []promise{
	{name: "each event of a stream arrives at once", keep: eventsArriveAtOnce},
	{name: "a client that leaves before the answer ends the call", keep: leavingBeforeTheAnswer},
	{name: "a client that leaves in mid-download ends the call", keep: leavingInMidDownload},
	{name: "a client that leaves an idle stream ends the call", keep: leavingAnIdleStream},
	{name: "an upload that breaks off is not taken for whole", keep: brokenUploadsBreak},
}

func eventsArriveAtOnce(t testing.TB, c *cell) {
	next := make(chan struct{})
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 0; ; n++ {
			fmt.Fprintf(w, "data: %d\n\n", n)
			flush(w)
			if _, more := <-next; !more {
				return
			}
		}
	})
	res, err := c.client(t).Do(c.request(t, "GET", path, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for n := range 10 {
		event, err := lines.ReadString('\n')
		if err == nil {
			_, err = lines.ReadString('\n')
		}
		if want := fmt.Sprintf("data: %d\n", n); err != nil || event != want {
			t.Fatalf("event %d arrived as %q: %v", n, event, err)
		}
		if n < 9 {
			next <- struct{}{} // the next one is made when this one has arrived
		}
	}
	close(next)
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("the stream ended with %q: %v", rest, err)
	}
}

// leaving sends a request whose client leaves when told to, and checks that
// the backend's call ends then and not before.
func leaving(t testing.TB, c *cell, serve func(w http.ResponseWriter, r *http.Request), stay func(res *http.Response)) {
	t.Helper()
	began, ended := make(chan struct{}), make(chan struct{})
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		close(began)
		serve(w, r)
	})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	answered := make(chan error, 1)
	go func() {
		res, err := c.client(t).Do(c.request(t, "GET", path, nil).WithContext(ctx))
		if err == nil {
			defer res.Body.Close()
			if stay != nil {
				stay(res)
				leave()
			}
			_, err = io.Copy(io.Discard, res.Body)
		}
		answered <- err
	}()
	receive(t, "the call", began)
	if stay == nil {
		select {
		case <-ended:
			t.Error("the call ended before the client left")
		default:
		}
		leave()
	}
	if err := receive(t, "the client", answered); !errors.Is(err, context.Canceled) {
		t.Errorf("the client ended with %v", err)
	}
	receive(t, "the end of the call", ended)
}

func leavingBeforeTheAnswer(t testing.TB, c *cell) {
	leaving(t, c, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)
}

func leavingInMidDownload(t testing.TB, c *cell) {
	leaving(t, c, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(pattern[:]); err != nil {
				return
			}
		}
	}, func(res *http.Response) {
		if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil {
			t.Error(err)
		}
	})
}

func leavingAnIdleStream(t testing.TB, c *cell) {
	leaving(t, c, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 0\n\n")
		flush(w)
		<-r.Context().Done()
	}, func(res *http.Response) {
		if _, err := io.ReadFull(res.Body, make([]byte, len("data: 0\n\n"))); err != nil {
			t.Error(err)
		}
	})
}

func brokenUploadsBreak(t testing.TB, c *cell) {
	for name, length := range map[string]int64{"known": 100_000, "unknown": -1} {
		begun, read := make(chan struct{}), make(chan error, 1)
		path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadFull(r.Body, make([]byte, 5000))
			close(begun)
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			read <- err
		})
		breaksOff := readerFunc(func([]byte) (int, error) {
			<-begun
			return 0, errors.New("the client breaks off")
		})
		r := c.request(t, "POST", path, io.MultiReader(strings.NewReader(strings.Repeat("x", 5000)), breaksOff))
		r.ContentLength = length
		if res, err := c.client(t).Do(r); err == nil {
			res.Body.Close()
			t.Errorf("the upload of %s length was answered with %s", name, res.Status)
		}
		if err := receive(t, "the end of the call", read); err == nil {
			t.Errorf("the backend was told that a broken upload of %s length was whole", name)
		}
	}
}
