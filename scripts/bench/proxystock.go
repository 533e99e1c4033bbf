package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

// The names of the proxies that are of the bench itself.
const (
	stock = "reverseproxy" // of Go's standard library
	bare  = "relay"        // no proxy at all: the least that passing bytes on costs
)

// serveStock serves as one would who writes a proxy with the standard library
// in an afternoon: httputil.ReverseProxy, idle connections for all clients, and
// a line of log for each request.
func serveStock(ctx context.Context, s serving, l net.Listener) error {
	f, err := os.Create(s.AccessLog)
	if err != nil {
		return err
	}
	defer f.Close()
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: s.Backend})
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true},
	}
	server := &http.Server{Handler: logged(forward, slog.New(slog.NewJSONHandler(f, nil))), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// logged writes what our own access log says.
func logged(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		a := &noted{ResponseWriter: w}
		next.ServeHTTP(a, r)
		log.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", a.status),
			slog.Float64("ms", float64(time.Since(begun).Microseconds())/1000), slog.Int64("bytes", a.bytes), slog.String("client", r.RemoteAddr))
	})
}

// noted is an answer of which status and length are noted.
type noted struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements [http.ResponseWriter].
func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (n *noted) Write(b []byte) (int, error) {
	written, err := n.ResponseWriter.Write(b)
	n.bytes += int64(written)
	return written, err
}

// Unwrap lets http.ResponseController reach the connection.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// serveRelay passes messages on, each client on a backend connection of its
// own. It checks, logs and counts nothing.
func serveRelay(ctx context.Context, s serving, l net.Listener) error {
	return serveEach(ctx, l, func(c net.Conn) {
		b, err := net.Dial("tcp", s.Backend)
		if err != nil {
			return // the client sees its connection close, and the load counts that
		}
		defer b.Close()
		stop := context.AfterFunc(ctx, func() { b.Close() })
		defer stop()
		front, back := newWire(c, relayBuffer), newWire(b, relayBuffer)
		for front.pass(b) == nil && back.pass(c) == nil {
		}
	})
}

const relayBuffer = 16 << 10
