package conformance

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed is a hostile HTTP/2 request. What is to become of it is "+" where it
// is forwarded, "no" where it is not, "?" where its body breaks off and either
// may be.
type framed struct {
	name    string
	fields  []string // names and values in turn, in place of or behind the usual ones
	body    string
	trailer []string
	becomes string
}

// pseudo is what begins a request, where a vector has nothing else.
var pseudo = [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "shop"}, {":path", "{}/first"}}

// framedVectors are what the grid sends over HTTP/2, most of it for whoever
// translates it to HTTP/1.1.
var framedVectors = []framed{
	{"a body that looks like a request", nil, smuggled, nil, "+"},
	{"a body that looks like chunks and a request", nil, lastOne + smuggled, nil, "+"},
	{"a body of GET that looks like a request", []string{":method", "GET"}, smuggled, nil, "+"},
	{"a length of nothing before a body", []string{"content-length", "0"}, smuggled, nil, "?"},
	{"a length shorter than the body", []string{"content-length", "5"}, "hello" + smuggled, nil, "?"},
	{"a length longer than the body", []string{"content-length", "500"}, smuggled, nil, "?"},
	{"two lengths", []string{"content-length", "5", "content-length", "50"}, "hello" + smuggled, nil, "?"},
	{"a list of lengths", []string{"content-length", "5, 50"}, "hello" + smuggled, nil, "?"},
	{"a length with a sign", []string{"content-length", "+5"}, "hello" + smuggled, nil, "?"},
	{"an encoding", []string{"transfer-encoding", "chunked"}, lastOne + smuggled, nil, "no"},
	{"an encoding that is none", []string{"transfer-encoding", "identity"}, smuggled, nil, "no"},
	{"an encoding behind a line end", []string{"x-line", "a\r\ntransfer-encoding: chunked"}, lastOne + smuggled, nil, "no"},
	{"an encoding behind a bare line feed", []string{"x-line", "a\ntransfer-encoding: chunked"}, lastOne + smuggled, nil, "no"},
	{"an encoding in a name", []string{"x: a\r\ntransfer-encoding", "chunked"}, lastOne + smuggled, nil, "no"},
	{"an encoding with a blank in its name", []string{"transfer-encoding ", "chunked"}, lastOne + smuggled, nil, "no"},
	{"an encoding with a colon in its name", []string{"transfer-encoding:", "chunked"}, lastOne + smuggled, nil, "no"},
	{"an encoding in capitals", []string{"Transfer-Encoding", "chunked"}, lastOne + smuggled, nil, "no"},
	{"a request in a value", []string{"x-line", "a\r\n\r\nGET {}/smuggled HTTP/1.1\r\nHost: shop"}, "", nil, "no"},
	{"NUL in a value", []string{"x-nul", "a\x00b"}, "", nil, "no"},
	{"a name without letters", []string{"", "a"}, "", nil, "no"},
	{"a request in the path", []string{":path", "{}/first HTTP/1.1\r\nHost: shop\r\n\r\nGET {}/smuggled"}, "", nil, "no"},
	{"a blank in the path", []string{":path", "{}/first HTTP/1.1"}, "", nil, "no"},
	{"a line end in the query", []string{":path", "{}/first?a\r\nX: b"}, "", nil, "no"},
	{"NUL in the path", []string{":path", "{}/first\x00"}, "", nil, "no"},
	{"an empty path", []string{":path", ""}, "", nil, "no"},
	{"* for a path", []string{":path", "*"}, "", nil, "no"},
	{"two paths", []string{":path", "{}/first", ":path", "{}/smuggled"}, "", nil, "no"},
	{"a path behind a field", []string{"x-before", "1", ":path", "{}/smuggled"}, "", nil, "no"},
	{"an unknown pseudo field", []string{":shop", "1"}, "", nil, "no"},
	{"a request in the method", []string{":method", "GET {}/smuggled HTTP/1.1\r\nX:"}, "", nil, "no"},
	{"a line end in the authority", []string{":authority", "shop\r\nX: y"}, "", nil, "no"},
	{"another host beside the authority", []string{"host", "other"}, "", nil, "?"},
	{"two hosts beside the authority", []string{"host", "other", "host", "third"}, "", nil, "?"},
	{"a scheme that is a URL", []string{":scheme", "http://other/x?"}, "", nil, "?"},
	{"Connection", []string{"connection", "close, x-forwarded-for"}, "", nil, "no"},
	{"an upgrade", []string{"upgrade", "websocket"}, "", nil, "no"},
	{"TE with a coding", []string{"te", "gzip"}, "", nil, "no"},
	{"a line end in a cookie", []string{"cookie", "a=b\r\nX: y"}, "", nil, "no"},
	{"trailers that frame", nil, "hello", []string{"content-length", "44", "transfer-encoding", "chunked"}, "?"},
	{"a path in trailers", nil, "hello", []string{":path", "{}/smuggled"}, "?"},
	{"a line end in trailers", []string{"trailer", "x-line"}, "hello", []string{"x-line", "a\r\n\r\n" + smuggled}, "?"},
	{"CONNECT", []string{":method", "CONNECT"}, "", nil, "no"},
}

// own is the path that a vector of HTTP/2 has for itself.
func (v framed) own(number int) string { return fmt.Sprintf("/h%03d", number) }

// list is the vector's header as it is sent.
func (v framed) list(own string) [][2]string {
	given := pairs(v.fields, own)
	var all [][2]string
	for _, usual := range pseudo {
		if len(given) > 0 && given[0][0] == usual[0] {
			all, given = append(all, given[0]), given[1:]
			continue
		}
		all = append(all, [2]string{usual[0], strings.ReplaceAll(usual[1], "{}", own)})
	}
	return append(all, given...)
}

// pairs puts names and values together.
func pairs(words []string, own string) [][2]string {
	var all [][2]string
	for i := 0; i+1 < len(words); i += 2 {
		all = append(all, [2]string{strings.ReplaceAll(words[i], "{}", own), strings.ReplaceAll(words[i+1], "{}", own)})
	}
	return all
}

// send sends a vector on a connection of its own and waits for what comes of
// it, which is the log's to say.
func (v framed) send(t testing.TB, address, own string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(guard)); err != nil {
		t.Error(err)
		return
	}
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	frames := http2.NewFramer(&out, conn)
	frames.AllowIllegalWrites = true
	table := hpackOf()
	write := func(err error) {
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
	write(frames.WriteSettings())
	write(frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: table(v.list(own)), EndHeaders: true, EndStream: v.body == ""}))
	if v.body != "" {
		write(frames.WriteData(1, v.trailer == nil, []byte(strings.ReplaceAll(v.body, "{}", own))))
	}
	if v.trailer != nil {
		write(frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: table(pairs(v.trailer, own)), EndHeaders: true, EndStream: true}))
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		return // hung up on already
	}
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return
		case *http2.DataFrame:
			if frame.StreamEnded() {
				return
			}
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				return
			}
		}
	}
}

// hpackOf returns what encodes header lists of one connection.
func hpackOf() func(list [][2]string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	return func(list [][2]string) []byte {
		block.Reset()
		for _, f := range list {
			if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
				panic(err) // a buffer takes everything
			}
		}
		return bytes.Clone(block.Bytes())
	}
}
