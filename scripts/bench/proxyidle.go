package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	idleBuffer  = 4 << 10                // of a client that is to be idle
	openers     = 16                     // connections that are opened at the same time
	calmLook    = 100 * time.Millisecond // between two looks at a proxy's memory
	calmWithin  = 20 * time.Second       // it is taken to be as calm as it gets
	calmSwaying = 0.01                   // share by which memory may differ and still be the same
)

// idle opens connections, sends one request on each, leaves them idle, and
// measures what each of them costs the proxy in memory.
func (d *driver) idle(ctx context.Context, _ func(rows int64)) (outcome, error) {
	if _, err := d.phase(ctx, d.load.Warmup); err != nil {
		return outcome{}, err
	}
	found := outcome{Errors: d.failures()}
	d.close()
	before, err := calm(ctx, d.load.Pid, d.load.Calm)
	if err != nil {
		return outcome{}, err
	}
	d.clients = nil
	begun := time.Now()
	for _, n := range d.load.Idle {
		if err := d.open(ctx, n-len(d.clients)); err != nil {
			return outcome{}, err
		}
		after, err := calm(ctx, d.load.Pid, d.load.Calm)
		if err != nil {
			return outcome{}, err
		}
		found.PerIdle = append(found.PerIdle, (after-before)/float64(n))
	}
	for _, c := range d.clients {
		found.Answered += len(c.latencies)
		if c.wire != nil && c.closed() {
			c.fail(errors.New("an idle connection was closed"))
		}
	}
	for what, n := range d.failures() {
		found.Errors[what] += n
	}
	found.Took = time.Since(begun)
	return found, nil
}

// open adds so many clients, each of which sends one request.
func (d *driver) open(ctx context.Context, n int) error {
	fresh := make([]*client, n)
	for i := range fresh {
		fresh[i] = &client{driver: d, next: (len(d.clients) + i) % len(d.requests), buffer: idleBuffer}
	}
	d.clients = append(d.clients, fresh...)
	ctx, cancel := context.WithTimeout(ctx, phaseLimit)
	defer cancel()
	var next atomic.Int64
	var working sync.WaitGroup
	for range openers {
		working.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				var one atomic.Int64
				one.Store(1)
				fresh[i].work(ctx, &one, pace{})
			}
		})
	}
	working.Wait()
	return ctx.Err()
}

// closed reports whether the other end has closed the connection, or has sent
// what nobody asked for.
func (c *client) closed() bool {
	conn, ok := c.wire.Conn.(syscall.Conn)
	if !ok {
		return false // it is encrypted; idle connections are not
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	nothing := false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		nothing = errors.Is(err, unix.EAGAIN)
	})
	return err != nil || !nothing
}

// calm waits until a proxy's memory no longer grows or shrinks and returns it:
// the mean over a while, because collectors of garbage let it sway all the time.
func calm(ctx context.Context, pid int, while time.Duration) (float64, error) {
	until := time.Now().Add(calmWithin)
	size := max(2, int(while/calmLook))
	var seen []float64
	for {
		now, err := residentOf(pid)
		if err != nil {
			return 0, err
		}
		if seen = append(seen, float64(now)); len(seen) > size {
			seen = seen[1:]
		}
		if len(seen) == size {
			earlier, later := mean(seen[:size/2]), mean(seen[size/2:])
			if max(earlier-later, later-earlier) <= calmSwaying*later || time.Now().After(until) {
				return mean(seen), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(calmLook):
		}
	}
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// idleLevels are the numbers of idle connections that are measured: those that
// the limit of open files admits, of which every process needs some for itself.
func idleLevels(wanted ...int) (levels []int, err error) {
	const others = 1000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("read the limit of open files: %w", err)
	}
	for _, n := range wanted {
		if uint64(n+others) <= uint64(limit.Max) {
			levels = append(levels, n)
		}
	}
	return levels, nil
}
