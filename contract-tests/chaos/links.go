package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/rs/zerolog"
)

// Links are TCP links that can be broken on purpose, each an embedded
// toxiproxy in front of an address.
//
// A fault and its healing each take a fresh proxy at the same address: toxics
// that only act on new connections then act on every one, and a toxic never
// has to be removed from a living connection, which can block for ever
// (toxiproxy issue 558).
type Links struct {
	server *toxiproxy.ApiServer

	mu    sync.Mutex
	links map[string]*link
}

type link struct {
	listen, upstream string
	proxy            *toxiproxy.Proxy
	fault            *Fault
}

// stopWait bounds how long stopping a proxy may take.
const stopWait = 5 * time.Second

// NewLinks returns an empty set of links.
func NewLinks() *Links {
	return &Links{
		server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()),
		links:  map[string]*link{},
	}
}

// Open listens for a link and forwards to upstream. listen may end in :0; the
// address it listens on is returned and kept through faults.
func (l *Links) Open(name, listen, upstream string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, ok := l.links[name]; ok {
		return have.listen, nil
	}
	p := toxiproxy.NewProxy(l.server, name, listen, upstream)
	if err := p.Start(); err != nil {
		return "", fmt.Errorf("open link %s: %w", name, err)
	}
	l.links[name] = &link{listen: p.Listen, upstream: upstream, proxy: p}
	return p.Listen, nil
}

// Inject breaks a link. Connections through it are closed first, so that the
// fault meets every connection from its beginning.
func (l *Links) Inject(f Fault) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.links[f.Link]
	if !ok {
		return fmt.Errorf("no link is called %q: known are %s", f.Link, strings.Join(l.names(), ", "))
	}
	if err := k.stop(); err != nil {
		return err
	}
	k.fault = &f
	if f.Kind == "refuse" {
		return nil
	}
	return l.start(f.Link, k, toxics(f))
}

// Heal makes a link whole again. Healing a whole link does nothing.
func (l *Links) Heal(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.links[name]
	if !ok || k.fault == nil {
		return nil
	}
	if err := k.stop(); err != nil {
		return err
	}
	k.fault = nil
	return l.start(name, k, nil)
}

// CloseLink stops listening for a link and forgets it.
func (l *Links) CloseLink(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.links[name]
	if !ok {
		return nil
	}
	delete(l.links, name)
	return k.stop()
}

// Close closes every link.
func (l *Links) Close() error {
	l.mu.Lock()
	names := l.names()
	l.mu.Unlock()
	var errs []error
	for _, name := range names {
		errs = append(errs, l.CloseLink(name))
	}
	return errors.Join(errs...)
}

func (l *Links) names() []string {
	names := make([]string, 0, len(l.links))
	for name := range l.links {
		names = append(names, name)
	}
	return names
}

// start opens a fresh proxy at the link's address with toxics on it.
func (l *Links) start(name string, k *link, with []toxic) error {
	p := toxiproxy.NewProxy(l.server, name, k.listen, k.upstream)
	for _, t := range with {
		raw, err := json.Marshal(t)
		if err != nil {
			return err
		}
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(string(raw))); err != nil {
			return fmt.Errorf("add %s to link %s: %w", t.Type, name, err)
		}
	}
	if err := p.Start(); err != nil {
		return fmt.Errorf("open link %s again: %w", name, err)
	}
	k.proxy = p
	return nil
}

// stop closes the link's listener and connections.
func (k *link) stop() error {
	if k.proxy == nil {
		return nil
	}
	p := k.proxy
	k.proxy = nil
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.Stop()
	}()
	select {
	case <-stopped:
		return nil
	case <-time.After(stopWait):
		return fmt.Errorf("link to %s did not stop within %s", k.upstream, stopWait)
	}
}

// toxic is toxiproxy's JSON form of a toxic.
type toxic struct {
	Name       string           `json:"name"`
	Type       string           `json:"type"`
	Stream     string           `json:"stream"`
	Toxicity   float32          `json:"toxicity"`
	Attributes map[string]int64 `json:"attributes"`
}

// toxics translates a fault.
func toxics(f Fault) []toxic {
	down, up := stream.Downstream.String(), stream.Upstream.String()
	switch f.Kind {
	case "latency":
		return []toxic{{"latency", "latency", down, 1, map[string]int64{"latency": f.Delay.Milliseconds(), "jitter": f.Jitter.Milliseconds()}}}
	case "hang":
		return []toxic{{"hang", "timeout", up, 1, map[string]int64{"timeout": 0}}}
	case "reset-mid-body":
		// reset_peer at toxicity 0 only makes the close a reset; limit_data
		// decides when.
		return []toxic{
			{"reset", "reset_peer", down, 0, map[string]int64{"timeout": 0}},
			{"limit", "limit_data", down, 1, map[string]int64{"bytes": f.Bytes}},
		}
	case "response-lost":
		return []toxic{{"lost", "timeout", down, 1, map[string]int64{"timeout": 300}}}
	}
	return nil
}
