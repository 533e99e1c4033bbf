package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// grace is how long running requests may take to end once the server stops.
const grace = 5 * time.Second

// Serve answers requests on addr until ctx ends, then lets running requests
// finish for up to five seconds. It prints the address on ready once it
// listens. stopping is called when the shutdown begins, so that streams end.
func Serve(ctx context.Context, addr string, handler http.Handler, ready io.Writer, stopping func()) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %s (choose another --addr): %w", addr, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintf(ready, "listening on http://%s\n", listener.Addr())

	select {
	case err := <-ended:
		return fmt.Errorf("server on %s stopped: %w", addr, err)
	case <-ctx.Done():
	}
	stopping()
	err = shutDown(server)
	<-ended
	return err
}

func shutDown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}
