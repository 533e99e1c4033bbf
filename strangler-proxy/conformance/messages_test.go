package conformance

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

var messagePromises = []promise{
	{name: "every method arrives", keep: methodsArrive},
	{name: "every status arrives", keep: statusesArrive},
	{name: "HEAD is answered with the length and without a body", keep: headHasNoBody},
	{name: "204 and 304 have no body", keep: someHaveNoBody},
	{name: "the query arrives as it was sent", keep: queryIsKept},
	{name: "the path arrives as it was sent", keep: pathIsKept},
	{name: "repeated fields stay apart and in order", keep: repeatedFieldsStay},
	{name: "big heads pass both ways", keep: bigHeadsPass},
	{name: "nothing is added to a request but who asked", keep: nothingIsAdded},
	{name: "nothing is added to an answer", keep: nothingIsAddedToAnAnswer},
	{name: "what is compressed stays as it is", keep: compressionIsKept},
	{name: "the backend sees the client's host", keep: hostIsKept},
	{name: "a backend's own name becomes what the client asked for", keep: namesAreRewritten},
	{name: "cookies arrive as one field", keep: cookiesArriveAsOne},
	{name: "a request without a body has none", keep: noBodyStaysNone},
	{name: "fields that belong to a connection end there", keep: hopByHopEnds},
}

func methodsArrive(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Method", r.Method)
	})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "get"} {
		if got := c.ask(t, method, path, "").Header.Get("X-Method"); got != method {
			t.Errorf("%s arrived as %q", method, got)
		}
	}
}

func statusesArrive(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscan(r.URL.RawQuery, &status)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		fmt.Fprint(w, status)
	})
	for _, status := range []int{200, 201, 202, 203, 206, 207, 226, 299, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406,
		409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511, 599} {
		got := c.ask(t, "GET", fmt.Sprintf("%s?%d", path, status), "")
		if got.StatusCode != status || got.body != fmt.Sprint(status) {
			t.Errorf("%d arrived as %s %q", status, got.Status, got.body)
		}
	}
}

func headHasNoBody(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "12345")
		w.Header().Set("Etag", `"v1"`)
	})
	got := c.ask(t, "HEAD", path, "")
	if got.ContentLength != 12345 || got.Header.Get("Etag") != `"v1"` || got.body != "" {
		t.Errorf("answered length %d, fields %v, body %q", got.ContentLength, got.Header, got.body)
	}
}

func someHaveNoBody(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		if r.URL.RawQuery == "204" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.WriteHeader(http.StatusNotModified)
	})
	client := c.client(t)
	for range 2 { // the second one finds the connection as the first one left it
		for _, status := range []int{204, 304} {
			res, err := client.Do(c.request(t, "GET", fmt.Sprintf("%s?%d", path, status), nil))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != status || len(body) > 0 || res.Header.Get("Etag") != `"v1"` {
				t.Errorf("%d arrived as %s, fields %v, body %q, error %v", status, res.Status, res.Header, body, err)
			}
		}
	}
}

func queryIsKept(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%v %s", r.URL.ForceQuery, r.URL.RawQuery)
	})
	for _, query := range []string{"a=1&b=2", "a=1;b=2", "a=%zz&b=%", "x=%2f%2F+%20", "&&=&", "a=b?c=d", "back=http://a/b?c", "q[]=1&q[]=2&$filter='x'"} {
		r := c.request(t, "GET", path, nil)
		r.URL.RawQuery = query
		if got := c.send(t, r).body; got != "false "+query {
			t.Errorf("the query %q arrived as %q", query, got)
		}
	}
	r := c.request(t, "GET", path, nil)
	r.URL.ForceQuery = true
	if got := c.send(t, r).body; got != "true " {
		t.Errorf("the empty query arrived as %q", got)
	}
}

func pathIsKept(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		sent, _, _ := strings.Cut(r.RequestURI, "?")
		io.WriteString(w, sent)
	})
	for _, below := range []string{"", "/", "/a//b", "/a%20b", "/caf%C3%A9", "/a%2Fb", "/(a)!*'$&+,=:@", "/a;v=1/b", "/~a_b-c.d", "/%25%3F%23"} {
		r := c.request(t, "GET", "/", nil)
		r.URL = &url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Opaque: "//" + r.URL.Host + path + below}
		if c.listener.h2 {
			r.URL.Opaque = path + below
		}
		if got := c.send(t, r).body; got != path+below {
			t.Errorf("the path %s arrived as %s", path+below, got)
		}
	}
}

func repeatedFieldsStay(t testing.TB, c *cell) {
	seen := make(chan []string, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Values("X-Many")
		w.Header()["Set-Cookie"] = []string{"a=1; Path=/", "b=2", "c=3; Expires=Wed, 09 Jun 2027 10:18:14 GMT"}
		w.Header()["Www-Authenticate"] = []string{"Basic", `Digest realm="x"`}
	})
	got := c.ask(t, "GET", path, "", "X-Many", "one", "X-Many", "two, three", "X-Many", "", "X-Many", "four")
	if sent := receive(t, "the request", seen); !slices.Equal(sent, []string{"one", "two, three", "", "four"}) {
		t.Errorf("the request's fields arrived as %q", sent)
	}
	if set := got.Header.Values("Set-Cookie"); len(set) != 3 || set[0] != "a=1; Path=/" || !strings.HasPrefix(set[2], "c=3") {
		t.Errorf("the answer's cookies arrived as %q", set)
	}
	if asks := got.Header.Values("Www-Authenticate"); !slices.Equal(asks, []string{"Basic", `Digest realm="x"`}) {
		t.Errorf("the answer's fields arrived as %q", asks)
	}
}

