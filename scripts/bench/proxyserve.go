package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"stranglerfig/contract-tests/harness"
)

// serveWord makes the program serve as one of the roles of the proxy bench,
// described in its second argument, until it is told to end.
const serveWord = "serve"

// serving says what a process of the bench serves.
type serving struct {
	Do          string      // a key of roles
	Answer      int         // backend: bytes of its body
	Backend     string      // the others: host:port
	AccessLog   string      // file
	Certificate certificate // empty: clear text
}

// roles by their names. Each serves a listener until ctx ends.
var roles = map[string]func(ctx context.Context, s serving, l net.Listener) error{
	"backend": serveBackend,
	stock:     serveStock,
	bare:      serveRelay,
}

// serveRole serves as it is told and says where.
func serveRole(ctx context.Context, text string, out io.Writer) error {
	var s serving
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("read what to serve (it is started by the bench itself): %w", err)
	}
	serve, ok := roles[s.Do]
	if !ok {
		return fmt.Errorf("there is no role %q", s.Do)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on http://%s\n", l.Addr())
	if s.Certificate.File != "" {
		pair, err := tls.LoadX509KeyPair(s.Certificate.File, s.Certificate.Key)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	return serve(ctx, s, l)
}

// startRole starts this program again to serve.
func startRole(ctx context.Context, s serving) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "", harness.Command{Name: s.Do, Path: self, Args: []string{serveWord, string(text)}})
}

// serveEach serves each connection on a goroutine of its own until ctx ends,
// and then closes those that are left and waits for them.
func serveEach(ctx context.Context, l net.Listener, serve func(net.Conn)) error {
	var open sync.WaitGroup
	defer open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		open.Go(func() {
			defer c.Close()
			defer stop()
			serve(c)
		})
	}
}
