package conformance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// call is a gRPC client's connection through the proxy to a gRPC server.
type call struct {
	*grpc.ClientConn
	server *greeter
	front  *front
	yaml   string // of the front
	cell   *cell  // for what is no call
}

// TestGRPC runs gRPC's own client and server with the proxy in between.
func TestGRPC(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			if !listener.h2 || !backend.h2 {
				continue
			}
			t.Run(listener.name+" to "+backend.name, func(t *testing.T) {
				t.Parallel()
				var c *call
				if !holds(t, func(t testing.TB) {
					c = newCall(t, listener, backend)
					unaryPasses(t, c)
				}) {
					return
				}
				for _, p := range grpcPromises {
					check(t, p.name, func(t testing.TB) { p.keep(t, c) })
				}
			})
		}
	}
}

// TestStreamsOfGRPCMayStandStill has a stream on which nobody says anything for
// longer than a client may take for a piece of any other body, and an answer for
// one of its own.
func TestStreamsOfGRPCMayStandStill(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			if !listener.h2 || !backend.h2 {
				continue
			}
			check(t, listener.name+" to "+backend.name, func(t testing.TB) {
				c := newCall(t, listener, backend, "limits: {body_timeout: 50ms, head_timeout: 300ms}\n")
				s := c.stream(t, "Chat")
				tell(t, s, "before")
				if got := hear(t, s); got != "BEFORE" {
					t.Errorf("answered %q", got)
				}
				late := c.cell.wire(t) // a head that does not end, as a clock
				late.send("GET / HTTP/1.1\r\nHost:")
				if got := late.answer("GET").StatusCode; got != http.StatusRequestTimeout {
					t.Fatalf("the head was answered %d", got)
				}
				tell(t, s, "after")
				if got := hear(t, s); got != "AFTER" {
					t.Errorf("answered %q", got)
				}
				over(t, s)
			})
		}
	}
}

var grpcPromises = []struct {
	name string
	keep func(t testing.TB, c *call)
}{
	{"a call with one message each way", unaryPasses},
	{"a stream of requests", uploadPasses},
	{"a stream of answers", downloadPasses},
	{"both streams at once, message by message", chatPasses},
	{"a status with its message, metadata and trailers", statusPasses},
	{"an answer of trailers only", trailersOnlyPass},
	{"the deadline reaches the server", deadlinePasses},
	{"a cancelled call is cancelled at the server", cancelPasses},
	{"metadata in text and in binary", metadataPasses},
	{"large messages", largeMessagesPass},
	{"compressed messages", compressedMessagesPass},
	{"a hundred streams on one connection", manyStreamsPass},
}

// greeter is the server's side of the calls.
type greeter struct {
	seen      chan metadata.MD
	lingering chan bool  // whether calls of Linger have a deadline
	lingered  chan error // how they ended
}

const greeterName = "conformance.Greeter"

// description is what protoc would have made of the service.
func (g *greeter) description() *grpc.ServiceDesc {
	unary := func(name string, serve func(ctx context.Context, in string) (string, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in wrapperspb.StringValue
			if err := decode(&in); err != nil {
				return nil, err
			}
			out, err := serve(ctx, in.Value)
			return wrapperspb.String(out), err
		}}
	}
	stream := func(name string, client, server bool, serve func(s grpc.ServerStream) error) grpc.StreamDesc {
		return grpc.StreamDesc{StreamName: name, ClientStreams: client, ServerStreams: server, Handler: func(_ any, s grpc.ServerStream) error { return serve(s) }}
	}
	return &grpc.ServiceDesc{
		ServiceName: greeterName, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{unary("Greet", g.greet), unary("Fail", g.fail), unary("Until", g.until), unary("Linger", g.linger), unary("Look", g.look)},
		Streams: []grpc.StreamDesc{
			stream("Upload", true, false, g.upload), stream("Download", false, true, g.download), stream("Chat", true, true, g.chat),
		},
	}
}

func (g *greeter) greet(_ context.Context, in string) (string, error) { return "hello " + in, nil }

