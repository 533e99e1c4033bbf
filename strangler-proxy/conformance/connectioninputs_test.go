package conformance

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// connectionInputs go wrong with connections.
var connectionInputs = []input{
	{"a client that only looks whether somebody listens", "nothing: it is neither refused nor logged", "", inClear, func(t testing.TB, s *stage) {
		for range 20 {
			connect(t, s.front.address, false).Close()
		}
		s.isWell(t)
		if n := s.front.number(t, "strangler_refused_total"); n != 0 {
			t.Errorf("%v were counted as refused", n)
		}
	}},
	{"a client that leaves in the middle of a head", "nothing is forwarded", "", inClear, func(t testing.TB, s *stage) {
		w := s.wire(t)
		w.send("GET " + s.untouched(t) + host + "X-Half: ")
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		w.isOver()
	}},
	{"a client that closes its sending side behind its request", "that counts as leaving: the backend's call is broken off, unless it has been answered", "", inClear, func(t testing.TB, s *stage) {
		asked, broken := make(chan bool, 1), make(chan error, 1)
		w := s.wire(t)
		w.send("GET " + s.script.at(func(l *line, _ string) bool {
			asked <- true
			_, err := l.body(1)
			broken <- err
			return false
		}) + host + "\r\n")
		receive(t, "the request", asked)
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if receive(t, "the end of the call", broken) == nil {
			t.Error("the backend got something else")
		}
		w.isOver()
	}},
	{"ten thousand requests in one go, and no answer read", "they are answered one after the other: the next one is forwarded when the answer before it has been taken", "", inClear, func(t testing.TB, s *stage) {
		const requests = 10_000
		var asked atomic.Int64
		path := s.script.at(func(l *line, _ string) bool {
			asked.Add(1)
			_, err := io.WriteString(l, "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n"+string(pattern[:]))
			return err == nil
		})
		w := s.wire(t)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(w, strings.Repeat("GET "+path+host+"\r\n", requests))
			sent <- err
		}()
		standstill(t, &asked)
		if n := asked.Load(); n > 1000 {
			t.Errorf("%d answers of 64 KiB were fetched for nobody", n)
		}
		w.Close()
		<-sent
	}},
	{"more connections than `limits.connections`", "503, and the connection ends; under TLS it just ends", small, inClear, func(t testing.TB, s *stage) {
		path := s.script.at(say(empty))
		var held []*wire
		for more := true; more; {
			w := s.wire(t)
			io.WriteString(w, "GET "+path+host+"\r\n")
			res, err := http.ReadResponse(w.in, nil) // a refused one may be reset before it is read
			if more = err == nil && res.StatusCode == 200; more {
				held = append(held, w)
			}
		}
		if len(held) > 8 {
			t.Errorf("there are %d connections", len(held))
		}
		if got := s.wire(t).answer("GET"); got.StatusCode != 503 {
			t.Errorf("one more was answered %s", got.Status)
		}
		for _, w := range held { // those that are there are served on
			w.send("GET " + path + host + "Connection: close\r\n\r\n")
			if got := w.answer("GET").StatusCode; got != 200 {
				t.Errorf("answered %d", got)
			}
		}
		eventually(t, "the connections count no more", func() bool {
			w := s.wire(t)
			defer w.Close()
			io.WriteString(w, "GET "+path+host+"\r\n")
			res, err := http.ReadResponse(w.in, nil)
			return err == nil && res.StatusCode == 200
		})
	}},
	{"more requests than `limits.requests`", "503 with `Retry-After`; the connection goes on", small, inClear, func(t testing.TB, s *stage) {
		begun, go1 := make(chan bool, 2), make(chan struct{})
		path := s.script.at(func(l *line, _ string) bool {
			begun <- true
			<-go1
			_, err := io.WriteString(l, empty)
			return err == nil
		})
		var busy []*wire
		for range 2 {
			w := s.wire(t)
			w.send("GET " + path + host + "\r\n")
			receive(t, "the request", begun)
			busy = append(busy, w)
		}
		w := s.wire(t)
		for range 3 {
			w.send("GET " + s.untouched(t) + host + "\r\n")
			if got := w.answer("GET"); got.StatusCode != 503 || got.Header.Get("Retry-After") == "" {
				t.Errorf("one more was answered %s with %v", got.Status, got.Header)
			}
		}
		close(go1)
		for _, w := range busy {
			if got := w.answer("GET").StatusCode; got != 200 {
				t.Errorf("answered %d", got)
			}
		}
	}},
	{"a TLS handshake that stops", "the connection ends (`limits.head_timeout`)", small, overTLS, func(t testing.TB, s *stage) {
		w := connect(t, s.front.address, false)
		w.send("\x16\x03\x01")
		w.isOver()
	}},
	{"TLS 1.1", "the handshake fails", "", overTLS, func(t testing.TB, s *stage) {
		conn, err := tls.Dial("tcp", s.front.address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err == nil {
			conn.Close()
			t.Error("it was agreed on")
		}
	}},
}

