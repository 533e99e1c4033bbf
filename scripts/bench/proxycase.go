package main

import (
	"context"
	"errors"
	"fmt"

	"stranglerfig/contract-tests/harness"
)

const (
	smallAnswer = 340
	largeAnswer = 64 << 10
	upload      = 1 << 20
)

// proxyCase is one case of the bench.
type proxyCase struct {
	name string
	make func(w *caseWorld) (*contest, error)
}

// proxyCases in the order in which they are run.
var proxyCases = []proxyCase{
	{"json", func(w *caseWorld) (*contest, error) {
		return w.besidePeers(load{Requests: w.requests, Answer: smallAnswer}, certificate{})
	}},
	{"half", func(w *caseWorld) (*contest, error) {
		c, err := w.besidePeers(load{Requests: w.requests, Answer: smallAnswer}, certificate{})
		if err == nil {
			c.about, c.paced = about(c.load)+fmt.Sprintf(", rounds of %s", w.paced), w.paced
		}
		return c, err
	}},
	{"body64k", func(w *caseWorld) (*contest, error) {
		return w.besidePeers(load{Requests: w.requests / 4, Answer: largeAnswer}, certificate{})
	}},
	{"upload1m", func(w *caseWorld) (*contest, error) {
		return w.besidePeers(load{Requests: w.requests / 50, Answer: smallAnswer, Upload: upload}, certificate{})
	}},
	{"idle", idleCase},
	{"routes10k", routesCase},
	{"tls", func(w *caseWorld) (*contest, error) {
		c, err := makeCertificate(w.dir)
		if err != nil {
			return nil, err
		}
		return w.besidePeers(load{Requests: w.requests, Answer: smallAnswer, Trusted: c.File}, c)
	}},
	{"mirror", mirrorCase},
	{"reload", reloadCase},
}

// caseWorld makes what a case needs.
type caseWorld struct {
	*proxyBench
	ctx      context.Context
	backends []*server
}

// close stops the backends.
func (w *caseWorld) close() error {
	var errs []error
	for _, b := range w.backends {
		errs = append(errs, b.stop(w.ctx))
	}
	return errors.Join(errs...)
}

// backend starts a backend whose answers have so many bytes.
func (w *caseWorld) backend(answer int) (*server, error) {
	s, err := startRole(w.ctx, serving{Do: "backend", Answer: answer})
	if err == nil {
		w.backends = append(w.backends, s)
	}
	return s, err
}

// complete adds to a load what is the same in all cases. A tenth as many
// requests come first that do not count.
func (w *caseWorld) complete(l load) load {
	l.Connections, l.Warmup = w.connections, max(l.Requests/10, w.connections)
	if l.Routes == 0 {
		l.Routes = w.routes
	}
	return l
}

// about says a load in words.
func about(l load) string {
	s := fmt.Sprintf("answers of %d bytes, %d connections", l.Answer, l.Connections)
	if l.Upload > 0 {
		s = fmt.Sprintf("uploads of %d bytes, ", l.Upload) + s
	}
	if l.Trusted != "" {
		s += ", TLS"
	}
	return s
}

// besidePeers holds our proxy with all its routes against the peers.
func (w *caseWorld) besidePeers(l load, c certificate) (*contest, error) {
	l = w.complete(l)
	backend, err := w.backend(l.Answer)
	if err != nil {
		return nil, err
	}
	found := &contest{about: fmt.Sprintf("%s, %d requests a round", about(l), l.Requests), load: l, metrics: loadMetrics}
	for _, p := range append([]peer{{ours, startOurs}}, w.peers...) {
		found.contenders = append(found.contenders, &contender{
			name: p.name, start: w.starter(p, setting{backend: backend.addr, certificate: c, routes: w.routes}),
		})
	}
	return found, nil
}

// starter starts a proxy in a folder of its own.
func (w *caseWorld) starter(p peer, s setting) func(context.Context) (*server, error) {
	return func(ctx context.Context) (_ *server, err error) {
		s := s
		if s.dir == "" {
			if s, err = w.furnish(p.name, s); err != nil {
				return nil, err
			}
		}
		return p.start(ctx, s)
	}
}

