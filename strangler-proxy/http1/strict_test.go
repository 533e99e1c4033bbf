package http1_test

import (
	"errors"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

var limits = http1.Limits{Head: 64 << 10, Fields: 100}

// refusals are requests, or bodies after "CHUNKS:", with why they are refused.
var refusals = map[string][]string{
	"bare-carriage-return": {"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n", "\r\r\n\r\n", "\r\n\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "CHUNKS:0\r\n\rX: a\r\n\r\n"},
	"bare-line-feed": {
		"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\n", "CHUNKS:0\r\nX: a\n\r\n",
	},
	"request-line":       {"GET\r\n\r\n", "GET /\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1 \r\n\r\n", "GET / HTTP\r\n\r\n", "GET / http/1.1\r\n\r\n", "GET / HTTP/1.11\r\n\r\n", "GET / x HTTP/1.1\r\n\r\n"},
	"method":             {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "G@T / HTTP/1.1\r\n\r\n", strings.Repeat("A", 33) + " / HTTP/1.1\r\n\r\n", "GET\x00 / HTTP/1.1\r\n\r\n", "GET\t/ HTTP/1.1\r\n\r\n"},
	"connect":            {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"},
	"version":            {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET / HTTP/0.9\r\n\r\n", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/x.y\r\n\r\n"},
	"target":             {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a#/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a:x/ HTTP/1.1\r\nHost: a:x\r\n\r\n", "GET http://:80/ HTTP/1.1\r\nHost: :80\r\n\r\n"},
	"target-too-long":    {"GET /" + strings.Repeat("a", 8<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n"},
	"authority-mismatch": {"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"},
	"folded-field":       {"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\tX: a\r\n\r\n"},
	"field-name":         {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\n: a\r\n\r\n", "GET / HTTP/1.1\r\nHost\r\n\r\n", "GET / HTTP/1.1\r\nHo st: a\r\n\r\n", "GET / HTTP/1.1\r\nX\x00: a\r\n\r\n", "GET / HTTP/1.1\r\nTransfer-Encoding\x0b: chunked\r\n\r\n", "GET / HTTP/1.1\r\nH\xf6st: a\r\n\r\n"},
	"field-value":        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n"},
	"head-too-long":      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n"},
	"too-many-fields":    {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: a\r\n", 100) + "\r\n"},
	"host-missing":       {"GET / HTTP/1.1\r\n\r\n", "GET http://a/ HTTP/1.1\r\n\r\n"},
	"several-hosts":      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"},
	"host": {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "GET / HTTP/1.1\r\nHost: [::1]80\r\n\r\n", "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", "GET / HTTP/1.1\r\nHost: a[::1]\r\n\r\n", "GET / HTTP/1.1\r\nHost: a]\r\n\r\n",
	},
	"content-length":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1.0\r\n\r\n"},
	"several-content-lengths": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"},
	"length-and-encoding":     {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"},
	"transfer-encoding":       {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"},
	"transfer-coding":         {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"},
	"encoding-in-1.0":         {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
	"connection-nominates":    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Host\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: cookie\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n"},
	"too-many-nominations":    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("x,", 17) + "\r\n\r\n"},
	"several-upgrades":        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nupgrade: a\r\nUpgrade: a\r\n\r\n"},
	"expect":                  {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"},
	"chunk-size":              {"CHUNKS:x\r\n", "CHUNKS:0x1\r\n", "CHUNKS:+1\r\n", "CHUNKS:-1\r\n", "CHUNKS: 1\r\n", "CHUNKS:1 \r\n", "CHUNKS:\r\n", "CHUNKS:;a\r\n", "CHUNKS:1111111111111111\r\n", "CHUNKS:1\n"},
	"chunk-line":              {"CHUNKS:1\rx", "CHUNKS:1;a\nb\r\n", "CHUNKS:1;a\x00\r\n", "CHUNKS:1;a\r\r\n", "CHUNKS:1;\r\n", "CHUNKS:1; \r\n", "CHUNKS:1;a=b;\r\n", "CHUNKS:1;a=\"b\r\n", "CHUNKS:1;a=\"b\\\"\r\n"},
	"chunk-overhead":          {"CHUNKS:" + strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100)},
	"chunk-line-too-long":     {"CHUNKS:1;" + strings.Repeat("a", 300)},
	"chunk-end":               {"CHUNKS:1\r\nab\r\n", "CHUNKS:1\r\na\n", "CHUNKS:1\r\na\r\r", "CHUNKS:1\r\na0\r\n\r\n"},
	"trailers-too-long":       {"CHUNKS:0\r\nX: " + strings.Repeat("a", 9<<10) + "\r\n\r\n", "CHUNKS:0\r\n" + strings.Repeat("X: a\r\n", 65) + "\r\n", "CHUNKS:0\r\n" + strings.Repeat("Host: a\r\n", 2000)},
}

// read reads what a case of refusals holds.
func read(text string) error {
	if body, ok := strings.CutPrefix(text, "CHUNKS:"); ok {
		_, _, _, err := chunks([]byte(body), func(n int) int { return n })
		return err
	}
	if n := http1.HeadEnd([]byte(text), 0); n == 0 {
		return errors.New("the head does not end")
	}
	var r http1.Request
	return r.Parse(text, limits)
}

func TestWhatIsAmbiguousIsRefusedWithItsReason(t *testing.T) {
	known := map[string]bool{}
	for _, refusal := range http1.Refusals() {
		cases := refusals[refusal.Reason]
		if len(cases) == 0 {
			t.Errorf("no case is refused because of %s", refusal.Reason)
		}
		for _, text := range cases {
			err := read(text)
			var got *http1.Refusal
			if !errors.As(err, &got) || *got != refusal {
				t.Errorf("%.80q: %v, want %s", text, err, refusal.Reason)
			}
		}
		known[refusal.Reason] = true
	}
	for reason := range refusals {
		if !known[reason] {
			t.Errorf("nothing is refused because of %s any more", reason)
		}
	}
}

func TestRequestsAreReadAsTheyWereSent(t *testing.T) {
	for text, want := range map[string]http1.Request{
		"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n":                    {Method: "GET", Target: "/a?b", Path: "/a", Query: "b", HasQuery: true, Host: "a", Minor: 1},
		"\r\n\r\nGET /? HTTP/1.1\r\nHost:\r\n\r\n":                {Method: "GET", Target: "/?", Path: "/", HasQuery: true, Minor: 1},
		"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n":            {Method: "OPTIONS", Target: "http://a", Path: "*", Host: "a", Minor: 1},
		"OPTIONS http://a? HTTP/1.1\r\nHost: a\r\n\r\n":           {Method: "OPTIONS", Target: "http://a?", Path: "/", HasQuery: true, Host: "a", Minor: 1},
		"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n":           {Method: "OPTIONS", Target: "http://a/", Path: "/", Host: "a", Minor: 1},
		"GET http://a/b HTTP/1.0\r\n\r\n":                         {Method: "GET", Target: "http://a/b", Path: "/b", Host: "a", Close: true},
		"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n": {Method: "GET", Target: "/", Path: "/", Close: true},
		"GET / HTTP/1.0\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n": {Method: "GET", Target: "/", Path: "/"},
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n":                                                                {Method: "GET", Target: "/", Path: "/", Host: "a", Minor: 1},
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                   {Method: "OPTIONS", Target: "*", Path: "*", Host: "a", Minor: 1},
		"GET http://A:81?x HTTP/1.1\r\nHost: a:81\r\n\r\n":                                                                        {Method: "GET", Target: "http://A:81?x", Path: "/", Query: "x", HasQuery: true, Host: "a:81", Minor: 1},
		"GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n":                                                           {Method: "GET", Target: "/", Path: "/", Host: "[::1]:80", Minor: 1, Close: true},
		"GET / HTTP/1.0\r\n\r\n":                                                                     {Method: "GET", Target: "/", Path: "/", Close: true},
		"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n":                                           {Method: "GET", Target: "/", Path: "/"},
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 012\r\nExpect: 100-Continue\r\n\r\n":          {Method: "POST", Target: "/", Path: "/", Host: "a", Minor: 1, Length: 12, Continue: true},
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tCHUNKED \r\nTE: gzip, trailers\r\n\r\n":   {Method: "POST", Target: "/", Path: "/", Host: "a", Minor: 1, Length: http1.Chunked, Trailers: true},
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n": {Method: "GET", Target: "/", Path: "/", Host: "a", Minor: 1, Upgrade: "websocket"},
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n":                                    {Method: "GET", Target: "/", Path: "/", Host: "a", Minor: 1},
		"brew /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n":                                                 {Method: "brew", Target: "/\xc3\xa4", Path: "/\xc3\xa4", Host: "a", Minor: 1},
	} {
		var r http1.Request
		if err := r.Parse(text, limits); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := http1.Request{
			Method: r.Method, Target: r.Target, Path: r.Path, Query: r.Query, HasQuery: r.HasQuery, Host: r.Host, Minor: r.Minor,
			Length: r.Length, Close: r.Close, Upgrade: r.Upgrade, Continue: r.Continue, Trailers: r.Trailers,
		}
		if !equal(got, want) {
			t.Errorf("%q is read as\n%+v, want\n%+v", text, got, want)
		}
	}
}

func TestALengthIsPassedOnWithoutZerosInFront(t *testing.T) {
	for sent, want := range map[string]string{"010": "10", "0": "0", "000": "0", "7": "7", "100": "100"} {
		var r http1.Request
		if err := r.Parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "+sent+"\r\n\r\n", limits); err != nil || r.Get("Content-Length") != want {
			t.Errorf("%s is passed on as %s: %v", sent, r.Get("Content-Length"), err)
		}
	}
}

func TestWhatIsJustWithinTheBoundsIsTaken(t *testing.T) {
	const start = "GET / HTTP/1.1\r\nHost: a\r\n"
	long := start + "X: " + strings.Repeat("a", limits.Head-len(start)-len("X: \r\n\r\n")) + "\r\n\r\n"
	if len(long) != limits.Head {
		t.Fatalf("the head has %d bytes", len(long))
	}
	for what, text := range map[string]string{
		"a head":      long,
		"fields":      start + strings.Repeat("X: a\r\n", limits.Fields-1) + "\r\n",
		"a method":    strings.Repeat("A", 32) + " / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a target":    "GET /" + strings.Repeat("a", 8<<10-1) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"nominations": start + "Connection: close" + strings.Repeat(", x", 16) + "\r\n\r\n",
		"a length":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999\r\n\r\n",
		"a port":      "GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n",
		"a chunk":     "CHUNKS:fffffffffffffff\r\n",
		"a line":      "CHUNKS:0;" + strings.Repeat("a", 256-len("0;\r\n")) + "\r\n\r\n",
		"trailers":    "CHUNKS:0\r\n" + strings.Repeat("X: a\r\n", 64) + "\r\n",
		"a trailer":   "CHUNKS:0\r\nX: " + strings.Repeat("a", 8<<10-len("X: \r\n\r\n")) + "\r\n\r\n",
	} {
		if err := read(text); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func equal(a, b http1.Request) bool {
	return a.Method == b.Method && a.Target == b.Target && a.Path == b.Path && a.Query == b.Query && a.HasQuery == b.HasQuery && a.Host == b.Host &&
		a.Minor == b.Minor && a.Length == b.Length && a.Close == b.Close && a.Upgrade == b.Upgrade && a.Continue == b.Continue && a.Trailers == b.Trailers
}

func TestFieldsAboutTheConnectionAreMarked(t *testing.T) {
	var r http1.Request
	head := "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-mine, keep-alive\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authorization: x\r\nContent-Length: 0\r\nAccept: *\r\n\r\n"
	if err := r.Parse(head, limits); err != nil {
		t.Fatal(err)
	}
	for i, f := range r.Fields {
		hop, framing := f.Name != "Host" && f.Name != "Accept" && f.Name != "Content-Length", f.Name == "Content-Length"
		if r.Hop(i) != hop || r.Framing(i) != framing {
			t.Errorf("%s: about the connection %v, about the body %v", f.Name, r.Hop(i), r.Framing(i))
		}
	}
}

func TestAnswersAreReadAsBrowsersReadThem(t *testing.T) {
	for _, row := range []struct {
		text, method string
		status       int
		length       int64
		closes       bool
		value        string // of X
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a\r\n\r\n", "GET", 200, 5, false, "a"},
		{"HTTP/1.1 200\nContent-Length: 5\nX: a\n\n", "GET", 200, 5, false, "a"},
		{"HTTP/1.1 200 OK\r\nX: a\r\n\t b\r\n c\r\nContent-Length: 0\r\n\r\n", "GET", 200, 0, false, "a b c"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", "GET", 200, 5, false, ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", 200, http1.Chunked, false, ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "GET", 200, http1.Chunked, true, ""},
		{"HTTP/1.1 200 OK\r\n\r\n", "GET", 200, http1.UntilClose, true, ""},
		{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", 200, 5, true, ""},
		{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", "GET", 200, 5, false, ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", 200, 0, false, ""},
		{"HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, 0, false, ""},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", 304, 0, false, ""},
		{"HTTP/1.1 103 Early Hints\r\n\r\n", "GET", 103, 0, false, ""},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "GET", 200, 1, true, ""},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "GET", 204, 0, false, ""},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "GET", 204, 0, true, ""},
		{"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", 204, 0, true, ""},
		{"HTTP/1.1 200 OK\r\nConnection: keep-alive, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", 200, http1.Chunked, false, ""},
	} {
		var r http1.Response
		if err := r.Parse(row.text, row.method, limits); err != nil {
			t.Errorf("%q: %v", row.text, err)
		} else if r.Status != row.status || r.Length != row.length || r.Close != row.closes || r.Get("x") != row.value {
			t.Errorf("%q is read as %+v", row.text, r)
		}
	}
	for _, text := range []string{
		"HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "200 OK\r\n\r\n", "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", "HTTP/1.1 200 O\x00K\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: a\r\n", 101) + "\r\n", "HTTP/1.1 200 OK\r\nX: a\r\n" + strings.Repeat(" b\r\n", 100) + "\r\n",
		"HTTP/1.1 200 OK\r\nConnection: " + strings.Repeat("x,", 17) + "\r\n\r\n", "\r\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 65<<10) + "\r\n\r\n",
	} {
		var r http1.Response
		if err := r.Parse(text, "GET", limits); !errors.Is(err, http1.ErrMalformed) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

func TestWhatFramesNoBodyIsNotPassedOn(t *testing.T) {
	for _, status := range []string{"103 Early Hints", "101 Switching Protocols", "204 No Content"} {
		var r http1.Response
		if err := r.Parse("HTTP/1.1 "+status+"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nX: a\r\n\r\n", "GET", limits); err != nil {
			t.Fatal(err)
		}
		if !r.Hop(0) || !r.Hop(1) || r.Hop(2) || r.Framing(0) || r.Framing(1) || r.Length != 0 {
			t.Errorf("%s is read as %+v", status, r)
		}
	}
	var r http1.Response
	if err := r.Parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", limits); err != nil || !r.Framing(0) || r.Hop(0) {
		t.Errorf("the length that a 304 tells is lost: %+v, %v", r, err)
	}
}

func TestALengthBesideAnEncodingIsNeverPassedOn(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		for _, status := range []string{"200 OK", "304 Not Modified"} {
			var r http1.Response
			if err := r.Parse("HTTP/1.1 "+status+"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", method, limits); err != nil {
				t.Fatal(err)
			}
			if !r.Hop(0) || r.Framing(0) || !r.Framing(1) || !r.Close {
				t.Errorf("%s of %s is read as %+v", status, method, r)
			}
		}
	}
}
