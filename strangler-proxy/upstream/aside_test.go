package upstream_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/loop/looptest"
	"stranglerfig/strangler-proxy/upstream"
)

// aside asks a backend, as the mirror does.
func aside(t *testing.T, b *upstream.Backend) error {
	t.Helper()
	r, err := http.NewRequest("GET", b.URL.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.Aside(r)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	return err
}

func TestWhatNobodyWaitsForOpensNoBreaker(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(s.Close)
	b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{s.URL}, Breaker: upstream.BreakerOptions{Failures: 2}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	for range 10 {
		if err := aside(t, b); err == nil {
			t.Fatal("the backend answered")
		}
	}
	if st := b.Stats(); b.Open() || st.Breaker != upstream.Closed || st.InFlight != 0 {
		t.Errorf("%+v", st)
	}
}

func TestWhatNobodyWaitsForTakesWhatClientsLeave(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-answer }))
	t.Cleanup(s.Close)
	b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{s.URL}, Limits: upstream.Limits{Requests: 3}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	done := make(chan error, 2)
	for range 2 { // of three that it may have
		go func() {
			r, _ := http.NewRequest("GET", b.URL.String(), nil)
			res, err := b.RoundTrip(r)
			if err == nil {
				err = res.Body.Close()
			}
			done <- err
		}()
		<-asked
	}
	// The requests are counted until their answers begin, which is now.
	if err := aside(t, b); !errors.Is(err, upstream.ErrBusy) {
		t.Errorf("with most of its requests in use: %v", err)
	}
	close(answer)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	go func() { <-asked }()
	if err := aside(t, b); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestWhatIsIdleOnALoopGivesWayToThoseWhoCannotUseIt where no more connections may
// be open.
func TestWhatIsIdleOnALoopGivesWayToThoseWhoCannotUseIt(t *testing.T) {
	loops := looptest.Start(t, loop.Options{Loops: 1})
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{s.URL}, Limits: upstream.Limits{Connections: 2}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	get := func(task *loop.Task) *upstream.Conn {
		c, err := b.AsideConn(t.Context(), upstream.Want{Task: task, Fresh: true}, time.Now())
		if err != nil {
			t.Errorf("with %d connections: %v", b.Stats().Connections, err)
			return nil
		}
		if c.On() != task.Loop() {
			t.Error("it is not where it is wanted")
		}
		return c
	}
	done := make(chan struct{})
	loops.Pick().Go(func(task *loop.Task) {
		defer close(done)
		first := get(task)
		first.Keep(time.Now())
		get(task).Keep(time.Now())
	})
	<-done
	c := get(nil)
	c.Cut()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("what was cut can be read")
	}
	c.Close()
	if open := b.Stats().Connections; open != 1 {
		t.Errorf("%d connections are open", open)
	}
}
