package proxy

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
)

// answer notes on its flight what is answered.
type answer struct {
	http.ResponseWriter
	flight  *flight
	capture *capture
	still   *standstill
	clock   clock
}

// WriteHeader implements [http.ResponseWriter].
func (w *answer) WriteHeader(status int) {
	if w.flight.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.flight.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (w *answer) Write(b []byte) (int, error) {
	if w.flight.status == 0 {
		w.flight.status = http.StatusOK
	}
	w.clock.set(w.still.limit, w.stuck)
	n, err := w.ResponseWriter.Write(b)
	w.clock.timer.Stop()
	w.flight.bytes += int64(n)
	if w.capture != nil {
		w.capture.add(b[:n])
	}
	return n, err
}

// FlushError is what [http.ResponseController] flushes by.
func (w *answer) FlushError() error {
	w.clock.set(w.still.limit, w.stuck)
	defer w.clock.timer.Stop()
	return w.still.on.Flush()
}

// stuck ends the answer of a client that takes nothing of it.
func (w *answer) stuck() { w.still.end(w.still.on.SetWriteDeadline, false) }

// Unwrap lets http.ResponseController reach the connection.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements [http.Hijacker], for upgrades.
func (w *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// unescape decodes a canonical path, whose escapes are known to be whole.
func unescape(path string) string {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return plain
}
