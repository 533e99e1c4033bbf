package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

var websocketPromises = []promise{
	{name: "a WebSocket carries messages both ways", keep: socketCarries, only: onlyHTTP1},
	{name: "a WebSocket's subprotocol is agreed on end to end", keep: socketAgrees, only: onlyHTTP1},
	{name: "a WebSocket's close code arrives, whoever closes", keep: socketCloses, only: onlyHTTP1},
	{name: "a WebSocket that its client abandons ends at the backend", keep: socketEnds, only: onlyHTTP1},
	{name: "a WebSocket that the backend refuses is an answer like any other", keep: socketRefused, only: onlyHTTP1},
	{name: "a WebSocket for a backend that speaks HTTP/2 is a request like any other", keep: socketIsARequest, only: onlyToHTTP2},
}

const largestMessage = 8 << 20

// socket serves WebSockets at a path of its own.
func (c *cell) socket(t testing.TB, serve func(ctx context.Context, s *websocket.Conn)) (path string) {
	return c.app.at(func(w http.ResponseWriter, r *http.Request) {
		s, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat.v2", "chat.v1"}})
		if err != nil {
			t.Errorf("the backend could not accept: %v", err)
			return
		}
		defer s.CloseNow()
		s.SetReadLimit(largestMessage)
		serve(r.Context(), s)
	})
}

// dial opens a WebSocket through the proxy.
func (c *cell) dial(t testing.TB, path string, protocols ...string) (context.Context, *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	t.Cleanup(cancel)
	s, _, err := websocket.Dial(ctx, c.listener.scheme()+"://"+c.front.address+path, &websocket.DialOptions{HTTPClient: c.client(t), Subprotocols: protocols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.CloseNow() })
	s.SetReadLimit(largestMessage)
	return ctx, s
}

// echo sends back what comes until the client closes.
func echo(ctx context.Context, s *websocket.Conn) {
	for {
		kind, message, err := s.Read(ctx)
		if err != nil {
			return
		}
		if s.Write(ctx, kind, message) != nil {
			return
		}
	}
}

func socketCarries(t testing.TB, c *cell) {
	ctx, s := c.dial(t, c.socket(t, echo))
	for _, size := range []int{0, 1, 125, 126, 65_535, 65_536, 4 << 20} {
		sent := bytes.Repeat([]byte{0xa5}, size)
		written := make(chan error, 1)
		go func() { written <- s.Write(ctx, websocket.MessageBinary, sent) }()
		kind, back, err := s.Read(ctx)
		if err != nil || kind != websocket.MessageBinary || !bytes.Equal(back, sent) {
			t.Fatalf("a message of %d bytes came back as %v of %d: %v", size, kind, len(back), err)
		}
		if err := receive(t, "the message", written); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(ctx, websocket.MessageText, []byte("grüß")); err != nil {
		t.Fatal(err)
	}
	if kind, back, err := s.Read(ctx); err != nil || kind != websocket.MessageText || string(back) != "grüß" {
		t.Errorf("a text came back as %v %q: %v", kind, back, err)
	}
}

func socketAgrees(t testing.TB, c *cell) {
	agreed := make(chan string, 1)
	path := c.socket(t, func(ctx context.Context, s *websocket.Conn) {
		agreed <- s.Subprotocol()
		echo(ctx, s)
	})
	_, s := c.dial(t, path, "chat.v3", "chat.v2")
	if there := receive(t, "the socket", agreed); there != "chat.v2" || s.Subprotocol() != "chat.v2" {
		t.Errorf("the backend speaks %q, the client %q", there, s.Subprotocol())
	}
}

func socketCloses(t testing.TB, c *cell) {
	ctx, s := c.dial(t, c.socket(t, func(_ context.Context, s *websocket.Conn) { s.Close(4321, "enough") }))
	var closed websocket.CloseError
	if _, _, err := s.Read(ctx); !asClose(err, &closed) || closed.Code != 4321 || closed.Reason != "enough" {
		t.Errorf("the backend's close arrived as %v", err)
	}
	heard := make(chan error, 1)
	_, s = c.dial(t, c.socket(t, func(ctx context.Context, s *websocket.Conn) {
		_, _, err := s.Read(ctx)
		heard <- err
	}))
	if err := s.Close(4322, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := receive(t, "the close", heard); !asClose(err, &closed) || closed.Code != 4322 || closed.Reason != "bye" {
		t.Errorf("the client's close arrived as %v", err)
	}
}

func asClose(err error, to *websocket.CloseError) bool {
	*to = websocket.CloseError{}
	return websocket.CloseStatus(err) >= 0 && errors.As(err, to)
}

func socketEnds(t testing.TB, c *cell) {
	ended := make(chan error, 1)
	path := c.socket(t, func(_ context.Context, s *websocket.Conn) {
		_, _, err := s.Read(context.Background())
		ended <- err
	})
	_, s := c.dial(t, path)
	if err := s.CloseNow(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the end at the backend", ended); err == nil {
		t.Error("the backend received a message that nobody sent")
	}
}

func socketRefused(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Why", "not today")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "no")
	})
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	_, res, err := websocket.Dial(ctx, c.listener.scheme()+"://"+c.front.address+path, &websocket.DialOptions{HTTPClient: c.client(t)})
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden || res.Header.Get("X-Why") != "not today" {
		t.Errorf("the refusal arrived as %+v: %v", res, err)
	}
}

func onlyToHTTP2(listener, backend kind) bool { return !listener.h2 && backend.h2 }

func socketIsARequest(t testing.TB, c *cell) {
	there := make(chan http.Header, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		there <- r.Header
		w.WriteHeader(http.StatusUpgradeRequired)
	})
	w := c.wire(t)
	for range 2 { // the connection goes on
		w.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if got := w.answer("GET"); got.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("answered %s", got.Status)
		}
		if got := receive(t, "the request", there); got.Get("Upgrade") != "" || got.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("it arrived with %v", got)
		}
	}
}
