package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/socket"
	"stranglerfig/strangler-proxy/upstream"
)

// TestABackendThatStopsSendingJustBeforeItIsAskedIsNotWaitedFor although whoever
// took its connection saw nothing of it: reads are asked again over another one,
// writes are not, and nobody waits for as long as an answer may take.
func TestABackendThatStopsSendingJustBeforeItIsAskedIsNotWaitedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{"http://" + l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	attempt, err := b.Begin(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	up, err := attempt.Conn(context.Background(), upstream.Want{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer attempt.End(upstream.Undecided, time.Now())
	defer up.Close()
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	theirs.(*net.TCPConn).CloseWrite()
	seen, err := socket.New(up.TCP())
	if err != nil {
		t.Fatal(err)
	}
	for seen.Quiet() {
		runtime.Gosched() // until the kernel has heard of it
	}

	near, far := net.Pipe()
	defer far.Close()
	c := &conn{proxy: &Proxy{o: Options{Limits: Limits{}.withDefaults()}}, client: &listener.Conn{Conn: near}, up: up}
	const question = "GET / HTTP/1.1\r\n\r\n"
	begun := c.look()
	err = c.readBack(time.Hour, []byte(question))
	if !errors.Is(err, io.ErrUnexpectedEOF) || time.Since(begun) > time.Minute {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	if mayRepeat(b, http.MethodPost, false, err) || mayRepeat(b, http.MethodPost, true, err) {
		t.Error("a write would be sent twice")
	}
	if !mayRepeat(b, http.MethodGet, false, err) {
		t.Error("a read would not be asked again")
	}
	c.part()
	if heard, err := io.ReadAll(theirs); err != nil || string(heard) != question {
		t.Errorf("the backend heard %q, %v", heard, err)
	}
}
