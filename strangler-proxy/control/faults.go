package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stranglerfig/contract-tests/chaos"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/upstream"
)

// faults breaks links of this process for a while. Every fault has a lease, so
// that an experiment whose driver dies is over by itself.
type faults struct {
	control *Control

	mu     sync.Mutex
	active map[string]*fault // by link
}

// fault is a link that is broken now.
type fault struct {
	lease *time.Timer
	kind  string
	led   *upstream.Backend // led through a link of its own; nil for declared links
}

const maxLease = 2 * time.Minute

// inject breaks a link: one that the config declares, or, by a capability's
// name, the one between the proxy and its service.
func (f *faults) inject(name string, q api.FaultRequest) error {
	if q.Lease <= 0 || q.Lease > maxLease {
		return &api.Error{Text: fmt.Sprintf("lease %s: accepted are 1ns to %s", q.Lease, maxLease), Code: api.ExitNo}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active[name] != nil {
		return &api.Error{Text: "link " + name + " is broken already", Hint: "wait for that experiment to end", Code: api.ExitNo}
	}
	fresh, via := &fault{kind: q.Kind}, ""
	if _, service := f.control.sides(name); service != nil {
		var err error
		if via, err = f.control.links.Open(name, "127.0.0.1:0", service.Address()); err != nil {
			return err
		}
		fresh.led = service
	}
	if err := f.control.links.Inject(chaos.Fault{Link: name, Kind: q.Kind, Delay: q.Delay, Jitter: q.Jitter, Bytes: q.Bytes}); err != nil {
		if fresh.led != nil {
			err = errors.Join(err, f.control.links.CloseLink(name))
		}
		return &api.Error{Text: err.Error(), Hint: "a link is the name of a capability, or one under chaos.links", Code: api.ExitNo}
	}
	if fresh.led != nil {
		// Only now: injecting closes whatever goes through the link already.
		fresh.led.Via(via)
		f.settle(fresh.led)
	}
	fresh.lease = time.AfterFunc(q.Lease, func() {
		if err := f.heal(name); err != nil {
			f.control.o.Log.Error("a link could not be healed", "link", name, "error", err)
		}
	})
	f.active[name] = fresh
	return nil
}

// heal makes a link whole. Healing a whole link does nothing.
func (f *faults) heal(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	have := f.active[name]
	if have == nil {
		return nil
	}
	delete(f.active, name)
	have.lease.Stop()
	if have.led == nil {
		return f.control.links.Heal(name)
	}
	have.led.Via("")
	if have.kind == "latency" {
		f.settle(have.led) // late answers are answers: let them come
	}
	return f.control.links.CloseLink(name)
}

// settleWait bounds how long requests under way may take to end on the
// connections they have.
const settleWait = 2 * time.Second

func (f *faults) settle(b *upstream.Backend) {
	ctx, cancel := context.WithTimeout(f.control.ctx, settleWait)
	defer cancel()
	b.Settle(ctx)
}

// close ends every lease.
func (f *faults) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, have := range f.active {
		have.lease.Stop()
	}
}
