package listener_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/listener"
)

func TestAConnectionThatAsksNothingEndsAfterItsTime(t *testing.T) {
	r := run(t, func(o *listener.Options) { o.Limits.Idle = 8 * time.Millisecond })
	r.dial(t).ended()
	eventually(t, "the end of the connection", func() bool { return r.Connections() == 0 })
}

func TestAConnectionThatAsksNothingMoreEndsAfterItsTime(t *testing.T) {
	r := run(t, func(o *listener.Options) { o.Limits.Idle = 50 * time.Millisecond })
	eventually(t, "a connection that is quick enough to ask", func() bool {
		c := r.dial(t)
		c.send("GET / HTTP/1.1\r\n\r\n")
		_, err := io.Copy(io.Discard, c.in)
		return err == nil && len(r.endings()) > 0
	})
	if ends := r.endings(); !errors.Is(ends[0], listener.ErrIdle) {
		t.Errorf("it ended with %v", ends)
	}
}

func TestThoseTooManyAreToldToComeAgain(t *testing.T) {
	r := run(t, func(o *listener.Options) { o.Limits.Connections = 1 })
	first := r.dial(t)
	first.send("GET /a HTTP/1.1\r\n\r\n")
	first.answer()
	for i := range 3 {
		c := r.dial(t)
		c.send("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("a", 100_000))
		res, _ := c.answer()
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("it was answered %d, %v", res.StatusCode, res.Header)
		}
		c.ended()
		if n := r.count(listener.TooMany); n != i+1 {
			t.Errorf("%d connections were counted as too many", n)
		}
	}
	first.Close()
	eventually(t, "room for another", func() bool { return r.Connections() == 0 })
	c := r.dial(t)
	c.send("GET /b HTTP/1.1\r\n\r\n")
	if _, body := c.answer(); body != "GET /b HTTP/1.1" {
		t.Errorf("it was answered %q", body)
	}
}

func TestOfVeryManyTooManyOnlySomeAreAnswered(t *testing.T) {
	r := run(t, func(o *listener.Options) { o.Limits.Connections = 1 })
	first := r.dial(t)
	first.send("GET /a HTTP/1.1\r\n\r\n")
	first.answer()
	answered, others := 0, 0
	var clients []*client
	for range 100 {
		clients = append(clients, r.dial(t)) // and say nothing, so that they linger
	}
	eventually(t, "the refusals", func() bool { return r.count(listener.TooMany) == 100 })
	for _, c := range clients {
		if body, err := io.ReadAll(c.in); err == nil && strings.HasPrefix(string(body), "HTTP/1.1 503 ") {
			answered++
		} else if len(body) == 0 {
			others++
		}
	}
	if answered == 0 || answered+others != 100 {
		t.Errorf("%d were answered, %d closed", answered, others)
	}
}

func TestThePrefaceMustComeInTime(t *testing.T) {
	r := run(t, func(o *listener.Options) { o.Limits.Head = 10 * time.Millisecond })
	c := r.dial(t)
	c.send("PRI * HTTP/2.0\r\n")
	c.ended()
	if n := r.count(listener.Slow); n != 1 {
		t.Errorf("%d were counted as slow", n)
	}
}

func TestHTTP2ClientsAreToldTheLimits(t *testing.T) {
	r := run(t, nil)
	c := r.dial(t)
	c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	head := make([]byte, 9)
	if _, err := io.ReadFull(c.in, head); err != nil {
		t.Fatal(err)
	}
	settings := make([]byte, head[2])
	if _, err := io.ReadFull(c.in, settings); err != nil {
		t.Fatal(err)
	}
	told := map[uint16]uint32{}
	for s := range slices.Chunk(settings, 6) {
		told[binary.BigEndian.Uint16(s)] = binary.BigEndian.Uint32(s[2:])
	}
	const streams, headBytes = 3, 6
	if told[streams] != 250 || told[headBytes] < 64<<10 || told[headBytes] > 65<<10 {
		t.Errorf("it was told %v", told)
	}
}

func TestADefectOfOursEndsOneConnectionAndIsTold(t *testing.T) {
	told := make(chan any, 1)
	var met atomic.Bool
	r := run(t, func(o *listener.Options) {
		serve := o.HTTP1
		o.HTTP1 = func(c *listener.Conn) {
			if met.CompareAndSwap(false, true) {
				panic("a defect")
			}
			serve(c)
		}
		o.Panicked = func(reason any, stack []byte) {
			if len(stack) > 0 {
				told <- reason
			}
		}
	})
	first := r.dial(t)
	first.send("GET /a HTTP/1.1\r\n\r\n")
	if reason := <-told; reason != "a defect" {
		t.Errorf("told of %v", reason)
	}
	first.ended()
	eventually(t, "the end of the connection", func() bool { return r.Connections() == 0 })
	c := r.dial(t)
	c.send("GET /b HTTP/1.1\r\n\r\n")
	if _, body := c.answer(); body != "GET /b HTTP/1.1" {
		t.Errorf("afterwards it was answered %q", body)
	}
}