// framedInputs come over HTTP/2.
var framedInputs = []input{
	{"HTTP/2: a thousand requests, each cancelled at once", "their calls are cancelled or never made; others are answered", "", inClear, func(t testing.TB, s *stage) {
		c := s.framed(t)
		path := s.script.at(func(l *line, _ string) bool {
			io.Copy(io.Discard, l.in) // until somebody cancels
			return false
		})
		for n := range 1000 {
			id := uint32(2*n + 1)
			c.ask(id, true, "GET", path)
			if err := c.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
				break // hung up on
			}
		}
		s.isWell(t)
	}},
	{"HTTP/2: a header without end", "the connection ends", "", inClear, func(t testing.TB, s *stage) {
		c := s.framed(t)
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.table([][2]string{{":method", "GET"}, {":path", s.untouched(t)}}), EndStream: true})
		for n := 0; ; n++ {
			if err := c.WriteContinuation(1, false, c.table([][2]string{{fmt.Sprint("x-", n), strings.Repeat("x", 1000)}})); err != nil {
				return
			}
			if n > 100_000 {
				t.Fatal("100 MB of it were taken")
			}
		}
	}},
	{"HTTP/2: a flood of PING whose answers are not read", "the connection ends", "", inClear, func(t testing.TB, s *stage) {
		c := s.framed(t)
		lot := bytes.Repeat([]byte{0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 1000)
		for n := 0; ; n++ {
			if _, err := c.conn.Write(lot); err != nil {
				return
			}
			if n > 100_000 {
				t.Fatal("a hundred million were taken")
			}
		}
	}},
	{"HTTP/2: a body that stops", "408 when no byte has come for `limits.body_timeout`; the backend's call is broken off", small, inClear, func(t testing.TB, s *stage) {
		broken := make(chan error, 1)
		c := s.framed(t)
		c.ask(1, false, "POST", s.script.at(func(l *line, _ string) bool {
			_, _, err := l.chunked()
			broken <- err
			return false
		}))
		if err := c.WriteData(1, false, []byte("half")); err != nil {
			t.Fatal(err)
		}
		if receive(t, "the end of the call", broken) == nil {
			t.Error("the backend got a whole body")
		}
		if got := c.status(1); got != "408" {
			t.Errorf("answered %s", got)
		}
	}},
	{"HTTP/2: a client that does not read its answer", "the request ends when no byte was taken for `limits.body_timeout`; the backend's call is broken off, the connection goes on", small, inClear, func(t testing.TB, s *stage) {
		stopped := make(chan int64, 1)
		c := s.framed(t)
		c.ask(1, true, "GET", s.script.at(func(l *line, _ string) bool {
			io.WriteString(l, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			n, _ := io.Copy(l, io.LimitReader(endless{}, 1_000_000_000))
			stopped <- n
			return false
		})) // its window is never opened again
		if n := receive(t, "the end of the call", stopped); n > 100_000_000 {
			t.Errorf("%d bytes were taken from the backend", n)
		}
		c.ask(3, true, "HEAD", s.script.at(say(empty)))
		if got := c.status(3); got != "200" {
			t.Errorf("the next request was answered %s", got)
		}
	}},
	{"HTTP/2: a method that HTTP/1.1 cannot carry", "400; it does not count against the backend", "", inClear, func(t testing.TB, s *stage) {
		c := s.framed(t)
		for n := range 20 {
			id := uint32(2*n + 1)
			c.ask(id, true, "GET /x", s.untouched(t))
			if got := c.status(id); got != "400" {
				t.Errorf("answered %s", got)
			}
		}
	}},
	{"HTTP/2: an authority that is no host", "400: otherwise the backend would be told another host than the one that was routed by", "", inClear, func(t testing.TB, s *stage) {
		c := s.framed(t)
		path := s.untouched(t)
		for n, authority := range []string{"shop/x", "shop x", "shop?x", "user@shop"} {
			id := uint32(2*n + 1)
			c.header(id, true, [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", authority}, {":path", path}})
			if got := c.status(id); got != "400" && got != "PROTOCOL_ERROR" {
				t.Errorf("%q was answered %s", authority, got)
			}
		}
	}},
}

// framedLine is a client's HTTP/2 connection, frame by frame.
type framedLine struct {
	*http2.Framer
	t     testing.TB
	conn  net.Conn
	table func(list [][2]string) []byte
}

func (s *stage) framed(t testing.TB) *framedLine {
	t.Helper()
	conn, err := net.Dial("tcp", s.front.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(guard)); err != nil {
		t.Fatal(err)
	}
	c := &framedLine{http2.NewFramer(conn, conn), t, conn, hpackOf()}
	c.AllowIllegalWrites, c.ReadMetaHeaders = true, hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends the usual header of a request.
func (c *framedLine) ask(id uint32, ends bool, method, path string) {
	c.header(id, ends, [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "shop"}, {":path", path}})
}

// header sends the header of a request, if anybody takes it.
func (c *framedLine) header(id uint32, ends bool, list [][2]string) {
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: ends, BlockFragment: c.table(list)})
}

// status waits for the answer to a request: its status, or how it ended.
func (c *framedLine) status(id uint32) string {
	c.t.Helper()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			if frame.StreamID == id {
				return frame.ErrCode.String()
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamID == id {
				return frame.PseudoValue("status")
			}
		}
	}
}
