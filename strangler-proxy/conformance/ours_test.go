package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	billing "stranglerfig/extracted/billing/app"
	catalog "stranglerfig/extracted/catalog/app"
	shop "stranglerfig/monolith/app"
)

// noting is a handler that notes what it is asked.
type noting struct {
	http.Handler
	mu   sync.Mutex
	seen []string
}

func (n *noting) note(request string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, request)
}

// ServeHTTP implements [http.Handler].
func (n *noting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.note(methodAndPath(r.Method + " " + r.RequestURI + " " + r.Proto))
	n.Handler.ServeHTTP(w, r)
}

// application of ours that can be closed.
type closable interface {
	Handler() http.Handler
	Close() error
}

// monolith starts the example's shop.
func monolith(t testing.TB) target {
	app, err := shop.Open(t.Context(), shop.Options{Database: inFile(t), Log: slog.New(slog.DiscardHandler)})
	return ours(t, "monolith", app, err)
}

// billingService starts the example's billing service.
func billingService(t testing.TB) target {
	app, err := billing.Open(t.Context(), billing.Options{Database: inFile(t), MonolithURL: "http://127.0.0.1:1", Log: slog.New(slog.DiscardHandler)})
	return ours(t, "billing", app, err)
}

// catalogService starts the example's catalog service.
func catalogService(t testing.TB) target {
	app, err := catalog.Open(t.Context(), catalog.Options{Database: inFile(t), Log: slog.New(slog.DiscardHandler)})
	return ours(t, "catalog", app, err)
}

func inFile(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "database") }

func ours(t testing.TB, name string, app closable, err error) target {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &noting{Handler: app.Handler()}
	server := &http.Server{Handler: n, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	stop := sync.OnceFunc(func() {
		_ = server.Shutdown(context.Background())
		serving.Wait()
	})
	t.Cleanup(stop)
	return target{name, l.Addr().String(), func(testing.TB) []string {
		stop()
		return n.seen
	}}
}

// witness starts a backend that takes nothing which two servers could read in
// two ways: what the proxy sends must not depend on the kindness of whoever
// stands behind it.
func witness(t testing.TB) target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &noting{}
	var all sync.WaitGroup
	var open sync.Map
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, true)
			all.Go(func() {
				defer conn.Close()
				n.read(&line{conn, bufio.NewReader(conn)})
			})
		}
	})
	stop := sync.OnceFunc(func() {
		l.Close()
		open.Range(func(conn, _ any) bool {
			conn.(net.Conn).Close()
			return true
		})
		all.Wait()
	})
	t.Cleanup(stop)
	return target{"a witness", l.Addr().String(), func(testing.TB) []string {
		stop()
		return n.seen
	}}
}

// read takes requests that have one reading only; others end the connection
// and are noted with what is wrong.
func (n *noting) read(l *line) {
	for {
		head, err := l.head()
		if err != nil {
			if head != "" && head[0] != 'x' {
				n.note(fmt.Sprintf("half a head: %q", head))
			}
			return
		}
		length, chunked, wrong := reading(head)
		if wrong != "" {
			n.note(fmt.Sprintf("%s: %q", wrong, head))
			return
		}
		n.note(methodAndPath(firstLine(head)))
		if chunked {
			_, _, err = l.chunked()
		} else {
			_, err = io.CopyN(io.Discard, l.in, length)
		}
		if err != nil {
			return // the client broke off
		}
		if _, err := io.WriteString(l, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nseen"); err != nil {
			return
		}
	}
}

// reading says how the body after a head is framed, or what is wrong with the
// head.
func reading(head string) (length int64, chunked bool, wrong string) {
	bare := strings.ReplaceAll(head, "\r\n", "")
	if strings.ContainsAny(bare, "\r\n\x00") {
		return 0, false, "a bare line end or NUL"
	}
	count := map[string]int{}
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	if parts := strings.Split(lines[0], " "); len(parts) != 3 || parts[2] != "HTTP/1.1" {
		return 0, false, "no request line"
	}
	for _, field := range lines[1:] {
		name, value, found := strings.Cut(field, ":")
		if !found || name == "" || strings.ContainsAny(name, " \t\"(),/:;<=>?@[\\]{}") {
			return 0, false, "no field"
		}
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		count[name]++
		switch name {
		case "content-length":
			if n, err := fmt.Sscanf(value+"!", "%d!", &length); n != 1 || err != nil || strings.Trim(value, "0123456789") != "" {
				return 0, false, "no length"
			}
		case "transfer-encoding":
			if chunked = strings.EqualFold(value, "chunked"); !chunked {
				return 0, false, "another coding"
			}
		}
	}
	if count["content-length"]+count["transfer-encoding"] > 1 || count["host"] != 1 {
		return 0, false, "two readings"
	}
	return length, chunked, ""
}
