package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"stranglerfig/contract-tests/harness"
)

const (
	listenWithin = 20 * time.Second // a started server must listen
	endWithin    = 5 * time.Second  // and end when it is told to, or it is killed
)

// server is a process that is under test, or serves what is.
type server struct {
	addr    string // host:port
	process *harness.Process
}

// startServer starts a command that listens at an address; an empty one means
// that it says itself where it listens.
func startServer(ctx context.Context, addr string, c harness.Command) (*server, error) {
	c.Ready = listenWithin
	if addr != "" {
		c.Ready = -1
	}
	p, err := harness.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &server{addr: addr, process: p}
	if addr == "" {
		s.addr = p.URL[strings.LastIndexByte(p.URL, '/')+1:]
		return s, nil
	}
	if err := s.listening(ctx); err != nil {
		s.stop(ctx)
		return nil, err
	}
	return s, nil
}

// listening waits until the server accepts connections.
func (s *server) listening(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listenWithin)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("%s ended before it listened (%v):\n%s", s.process.Name, s.process.Err(), s.process.Output())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen at %s: %w\n%s", s.process.Name, s.addr, ctx.Err(), s.process.Output())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// alive says how the server ended, if it has.
func (s *server) alive() error {
	select {
	case <-s.process.Done():
		return fmt.Errorf("%s ended by itself (%v):\n%s", s.process.Name, s.process.Err(), s.process.Output())
	default:
		return nil
	}
}

// stop ends the server with all that it started, also when ctx has ended.
func (s *server) stop(ctx context.Context) error {
	wrong := s.alive()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	// Where it does not end in time, its workers must go with it: they hold
	// the pipe whose end is waited for.
	defer context.AfterFunc(ctx, func() { s.killGroup() })()
	// Its word on how it ended is of no use: each has its own for being told to.
	_ = s.process.Stop(ctx)
	return errors.Join(wrong, s.killGroup())
}

// killGroup ends what is left of the process and its workers; it leads a group
// of its own.
func (s *server) killGroup() error {
	err := syscall.Kill(-s.process.Pid(), syscall.SIGKILL)
	if err == nil || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return fmt.Errorf("kill what %s started: %w", s.process.Name, err)
}
