package proxy

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/strangler-proxy/route"
)

// answer notes what is answered.
type answer struct {
	http.ResponseWriter
	status  int
	bytes   int64
	capture *capture
}

// WriteHeader implements [http.ResponseWriter].
func (w *answer) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (w *answer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	if w.capture != nil {
		w.capture.add(b[:n])
	}
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements [http.Hijacker], for upgrades.
func (w *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// capture keeps the beginning of a body. A request's body may still be read
// when its answer has ended.
type capture struct {
	mu    sync.Mutex
	bytes []byte
	over  bool
}

// taken returns what was kept so far, and whether there was more.
func (c *capture) taken() (bytes []byte, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.bytes), c.over
}

func (c *capture) add(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	room := CaptureLimit - len(c.bytes)
	if len(b) > room {
		c.over = true
		b = b[:room]
	}
	c.bytes = append(c.bytes, b...)
}

// teeBody captures a request body as it is read.
type teeBody struct {
	io.ReadCloser
	to    *capture
	ended atomic.Bool // it was read to its end
}

func (t *teeBody) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	t.to.add(b[:n])
	if err == io.EOF {
		t.ended.Store(true)
	}
	return n, err
}

// buffers is a pool of copy buffers.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get implements [httputil.BufferPool].
func (b *buffers) Get() []byte {
	if have, ok := b.pool.Get().(*[]byte); ok {
		return *have
	}
	return make([]byte, bufferSize)
}

// Put implements [httputil.BufferPool].
func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// unescape decodes a canonical path, whose escapes are known to be whole.
func unescape(path string) string {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return plain
}

// statusGone stands for a client that went away before it was answered.
const statusGone = 499

// account counts and logs a request that has ended.
func (p *Proxy) account(r *http.Request, f *flight, w *answer, begun time.Time) {
	took := time.Since(begun)
	status := w.status
	if status == 0 {
		status = statusGone
	}
	name := "-"
	if f.route != nil {
		name = f.route.ID
	}
	side := string(f.decision.Side)
	p.o.Metrics.requests.WithLabelValues(name, side, strconv.Itoa(status/100)+"xx").Inc()
	p.o.Metrics.seconds.WithLabelValues(side).Observe(took.Seconds())
	if f.held > time.Millisecond {
		p.o.Metrics.held.Observe(f.held.Seconds())
	}
	if p.o.Log != nil {
		p.log(r, f, w, name, status, took)
	}
}

func (p *Proxy) log(r *http.Request, f *flight, w *answer, name string, status int, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", f.path), slog.Int("status", status),
		slog.String("route", name), slog.String("owner", string(f.decision.Side)), slog.Uint64("epoch", f.decision.Epoch),
		slog.String("why", f.decision.Reason), slog.Float64("ms", float64(took.Microseconds())/1000),
		slog.Int64("bytes", w.bytes), slog.String("client", clientIP(r)),
	}
	if f.route != nil && f.route.Owner.Stage != route.Monolith {
		attrs = append(attrs, slog.String("word", f.route.Owner.String()))
	}
	if f.held > time.Millisecond {
		attrs = append(attrs, slog.Float64("held_ms", float64(f.held.Microseconds())/1000))
	}
	if f.fellBack != "" {
		attrs = append(attrs, slog.String("fallback", f.fellBack))
	}
	if f.err != nil {
		attrs = append(attrs, slog.String("error", f.err.Error()))
	}
	p.o.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}