func bigHeadsPass(t testing.TB, c *cell) {
	const lines, each = 56, 1000 // 57 KB, of the 64 KiB that are allowed
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if strings.HasPrefix(name, "X-Big") {
				w.Header()[name] = values
			}
		}
	})
	r := c.request(t, "GET", path, nil)
	for i := range lines {
		r.Header.Set(fmt.Sprintf("X-Big-%02d", i), strings.Repeat("x", each))
	}
	got := c.send(t, r)
	for i := range lines {
		if n := len(got.Header.Get(fmt.Sprintf("X-Big-%02d", i))); n != each {
			t.Fatalf("%s; field %d came back with %d bytes", got.Status, i, n)
		}
	}
}

// told are the fields by which a proxy may say who asked, and by what name the
// request goes.
var told = []string{"Forwarded", "Traceparent", "Tracestate", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id"}

func nothingIsAdded(t testing.TB, c *cell) {
	seen := make(chan http.Header, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) { seen <- r.Header })
	r := c.request(t, "GET", path, nil, "X-Mine", "1")
	r.Header["User-Agent"] = nil // none is sent
	c.send(t, r)
	got := receive(t, "the request", seen)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if name != "X-Mine" && !slices.Contains(told, name) {
			t.Errorf("the backend also saw %s: %q", name, got[name])
		}
	}
	if got.Get("X-Mine") != "1" {
		t.Error("the client's own field did not arrive")
	}
}

func nothingIsAddedToAnAnswer(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil // nor guessed
		w.Header().Set("Content-Length", "6")
		w.Header().Set("X-Mine", "1")
		io.WriteString(w, "<html>")
	})
	got := c.ask(t, "GET", path, "")
	for _, name := range slices.Sorted(maps.Keys(got.Header)) {
		if name != "X-Mine" && name != "Content-Length" && name != "Date" && !slices.Contains(told, name) {
			t.Errorf("the client also saw %s: %q", name, got.Header[name])
		}
	}
	if got.body != "<html>" || got.Header.Get("X-Mine") != "1" {
		t.Errorf("answered %v %q", got.Header, got.body)
	}
}

func compressionIsKept(t testing.TB, c *cell) {
	accepted := make(chan []string, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		accepted <- r.Header.Values("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		zipped := gzip.NewWriter(w)
		io.WriteString(zipped, "zipped")
		zipped.Close()
	})
	got := c.ask(t, "GET", path, "")
	if asked := receive(t, "the request", accepted); len(asked) > 0 {
		t.Errorf("the backend was told %q, which the client had not said", asked)
	}
	if got.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(got.body, "\x1f\x8b") {
		t.Errorf("the answer arrived as %v %q", got.Header, got.body)
	}
}

func hostIsKept(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	r := c.request(t, "GET", path, nil)
	r.Host = "Shop.example:8443"
	if got := c.send(t, r).body; got != r.Host {
		t.Errorf("the host arrived as %q", got)
	}
}

func cookiesArriveAsOne(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Header["Cookie"]) })
	if got, want := c.ask(t, "GET", path, "", "Cookie", "a=1; b=2; c=3").body, `["a=1; b=2; c=3"]`; got != want {
		t.Errorf("the cookies arrived as %s", got)
	}
}

func noBodyStaysNone(t testing.TB, c *cell) {
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %d %v %v", r.ContentLength, n, err, r.TransferEncoding)
	})
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if got, want := c.ask(t, method, path, "").body, "0 0 <nil> []"; got != want {
			t.Errorf("%s without a body arrived with %s, want %s", method, got, want)
		}
	}
}

func hopByHopEnds(t testing.TB, c *cell) {
	seen := make(chan http.Header, 1)
	path := c.app.at(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		if r.ProtoMajor == 1 {
			w.Header().Set("Keep-Alive", "timeout=7")
			w.Header().Set("Proxy-Authenticate", "Basic")
		}
	})
	var sent []string
	if !c.listener.h2 { // HTTP/2 has no such fields
		sent = []string{"Connection", "X-Only-Here", "X-Only-Here", "1", "Keep-Alive", "timeout=5", "Proxy-Connection", "keep-alive", "Proxy-Authorization", "Basic eDp5"}
	}
	got := c.ask(t, "GET", path, "", append(sent, "Te", "trailers", "X-Mine", "1")...)
	header := receive(t, "the request", seen)
	for _, name := range []string{"X-Only-Here", "Keep-Alive", "Proxy-Connection", "Connection"} {
		if header[name] != nil && !strings.EqualFold(header.Get(name), "te") { // Connection has to name TE
			t.Errorf("the backend saw %s: %q", name, header[name])
		}
	}
	if header.Get("X-Mine") != "1" {
		t.Error("a field of the request itself was dropped")
	}
	if got.Header.Get("Keep-Alive") != "" {
		t.Error("the client saw the backend's Keep-Alive")
	}
}