func (g *greeter) fail(ctx context.Context, in string) (string, error) {
	grpc.SetHeader(ctx, metadata.Pairs("x-head", "1"))
	grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "2", "x-trailer-bin", "\x00\xff"))
	return "", status.Error(codes.FailedPrecondition, "no: "+in)
}

// until answers how much time the client has left.
func (g *greeter) until(ctx context.Context, _ string) (string, error) {
	deadline, has := ctx.Deadline()
	if !has {
		return "", status.Error(codes.Internal, "the deadline did not arrive")
	}
	return time.Until(deadline).String(), nil
}

// linger answers when the client has gone.
func (g *greeter) linger(ctx context.Context, _ string) (string, error) {
	_, has := ctx.Deadline()
	g.lingering <- has
	<-ctx.Done()
	g.lingered <- ctx.Err()
	return "", nil
}

func (g *greeter) look(ctx context.Context, _ string) (string, error) {
	in, _ := metadata.FromIncomingContext(ctx)
	g.seen <- in
	return "", nil
}

func (g *greeter) upload(s grpc.ServerStream) error {
	var all []string
	for {
		var in wrapperspb.StringValue
		if err := s.RecvMsg(&in); errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.String(strings.Join(all, " ")))
		} else if err != nil {
			return err
		}
		all = append(all, in.Value)
	}
}

func (g *greeter) download(s grpc.ServerStream) error {
	var in wrapperspb.StringValue
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	for n := range 50 {
		if err := s.SendMsg(wrapperspb.String(fmt.Sprint(in.Value, n))); err != nil {
			return err
		}
	}
	return nil
}

func (g *greeter) chat(s grpc.ServerStream) error {
	for {
		var in wrapperspb.StringValue
		if err := s.RecvMsg(&in); errors.Is(err, io.EOF) {
			s.SetTrailer(metadata.Pairs("x-said", "bye"))
			return nil
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(wrapperspb.String(strings.ToUpper(in.Value))); err != nil {
			return err
		}
	}
}

func newCall(t testing.TB, listener, backend kind, more ...string) *call {
	t.Helper()
	id := newIdentity(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &greeter{seen: make(chan metadata.MD, 1), lingering: make(chan bool, 1), lingered: make(chan error, 1)}
	var options []grpc.ServerOption
	if backend.tls {
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&id.pair)))
	}
	server := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(largestMessage))...)
	server.RegisterService(g.description(), g)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	yaml := listener.listener(id) + "monolith: " + backend.backend(l.Addr().String(), id) + "\n" + strings.Join(more, "")
	f := start(t, yaml)
	secured := insecure.NewCredentials()
	if listener.tls {
		secured = credentials.NewTLS(&tls.Config{RootCAs: id.pool})
	}
	conn, err := grpc.NewClient("passthrough:///"+f.address, grpc.WithTransportCredentials(secured), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largestMessage)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &call{conn, g, f, yaml, &cell{listener: listener, front: f, id: id}}
}

// ask makes a call with one message each way.
func (c *call) ask(ctx context.Context, method, message string, options ...grpc.CallOption) (string, error) {
	var out wrapperspb.StringValue
	err := c.Invoke(ctx, "/"+greeterName+"/"+method, wrapperspb.String(message), &out, options...)
	return out.Value, err
}

func unaryPasses(t testing.TB, c *call) {
	if got, err := c.ask(guarded(t), "Greet", "world"); err != nil || got != "hello world" {
		t.Fatalf("answered %q: %v", got, err)
	}
}

// guarded returns a context that ends what hangs.
func guarded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	t.Cleanup(cancel)
	return ctx
}

func (c *call) stream(t testing.TB, method string) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(guarded(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+greeterName+"/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tell(t testing.TB, s grpc.ClientStream, message string) {
	t.Helper()
	if err := s.SendMsg(wrapperspb.String(message)); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, s grpc.ClientStream) string {
	t.Helper()
	var out wrapperspb.StringValue
	if err := s.RecvMsg(&out); err != nil {
		t.Fatal(err)
	}
	return out.Value
}

// over closes the client's side and expects the server's end.
func over(t testing.TB, s grpc.ClientStream) {
	t.Helper()
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&wrapperspb.StringValue{}); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v", err)
	}
}