// furnish gives a setting its folder, our binary and a port for its admin API.
func (w *caseWorld) furnish(name string, s setting) (_ setting, err error) {
	s.binary = w.binary
	if s.dir, err = folder(w.dir, name); err != nil {
		return s, err
	}
	s.admin, err = harness.FreePort()
	return s, err
}

// idleCase measures memory, in a process that was just started.
func idleCase(w *caseWorld) (*contest, error) {
	if len(w.idle) == 0 {
		return nil, errors.New("too few files may be open here; raise the limit (ulimit -n)")
	}
	c, err := w.besidePeers(load{Requests: w.requests, Answer: smallAnswer}, certificate{})
	if err != nil {
		return nil, err
	}
	c.fresh, c.load.Idle, c.load.Calm, c.metrics = true, w.idle, w.calm, nil
	c.about = "connections that had one answer each"
	for _, e := range c.contenders {
		if e.name == bare {
			e.start = func(context.Context) (*server, error) {
				return nil, leftOut("left out: it keeps a connection to the backend for each client")
			}
		}
	}
	for _, n := range w.idle {
		c.metrics = append(c.metrics, idleMetric(n))
	}
	return c, nil
}

// few is how many routes the routes are held against.
const few = 10

// routesCase holds our proxy with all its routes against the same with few.
func routesCase(w *caseWorld) (*contest, error) {
	l := w.complete(load{Requests: w.requests, Answer: smallAnswer})
	backend, err := w.backend(l.Answer)
	if err != nil {
		return nil, err
	}
	c := &contest{about: fmt.Sprintf("%s, %d requests a round", about(l), l.Requests), load: l, metrics: loadMetrics}
	for _, n := range []int{w.routes, few} {
		s := setting{backend: backend.addr, routes: n}
		c.contenders = append(c.contenders, &contender{
			name: fmt.Sprintf("%d routes", n), routes: n, start: w.starter(peer{ours, startOurs}, s),
		})
	}
	return c, nil
}

// mirrorCase holds our proxy that mirrors against the same that does not, by
// itself and while others ask the service as much. All requests are for routes
// that are mirrored.
func mirrorCase(w *caseWorld) (*contest, error) {
	l := w.complete(load{Requests: w.requests, Answer: smallAnswer, Routes: min(w.routes, routesPerCapability)})
	backend, err := w.backend(l.Answer)
	if err != nil {
		return nil, err
	}
	service, err := w.backend(l.Answer)
	if err != nil {
		return nil, err
	}
	s := setting{backend: backend.addr, service: service.addr, routes: w.routes}
	mirrored := s
	mirrored.mirrored = true
	c := &contest{
		about: about(l) + fmt.Sprintf(", rounds of %s", w.paced), load: l, paced: w.paced, metrics: append(loadMetrics[:len(loadMetrics):len(loadMetrics)], mirroredFor),
	}
	c.contenders = []*contender{
		{name: fmt.Sprintf("mirror %d%%", mirroredShare), start: w.starter(peer{ours, startOurs}, mirrored), beside: mirrorCount{service, backend}.beside},
		{name: "mirror off", start: w.starter(peer{ours, startOurs}, s)},
		{name: "asked by others", start: w.starter(peer{ours, startOurs}, s), beside: others{c, mirrorCount{service, backend}}.beside},
	}
	return c, nil
}

// reloadCase holds our proxy whose file is saved again and again against the
// same that is left alone.
func reloadCase(w *caseWorld) (*contest, error) {
	l := w.complete(load{Requests: w.requests, Answer: smallAnswer})
	backend, err := w.backend(l.Answer)
	if err != nil {
		return nil, err
	}
	s := setting{backend: backend.addr, routes: w.routes}
	reloaded, err := w.furnish("reloaded", s)
	if err != nil {
		return nil, err
	}
	changing := &rewriter{setting: reloaded}
	return &contest{
		about: about(l) + fmt.Sprintf(", %d routes, rounds of %s", w.routes, w.paced), load: l, paced: w.paced,
		metrics: append(loadMetrics[:len(loadMetrics):len(loadMetrics)], reloads, inForce),
		contenders: []*contender{
			{name: "reloading", start: w.starter(peer{ours, startOurs}, reloaded), beside: changing.beside},
			{name: "left alone", start: w.starter(peer{ours, startOurs}, s)},
		},
	}, nil
}
