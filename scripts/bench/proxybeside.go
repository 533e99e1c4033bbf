package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	reloadEvery  = time.Second
	reloadWithin = 20 * time.Second
)

var (
	reloads     = metric{"reloads", "in a round"}
	inForce     = metric{"in force", "ms after the save"}
	mirroredFor = metric{"mirrored", "% of requests"}
)

// rewriter saves a new generation of our config every second, as an editor
// does, and waits until the proxy obeys it.
type rewriter struct {
	setting    setting
	generation int
}

// beside rewrites until ctx ends, and returns how often, and how long it took
// on average until the new file was in force.
func (r *rewriter) beside(ctx context.Context, _ *server) (map[string]float64, error) {
	var times, took float64
	for ctx.Err() == nil {
		begun := time.Now()
		if err := r.rewrite(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
		times++
		took += time.Since(begun).Seconds() * 1000
		select {
		case <-ctx.Done():
		case <-time.After(reloadEvery - time.Since(begun)):
		}
	}
	return map[string]float64{reloads.name: times, inForce.name: took / max(times, 1)}, nil
}

// rewrite brings the next generation into force.
func (r *rewriter) rewrite(ctx context.Context) error {
	r.generation++
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	next := r.setting.file() + ".next"
	if err := os.WriteFile(next, []byte(r.setting.config(r.generation)), 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, r.setting.file()); err != nil {
		return err
	}
	for {
		obeyed, err := r.obeyed(ctx)
		if err != nil {
			return fmt.Errorf("reload number %d is not in force after %s: %w", r.generation, reloadWithin, err)
		}
		if obeyed {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// obeyed asks the proxy whether it knows the generation's own route.
func (r *rewriter) obeyed(ctx context.Context) (bool, error) {
	route := generationRoute(r.generation)
	question, err := json.Marshal(map[string]string{"method": "GET", "target": strings.TrimPrefix(route, "GET ")})
	if err != nil {
		return false, err
	}
	ask, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.setting.admin+"/v1/explain", bytes.NewReader(question))
	if err != nil {
		return false, err
	}
	ask.Header.Set("Authorization", "Bearer "+adminToken)
	ask.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	var explained struct{ Route string }
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&explained); err != nil {
		return false, fmt.Errorf("read the explanation: %w", err)
	}
	return explained.Route == route, nil
}

// mirrorCount counts what arrives at the backend that requests are mirrored to.
type mirrorCount struct{ service, backend *server }

// beside returns which share of the requests was mirrored until ctx ended.
func (m mirrorCount) beside(ctx context.Context, _ *server) (map[string]float64, error) {
	mirrored, live, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	<-ctx.Done()
	mirroredThen, liveThen, err := m.read(context.WithoutCancel(ctx))
	return map[string]float64{mirroredFor.name: 100 * (mirroredThen - mirrored) / max(liveThen-live, 1)}, err
}

func (m mirrorCount) read(ctx context.Context) (mirrored, live float64, err error) {
	mirrored, failed := served(ctx, m.service)
	live, alsoFailed := served(ctx, m.backend)
	return mirrored, live, errors.Join(failed, alsoFailed)
}

// served asks a backend how many requests it has answered.
func served(ctx context.Context, backend *server) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+backend.addr+servedPath, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(text), 64)
}

// others ask the service as much as the mirror does, without the proxy: what that
// alone costs the clients of a machine that all of them share.
type others struct {
	contest *contest
	count   mirrorCount
}

// beside asks beside a round, and returns which share of its requests that was.
func (o others) beside(ctx context.Context, s *server) (map[string]float64, error) {
	l := o.contest.load
	l.Addr, l.Pid = o.count.service.addr, s.process.Pid()
	l.Connections, l.Warmup = 4, 0
	l.Rate, l.Requests = l.Rate*mirroredShare/100, l.Requests*mirroredShare/100
	p, err := startStep(context.WithoutCancel(ctx), step{Do: "load", Load: &l}) // ends by itself
	if err != nil {
		return nil, err
	}
	found, err := o.count.beside(ctx, s)
	asked, _, failed := p.wait()
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if asked.Load.Problem != "" || len(asked.Load.Errors) > 0 {
		return nil, fmt.Errorf("asking the service: %s; %s", asked.Load.Problem, failures(asked.Load.Errors))
	}
	return found, nil
}
