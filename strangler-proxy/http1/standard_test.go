package http1_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

// unlikeStandard says how the standard library reads a request that we have
// taken, where it reads another one. It is given the bytes as they were sent,
// but for empty lines before them, which it leaves to its server.
func unlikeStandard(text string, r *http1.Request) string {
	std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimLeft(text, "\r\n"))))
	switch {
	case err != nil && picky(err.Error()):
		return ""
	case err != nil:
		return err.Error()
	case std.Method != r.Method || std.RequestURI != r.Target || !strings.EqualFold(std.Host, r.Host):
		return fmt.Sprintf("%s %s of %q", std.Method, std.RequestURI, std.Host)
	case std.ContentLength != r.Length && r.Upgrade == "": // before another protocol it reads no body
		return fmt.Sprintf("a body of %d bytes", std.ContentLength)
	case std.ProtoMinor != r.Minor:
		return std.Proto
	}
	want := http.Header{}
	for i, f := range r.Fields {
		// It keeps what frames the body, and whose it is, elsewhere.
		if name := textproto.CanonicalMIMEHeaderKey(f.Name); name != "Host" && !(r.Framing(i) && name == "Transfer-Encoding") && name != "Trailer" {
			want[name] = append(want[name], f.Value)
		}
	}
	std.Header.Del("Trailer")
	if digits, given := std.Header["Content-Length"]; given {
		// It leaves the zeros in front, which we do not pass on.
		n, err := strconv.ParseInt(digits[0], 10, 64)
		if err != nil {
			return err.Error()
		}
		std.Header.Set("Content-Length", strconv.FormatInt(n, 10))
	}
	if got := fmt.Sprint(std.Header); got != fmt.Sprint(want) {
		return got
	}
	return ""
}

// picky tells what the standard library refuses although nobody could read it
// in another way: paths and hosts that package url does not like, and trailers
// announced that may not be any.
func picky(err string) bool {
	return strings.HasPrefix(err, "parse ") || strings.HasPrefix(err, "malformed Host") || strings.Contains(err, "invalid URI") || strings.HasPrefix(err, "bad trailer key")
}

func written(r *http1.Request) string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Target + " HTTP/1." + string(rune('0'+r.Minor)) + "\r\n")
	for _, f := range r.Fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	return b.String() + "\r\n"
}

// Parts of requests, good and bad, to be put together by chance.
var (
	someLines = []string{
		"GET / HTTP/1.1", "POST /a?b=c&d HTTP/1.1", "GET /%2e%2E/./x;y HTTP/1.1", "PATCH //a//b HTTP/1.1", "GET / HTTP/1.0", "OPTIONS * HTTP/1.1", "GET http://shop/a HTTP/1.1",
		"GET http://shop:80 HTTP/1.1", "GET /a b HTTP/1.1", "get / HTTP/1.1", "GET /\\ HTTP/1.1", "GET /?# HTTP/1.1",
	}
	someNames = []string{
		"Host", "host", "Content-Length", "content-length", "Transfer-Encoding", "TRANSFER-ENCODING", "Connection", "Cookie", "X-A", "x-a", "Upgrade", "Expect", "TE", "Trailer",
		"X_A", "Content-Length ", "X\tA", "",
	}
	someValues = []string{
		"shop", "shop:80", "0", "5", "05", "+5", "5, 5", "chunked", "Chunked", " chunked\t", "identity", "close", "keep-alive, X-A", "upgrade", "websocket", "100-continue", "trailers",
		"X-A", "a, b", "", " ", "\"a\\\"b\"", "\xe4", "a\x00", "a\rb", "a\r\n b",
	}
	someEnds = []string{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\r\n"}
)

func TestWhatIsTakenIsReadAlikeByTheStandardLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	taken := 0
	for range 200_000 {
		text := pick(someLines) + pick(someEnds)
		if random.IntN(4) > 0 {
			text += "Host: shop\r\n"
		}
		for range random.IntN(4) {
			text += pick(someNames) + ":" + pick(someValues) + pick(someEnds)
		}
		text += "\r\n"
		var r http1.Request
		if n := http1.HeadEnd([]byte(text), 0); n == 0 || r.Parse(text[:n], limits) != nil {
			continue
		}
		taken++
		if difference := unlikeStandard(text, &r); difference != "" {
			t.Fatalf("%q: the standard library reads %s", text, difference)
		}
	}
	if taken < 20_000 {
		t.Errorf("only %d requests were taken, which shows little", taken)
	}
}
