package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// care looks after the connections until the backend is closed: it closes what
// was idle for too long, or is in somebody's way.
func (b *Backend) care(ctx context.Context) {
	sweep := time.NewTicker(b.o.Limits.IdleFor / 2)
	defer sweep.Stop()
	age := time.NewTicker(b.o.Limits.Age)
	defer age.Stop()
	room := time.NewTimer(lookAgain)
	defer room.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			b.sweep(false)
			b.closeOld()
		case <-age.C:
			b.renew()
		case <-b.short:
			b.makeRoom()
			room.Reset(lookAgain)
		case <-room.C:
			if b.waiting.Load() > 0 {
				b.makeRoom()
				room.Reset(lookAgain)
			}
		}
	}
}

// ask asks the endpoints whether they are well until the backend is closed.
func (b *Backend) ask(ctx context.Context) {
	tick := time.NewTicker(b.o.Health.Interval)
	defer tick.Stop()
	checks := make([]checks, len(b.endpoints))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var looking sync.WaitGroup
		for i, e := range b.endpoints {
			looking.Go(func() { b.look(ctx, e, &checks[i]) })
		}
		looking.Wait()
	}
}

// look asks an endpoint whether it is well.
func (b *Backend) look(ctx context.Context, e *endpoint, k *checks) {
	err := b.check(ctx, e.url, b.o.Health.Path)
	if ctx.Err() != nil {
		return // the backend is being closed
	}
	if err == nil {
		e.well.Add(1)
	} else {
		e.ill.Add(1)
	}
	sick := k.note(err == nil)
	switch before := e.sick.Swap(sick); {
	case sick && !before:
		b.o.Log.Warn("an endpoint is left out", "backend", b.Name, "endpoint", e.url.String(), "because", err.Error())
	case before && !sick:
		b.o.Log.Info("an endpoint is well again", "backend", b.Name, "endpoint", e.url.String())
	}
}

// checks counts how an endpoint's checks went.
type checks struct {
	sick    bool
	against int // results in a row that speak against what it is taken for
}

// note counts a check and reports whether the endpoint is sick now.
func (k *checks) note(well bool) bool {
	if well != k.sick {
		k.against = 0
		return k.sick
	}
	if k.against++; well && k.against >= healthyAfter || !well && k.against >= unhealthyAfter {
		k.sick, k.against = !well, 0
	}
	return k.sick
}

// Check asks whether the backend is well: whether one of its endpoints answers
// 2xx at path, or, without a path, takes a connection.
func (b *Backend) Check(ctx context.Context, path string) (err error) {
	for _, e := range b.endpoints {
		if err = b.check(ctx, e.url, path); err == nil {
			return nil
		}
	}
	return err
}

func (b *Backend) check(ctx context.Context, u *url.URL, path string) error {
	bounded, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if path == "" {
		conn, way, err := b.open(bounded, u)
		if err != nil {
			return fmt.Errorf("%s at %s cannot be reached: %w", b.Name, u, err)
		}
		way.open.Add(-1)
		return conn.Close()
	}
	body, err := b.get(bounded, u, path)
	if err != nil {
		return err
	}
	return body.Close()
}

// Get returns the body of a 2xx answer at path, at most 64 KiB of it.
func (b *Backend) Get(ctx context.Context, path string) ([]byte, error) {
	body, err := b.get(ctx, b.URL, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, 64<<10))
}

func (b *Backend) get(ctx context.Context, u *url.URL, path string) (io.ReadCloser, error) {
	address := strings.TrimSuffix(u.String(), "/") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := b.prober.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s at %s cannot be reached: %w", b.Name, u, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		res.Body.Close()
		return nil, fmt.Errorf("%s answers %s with %d", b.Name, address, res.StatusCode)
	}
	return res.Body, nil
}
