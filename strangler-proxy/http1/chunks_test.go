package http1_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

// chunks decodes a body that arrives in pieces whose lengths cut chooses.
func chunks(in []byte, cut func(n int) int) (body, rest []byte, trailers []http1.Field, err error) {
	var c http1.Chunks
	for done := false; !done && len(in) > 0; {
		piece := in[:cut(len(in))]
		for len(piece) > 0 && !done {
			var data []byte
			var n int
			if data, n, done, err = c.Next(piece); err != nil {
				return body, in, nil, err
			}
			body = append(body, data...)
			piece, in = piece[n:], in[n:]
		}
	}
	return body, in, c.Trailers(), nil
}

func TestAChunkedBodyIsTheSameHoweverItArrives(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var sent bytes.Buffer
		var want []byte
		for range random.IntN(5) {
			data := bytes.Repeat([]byte{byte('a' + random.IntN(26))}, 1+random.IntN(40))
			want = append(want, data...)
			ext := []string{"", ";x", ";x=y;z=\"a b\"", ";x=\"a;\\\"\\\\;\""}[random.IntN(4)]
			sent.WriteString(hex(len(data), random.IntN(2) == 0) + ext + "\r\n" + string(data) + "\r\n")
		}
		sent.WriteString("0\r\nX-Sum: 1\r\nHost: evil\r\nContent-Length: 9\r\nx-b:\t2 \r\n\r\nGET / next")
		body, rest, trailers, err := chunks(sent.Bytes(), func(n int) int { return 1 + random.IntN(n) })
		if err != nil || !bytes.Equal(body, want) || string(rest) != "GET / next" {
			t.Fatalf("%q is read as %q, then %q, %v", sent.Bytes(), body, rest, err)
		}
		if len(trailers) != 2 || trailers[0] != (http1.Field{Name: "X-Sum", Value: "1"}) || trailers[1] != (http1.Field{Name: "x-b", Value: "2"}) {
			t.Fatalf("trailers %v", trailers)
		}
	}
}

func hex(n int, upper bool) string {
	const digits = "0123456789abcdef"
	text := "00"
	for _, shift := range []int{8, 4, 0} {
		text += string(digits[n>>shift&15])
	}
	if upper {
		return strings.ToUpper(text)
	}
	return text
}

func TestTheEndOfAHeadIsFoundHoweverItArrives(t *testing.T) {
	for head, want := range map[string]int{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET": 27, "\r\n\r\nGET / HTTP/1.1\r\n\r\n": 22, "GET / HTTP/1.1\n\nX": 16, "GET / HTTP/1.1\r\n\nX": 17,
		"GET / HTTP/1.1\r\nX: \n\r\nHost": 22, "GET / HTTP/1.1\r\nHost: a\r\n\r": 0, "\r\n\r\n\r\n": 0, "": 0, "\r\n": 0, "\n\r\n\nGET": 0, "\r\n\n\r\nA\n\n": 8,
	} {
		if got := http1.HeadEnd([]byte(head), 0); got != want {
			t.Errorf("%q ends at %d, want %d", head, got, want)
		}
		seen, got := 0, 0
		for n := 0; n <= len(head) && got == 0; n++ {
			got = http1.HeadEnd([]byte(head[:n]), seen)
			seen = n
		}
		if got != want {
			t.Errorf("byte by byte %q ends at %d, want %d", head, got, want)
		}
	}
}

// TestManySmallChunksAreNoOverhead as programs send them that write byte by byte,
// also with a word about each.
func TestManySmallChunksAreNoOverhead(t *testing.T) {
	for _, chunk := range []string{"1\r\nx\r\n", "1;a=bcdefghi\r\nx\r\n", "400;" + strings.Repeat("a", 240) + "\r\n" + strings.Repeat("x", 1024) + "\r\n"} {
		if _, _, _, err := chunks([]byte(strings.Repeat(chunk, 100_000/len(chunk)*10)+"0\r\n\r\n"), func(n int) int { return min(n, 8<<10) }); err != nil {
			t.Errorf("%.20q: %v", chunk, err)
		}
	}
}
