package http1_test

import (
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
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
	f.Fuzz(func(t *testing.T, text string) {
		n := headEnd(t, text)
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
		if difference := unlikeStandard(text[:n], &r); difference != "" {
			t.Fatalf("%q: the standard library reads %s", text[:n], difference)
		}
	})
}

// headEnd finds the end of a head, in one piece and byte by byte.
func headEnd(t *testing.T, text string) int {
	whole := http1.HeadEnd([]byte(text), 0)
	seen, pieces := 0, 0
	for n := 1; n <= len(text) && pieces == 0; n++ {
		pieces = http1.HeadEnd([]byte(text[:n]), seen)
		seen = n
	}
	if whole != pieces {
		t.Fatalf("%q ends at %d in one piece, at %d byte by byte", text, whole, pieces)
	}
	return whole
}

// FuzzResponse holds that an answer that is read says one thing about its
// length, and says it again when it is written out.
func FuzzResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET")
	f.Fuzz(func(t *testing.T, text, method string) {
		n := headEnd(t, text)
		if n == 0 {
			return
		}
		var r http1.Response
		if err := r.Parse(text[:n], method, limits); err != nil {
			if !errors.Is(err, http1.ErrMalformed) {
				t.Fatalf("%q: %v is no error of an answer", text[:n], err)
			}
			return
		}
		if r.Length < http1.UntilClose || r.Status < 100 || r.Status > 999 || r.Length == http1.UntilClose && !r.Close {
			t.Fatalf("%q is read as %+v", text[:n], r)
		}
		for i, f := range r.Fields {
			if strings.ContainsAny(f.Name+f.Value, "\r\n\x00") || r.Hop(i) && r.Framing(i) {
				t.Fatalf("field %d of %q is %q", i, text[:n], f)
			}
		}
		var again http1.Response
		if err := again.Parse(writtenAnswer(&r), method, limits); err != nil || again.Status != r.Status || again.Length != r.Length || again.Close != r.Close ||
			again.Upgrade != r.Upgrade || !slices.Equal(again.Fields, r.Fields) {
			t.Fatalf("%q written again is read as %+v, %v", text[:n], again, err)
		}
	})
}

func writtenAnswer(r *http1.Response) string {
	var b strings.Builder
	b.WriteString("HTTP/1." + string(rune('0'+r.Minor)) + " " + string([]byte{byte('0' + r.Status/100), byte('0' + r.Status/10%10), byte('0' + r.Status%10)}) + " " + r.Reason + "\r\n")
	for _, f := range r.Fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	return b.String() + "\r\n"
}

// FuzzChunks holds that a body is the same however it arrives, and the one that
// the standard library reads.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\nrest"), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		body, rest, trailers, err := chunks(in, func(n int) int { return n })
		body2, rest2, trailers2, err2 := chunks(in, func(n int) int { return min(n, 1+int(step)) })
		if err != err2 || !bytes.Equal(body, body2) || err == nil && (!bytes.Equal(rest, rest2) || !slices.Equal(trailers, trailers2)) {
			t.Fatalf("%q: %q %q %v %v in one, %q %q %v %v in pieces", in, body, rest, trailers, err, body2, rest2, trailers2, err2)
		}
		if err != nil {
			return
		}
		std, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in)))
		if err != nil && (errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "too much non-data")) {
			return // more was to come; or many small chunks, of which nobody reads another body
		}
		if err != nil || !bytes.Equal(std, body) {
			t.Fatalf("%q: the standard library reads %q, %v, and we %q", in, std, err, body)
		}
	})
}
