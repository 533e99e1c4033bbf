package http1_test

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

// FuzzRequest holds that what is taken for a request is taken for the same one
// by the standard library, and by ourselves when it is written out again.
func FuzzRequest(f *testing.F) {
	for _, cases := range refusals {
		for _, text := range cases {
			if len(text) < 1000 {
				f.Add(text)
			}
		}
	}
	f.Add("POST /a?b=c HTTP/1.1\r\nHost: shop:80\r\nContent-Length: 3\r\nConnection: keep-alive, x\r\nX: 1\r\n\r\n")
	f.Add("\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := http1.HeadEnd([]byte(text), 0)
		if n == 0 {
			return
		}
		var r http1.Request
		if r.Parse(text[:n], limits) != nil {
			return
		}
		var again http1.Request
		if err := again.Parse(written(&r), limits); err != nil || !equal(r, again) || !slices.Equal(r.Fields, again.Fields) {
			t.Fatalf("%q written again is read as %+v, %v", text[:n], again, err)
		}
		std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(written(&r))))
		if err != nil {
			if picky(err.Error()) {
				return
			}
			t.Fatalf("%q: the standard library does not read it: %v", text[:n], err)
		}
		if std.Method != r.Method || std.RequestURI != r.Target || !strings.EqualFold(std.Host, r.Host) || std.ContentLength != r.Length && std.Header.Get("Upgrade") == "" {
			t.Fatalf("%q: the standard library reads %s %s of %q, length %d", text[:n], std.Method, std.RequestURI, std.Host, std.ContentLength)
		}
	})
}

// picky tells what the standard library refuses although nobody could read it
// in another way: paths and hosts that package url does not like.
func picky(err string) bool {
	return strings.HasPrefix(err, "parse ") || strings.HasPrefix(err, "malformed Host") || strings.Contains(err, "invalid URI")
}

func written(r *http1.Request) string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Target + " HTTP/1." + string(rune('0'+r.Minor)) + "\r\n")
	for _, f := range r.Fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	return b.String() + "\r\n"
}

// FuzzResponse holds that an answer that is read says one thing about its
// length.
func FuzzResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET")
	f.Add("HTTP/1.0 200\nX: a\n b\n\n", "HEAD")
	f.Add("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET")
	f.Fuzz(func(t *testing.T, text, method string) {
		n := http1.HeadEnd([]byte(text), 0)
		if n == 0 {
			return
		}
		var r http1.Response
		if r.Parse(text[:n], method, limits) != nil {
			return
		}
		if r.Length < http1.UntilClose || r.Status < 100 || r.Status > 999 || r.Length == http1.UntilClose && !r.Close {
			t.Fatalf("%q is read as %+v", text[:n], r)
		}
		for i, f := range r.Fields {
			if strings.ContainsAny(f.Name+f.Value, "\r\n\x00") {
				t.Fatalf("field %d of %q is %q", i, text[:n], f)
			}
		}
	})
}

// FuzzChunks holds that a body is the same however it arrives.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\nrest"), uint8(1))
	f.Add([]byte("a;x=y\r\n0123456789\r\n0\r\nX: 1\r\n\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		body, rest, trailers, err := chunks(in, func(n int) int { return n })
		body2, rest2, trailers2, err2 := chunks(in, func(n int) int { return min(n, 1+int(step)) })
		if (err == nil) != (err2 == nil) || err == nil && (!bytes.Equal(body, body2) || !bytes.Equal(rest, rest2) || !slices.Equal(trailers, trailers2)) {
			t.Fatalf("%q: %q %q %v %v in one, %q %q %v %v in pieces", in, body, rest, trailers, err, body2, rest2, trailers2, err2)
		}
	})
}
