package http1_test

import (
	"bytes"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

func TestReadingAllocatesNothing(t *testing.T) {
	request := "GET /api/v1/orders/7?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: session=abcdef; other=x\r\nAuthorization: Bearer abcdef\r\nConnection: keep-alive\r\n\r\n"
	answer := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 340\r\nDate: Mon, 01 Jan 2029 00:00:00 GMT\r\nCache-Control: no-store\r\n\r\n"
	raw := []byte(request)
	body := []byte("5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")
	var r http1.Request
	var a http1.Response
	n := testing.AllocsPerRun(100, func() {
		if http1.HeadEnd(raw, 0) != len(raw) || r.Parse(request, limits) != nil || a.Parse(answer, "GET", limits) != nil {
			t.Error("not read")
		}
		var c http1.Chunks
		for in := body; len(in) > 0; {
			_, n, _, err := c.Next(in)
			if err != nil {
				t.Error(err)
			}
			in = in[n:]
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	request := "GET /api/v1/orders/7?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: session=abcdef; other=x\r\nAuthorization: Bearer abcdef\r\nX-Something: something that is a little longer than the others\r\nConnection: keep-alive\r\n\r\n"
	raw := []byte(request)
	var r http1.Request
	for b.Loop() {
		if http1.HeadEnd(raw, 0) == 0 || r.Parse(request, limits) != nil {
			b.Fatal("not read")
		}
	}
}

// BenchmarkEmptyLines shows that what a client may send for nothing is looked
// at once.
func BenchmarkEmptyLines(b *testing.B) {
	flood := []byte(strings.Repeat("\r\n", 32<<10))
	b.SetBytes(int64(len(flood)))
	for b.Loop() {
		if http1.HeadEnd(flood, 0) != 0 {
			b.Fatal("a head was found")
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	answer := "HTTP/1.1 200 OK\r\nServer: shop\r\nContent-Type: application/json\r\nContent-Length: 340\r\nDate: Mon, 01 Jan 2029 00:00:00 GMT\r\nCache-Control: no-store\r\n\r\n"
	raw := []byte(answer)
	var r http1.Response
	for b.Loop() {
		if http1.HeadEnd(raw, 0) == 0 || r.Parse(answer, "GET", limits) != nil {
			b.Fatal("not read")
		}
	}
}

func BenchmarkChunks(b *testing.B) {
	body := append(bytes.Repeat(append([]byte("1000\r\n"), append(make([]byte, 4<<10), "\r\n"...)...), 16), "0\r\n\r\n"...)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		var c http1.Chunks
		done := false
		for in := body; !done; {
			_, n, ended, err := c.Next(in)
			if err != nil || n == 0 {
				b.Fatal(n, err)
			}
			in, done = in[n:], ended
		}
	}
}
