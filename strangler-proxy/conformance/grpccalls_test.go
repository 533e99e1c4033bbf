package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func uploadPasses(t testing.TB, c *call) {
	s := c.stream(t, "Upload")
	var want []string
	for n := range 50 {
		want = append(want, fmt.Sprint(n))
		tell(t, s, fmt.Sprint(n))
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if got := hear(t, s); got != strings.Join(want, " ") {
		t.Errorf("answered %q", got)
	}
}

func downloadPasses(t testing.TB, c *call) {
	s := c.stream(t, "Download")
	tell(t, s, "n")
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		if got := hear(t, s); got != fmt.Sprint("n", n) {
			t.Fatalf("message %d is %q", n, got)
		}
	}
	if err := s.RecvMsg(&wrapperspb.StringValue{}); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v", err)
	}
}

func chatPasses(t testing.TB, c *call) {
	s := c.stream(t, "Chat")
	for n := range 50 { // each is said when the one before has been answered
		tell(t, s, fmt.Sprint("word", n))
		if got := hear(t, s); got != fmt.Sprint("WORD", n) {
			t.Fatalf("message %d was answered %q", n, got)
		}
	}
	over(t, s)
	if got := s.Trailer().Get("x-said"); !slices.Equal(got, []string{"bye"}) {
		t.Errorf("the trailers are %v", s.Trailer())
	}
}

func statusPasses(t testing.TB, c *call) {
	var head, trailer metadata.MD
	_, err := c.ask(guarded(t), "Fail", "not äß now", grpc.Header(&head), grpc.Trailer(&trailer))
	if got := status.Convert(err); got.Code() != codes.FailedPrecondition || got.Message() != "no: not äß now" {
		t.Errorf("answered %v", err)
	}
	if !slices.Equal(head.Get("x-head"), []string{"1"}) || !slices.Equal(trailer.Get("x-trailer"), []string{"2"}) || !slices.Equal(trailer.Get("x-trailer-bin"), []string{"\x00\xff"}) {
		t.Errorf("the metadata are %v and %v", head, trailer)
	}
}

func trailersOnlyPass(t testing.TB, c *call) {
	_, err := c.ask(guarded(t), "Nobody", "")
	if got := status.Convert(err); got.Code() != codes.Unimplemented || !strings.Contains(got.Message(), "unknown method Nobody") {
		t.Errorf("answered %v", err)
	}
}

func deadlinePasses(t testing.TB, c *call) {
	got, err := c.ask(guarded(t), "Until", "")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := time.ParseDuration(got); err != nil || left <= 0 || left > guard {
		t.Errorf("the server has %s left: %v", got, err)
	}
}

func cancelPasses(t testing.TB, c *call) {
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := c.ask(ctx, "Linger", "")
		answered <- err
	}()
	if receive(t, "the call", c.server.lingering) {
		t.Error("a deadline was made up")
	}
	cancel()
	if err := receive(t, "the answer", answered); status.Code(err) != codes.Canceled {
		t.Errorf("answered %v", err)
	}
	if err := receive(t, "the end at the server", c.server.lingered); err == nil {
		t.Error("the server's call was not cancelled")
	}
}

func metadataPasses(t testing.TB, c *call) {
	ctx := metadata.AppendToOutgoingContext(guarded(t), "x-many", "1", "x-many", "2", "x-raw-bin", "\x00\x01\xfe", "authorization", "Bearer x")
	if _, err := c.ask(ctx, "Look", ""); err != nil {
		t.Fatal(err)
	}
	got := receive(t, "the call", c.server.seen)
	for key, want := range map[string][]string{"x-many": {"1", "2"}, "x-raw-bin": {"\x00\x01\xfe"}, "authorization": {"Bearer x"}, "te": nil} {
		if !slices.Equal(got.Get(key), want) {
			t.Errorf("%s arrived as %q", key, got.Get(key))
		}
	}
}

func largeMessagesPass(t testing.TB, c *call) {
	message := strings.Repeat("0123456789abcdef", 300_000)
	if got, err := c.ask(guarded(t), "Greet", message); err != nil || got != "hello "+message {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
}

func compressedMessagesPass(t testing.TB, c *call) {
	message := strings.Repeat("x", 100_000)
	if got, err := c.ask(guarded(t), "Greet", message, grpc.UseCompressor(gzip.Name)); err != nil || got != "hello "+message {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
}

func manyStreamsPass(t testing.TB, c *call) {
	streams := make([]grpc.ClientStream, 100)
	for n := range streams {
		streams[n] = c.stream(t, "Chat")
		tell(t, streams[n], fmt.Sprint("a", n))
	}
	var wait sync.WaitGroup
	for n, s := range streams { // all of them are open now
		wait.Go(func() {
			if got := hear(t, s); got != fmt.Sprint("A", n) {
				t.Errorf("stream %d was answered %q", n, got)
			}
			over(t, s)
		})
	}
	wait.Wait()
}
