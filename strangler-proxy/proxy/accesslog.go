package proxy

import (
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/strangler-proxy/route"
)

// AccessLog writes one line of JSON for each request. Requests never wait for
// it: lines are written in lots, and those that find the buffer full, because
// nobody takes what is written, are dropped and counted.
type AccessLog struct {
	to      io.Writer
	dropped prometheus.Counter

	mu      sync.Mutex
	pending []byte
	second  int64  // of stamp
	stamp   []byte // the beginning of a line in that second

	full chan struct{} // a lot is ready before its time
	stop chan struct{}
	done chan struct{}
}

const (
	logLot    = 256 << 10 // bytes that are written at once
	logBuffer = 4 << 20   // bytes that may wait to be written
	logEvery  = 200 * time.Millisecond
)

// NewAccessLog returns a log whose goroutine Close ends.
func NewAccessLog(to io.Writer, m *Metrics) *AccessLog {
	l := &AccessLog{to: to, dropped: m.unlogged, full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go l.write()
	return l
}

// Close writes what is left.
func (l *AccessLog) Close() {
	close(l.stop)
	<-l.done
}

// write empties the buffer now and then. A lot that cannot be written is lost:
// there is nobody to tell but the counter.
func (l *AccessLog) write() {
	defer close(l.done)
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	var lot []byte
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-l.full:
		case <-l.stop:
			last = true
		}
		l.mu.Lock()
		lot, l.pending = l.pending, lot[:0]
		l.mu.Unlock()
		if len(lot) == 0 {
			continue
		}
		if _, err := l.to.Write(lot); err != nil {
			l.dropped.Add(float64(lines(lot)))
		}
	}
}

func lines(text []byte) (n int) {
	for _, c := range text {
		if c == '\n' {
			n++
		}
	}
	return n
}

// note adds the line of a flight that has landed.
func (l *AccessLog) note(f *flight, status int, took time.Duration) {
	l.mu.Lock()
	if len(l.pending) > logBuffer {
		l.mu.Unlock()
		l.dropped.Inc()
		return
	}
	before := len(l.pending)
	l.pending = appendLine(l.begin(f.begun), f, status, took)
	ready := before < logLot && len(l.pending) >= logLot
	l.mu.Unlock()
	if ready {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// begin begins a line. Its time is rendered once a second, but for the
// microseconds: that would be the costliest part of the line.
func (l *AccessLog) begin(at time.Time) []byte {
	if second := at.Unix(); second != l.second {
		l.second = second
		l.stamp = at.UTC().AppendFormat(append(l.stamp[:0], `{"time":"`...), "2006-01-02T15:04:05.")
	}
	b := append(l.pending, l.stamp...)
	micros := at.Nanosecond() / 1000
	for unit := 100_000; unit > 0; unit /= 10 {
		b = append(b, byte('0'+micros/unit%10))
	}
	return append(b, `Z","msg":"request"`...)
}

// appendLine renders what is known of a flight.
func appendLine(b []byte, f *flight, status int, took time.Duration) []byte {
	b = appendText(b, "method", f.asked.method)
	b = appendText(b, "path", f.path)
	b = appendNumber(b, "status", int64(status))
	b = appendText(b, "route", f.routeID())
	b = appendText(b, "owner", string(f.decision.Side))
	b = appendNumber(b, "epoch", int64(f.decision.Epoch))
	b = appendText(b, "why", f.decision.Reason)
	b = appendMillis(b, "ms", took)
	b = appendNumber(b, "bytes", f.bytes)
	b = appendText(b, "client", f.asked.client)
	if f.asked.id != "" {
		b = appendText(b, "id", f.asked.id)
	}
	if f.span != nil {
		b = appendText(b, "trace", f.span.ID())
	}
	if f.route != nil && f.route.Owner.Stage != route.Monolith {
		b = appendText(b, "word", f.route.Owner.String())
	}
	if f.held > time.Millisecond {
		b = appendMillis(b, "held_ms", f.held)
	}
	if f.fellBack != "" {
		b = appendText(b, "fallback", f.fellBack)
	}
	if f.err != nil {
		b = appendText(b, "error", f.err.Error())
	}
	return append(b, '}', '\n')
}

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendNumber(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(b, key), n, 10)
}

func appendMillis(b []byte, key string, d time.Duration) []byte {
	micros := d.Microseconds()
	b = append(strconv.AppendInt(appendKey(b, key), micros/1000, 10), '.')
	return append(b, byte('0'+micros/100%10), byte('0'+micros/10%10), byte('0'+micros%10))
}

// appendText quotes by JSON's rules; what is not UTF-8 becomes U+FFFD.
func appendText(b []byte, key, text string) []byte {
	b = append(appendKey(b, key), '"')
	if plain(text) {
		return append(append(b, text...), '"')
	}
	return append(appendEscaped(b, text), '"')
}

// plain reports whether a text of ASCII is what JSON writes for it. It looks at
// eight bytes at a time: a byte is less than n, or is n, where taking n from it,
// or from what it has not in common with n, borrows (Anderson, Bit Twiddling
// Hacks, "Determine if a word has a byte less than n"). A borrow can make the
// byte above look guilty too, but never an innocent text.
func plain(text string) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		w := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		quote, backslash := w^each*'"', w^each*'\\'
		if (w|(w-each*0x20)|(quote-each)|(backslash-each))&high != 0 {
			return false
		}
	}
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendEscaped writes what is not plain.
func appendEscaped(b []byte, text string) []byte {
	clean := 0 // up to here it is written
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(text[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, text[clean:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, `\ufffd`...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		clean = i
	}
	return append(b, text[clean:]...)
}
