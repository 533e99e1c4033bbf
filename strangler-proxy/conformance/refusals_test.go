package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

const (
	aGet    = "GET / HTTP/1.1\r\nHost: shop\r\n"
	aPost   = "POST / HTTP/1.1\r\nHost: shop\r\n"
	inParts = aPost + "Transfer-Encoding: chunked\r\n\r\n"
)

// refusedFor has a request for every reason for which one may be refused.
var refusedFor = map[string]string{
	"bare-carriage-return":    aGet + "X: a\rb\r\n\r\n",
	"bare-line-feed":          aGet + "X: a\nY: b\r\n\r\n",
	"request-line":            "GET  / HTTP/1.1\r\nHost: shop\r\n\r\n",
	"method":                  "G@T / HTTP/1.1\r\nHost: shop\r\n\r\n",
	"connect":                 "CONNECT shop:443 HTTP/1.1\r\nHost: shop:443\r\n\r\n",
	"version":                 "GET / HTTP/1.2\r\nHost: shop\r\n\r\n",
	"target":                  "GET /\x00 HTTP/1.1\r\nHost: shop\r\n\r\n",
	"target-too-long":         "GET /" + strings.Repeat("a", 8<<10) + " HTTP/1.1\r\nHost: shop\r\n\r\n",
	"authority-mismatch":      "GET http://other/ HTTP/1.1\r\nHost: shop\r\n\r\n",
	"folded-field":            aGet + "X: a\r\n b\r\n\r\n",
	"field-name":              "GET / HTTP/1.1\r\nHost : shop\r\n\r\n",
	"field-value":             aGet + "X: a\x00b\r\n\r\n",
	"head-too-long":           aGet + "X: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
	"too-many-fields":         aGet + strings.Repeat("X: a\r\n", 256) + "\r\n",
	"host-missing":            "GET / HTTP/1.1\r\n\r\n",
	"several-hosts":           aGet + "Host: shop\r\n\r\n",
	"host":                    "GET / HTTP/1.1\r\nHost: shop/x\r\n\r\n",
	"content-length":          aPost + "Content-Length: +1\r\n\r\nx",
	"several-content-lengths": aPost + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
	"length-and-encoding":     aPost + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"transfer-encoding":       aPost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"transfer-coding":         aPost + "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
	"encoding-in-1.0":         "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"connection-nominates":    aGet + "Connection: Host\r\n\r\n",
	"too-many-nominations":    aGet + "Connection: " + strings.Repeat("x,", 17) + "\r\n\r\n",
	"several-upgrades":        aGet + "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
	"expect":                  aPost + "Expect: 200-ok\r\n\r\n",
	"chunk-size":              inParts + "0x1\r\nx\r\n0\r\n\r\n",
	"chunk-line":              inParts + "1;a\nb\r\nx\r\n0\r\n\r\n",
	"chunk-line-too-long":     inParts + "1;" + strings.Repeat("a", 300) + "\r\nx\r\n0\r\n\r\n",
	"chunk-overhead":          strings.Replace(inParts, "/", "/parts", 1) + strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100),
	"chunk-end":               inParts + "1\r\nxx\r\n0\r\n\r\n",
	"trailers-too-long":       inParts + "0\r\nX: " + strings.Repeat("a", 9<<10) + "\r\n\r\n",
}

// TestEveryRefusalIsAnsweredCountedAndEndsTheConnection sends each over both
// kinds of listener that HTTP/1.1 is spoken on.
func TestEveryRefusalIsAnsweredCountedAndEndsTheConnection(t *testing.T) {
	for _, listener := range kinds {
		if listener.h2 {
			continue
		}
		check(t, listener.name, func(t testing.TB) {
			c := newCell(t, listener, kind{name: "http"}, "")
			c.app.other = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := r.Body.Read(make([]byte, 1)); err == nil && r.URL.Path != "/parts" {
					t.Error("a byte of a body that is none arrived as one")
				}
			})
			for _, refusal := range http1.Refusals() {
				text, ok := refusedFor[refusal.Reason]
				if !ok {
					t.Errorf("there is no request for %s", refusal.Reason)
					continue
				}
				series := fmt.Sprintf("strangler_refused_total{reason=%q}", refusal.Reason)
				before := c.front.series(t, series)
				w := c.wire(t)
				w.send(text)
				if got := w.answer("GET"); got.StatusCode != refusal.Status || !strings.HasPrefix(got.body, "strangler: ") || !got.Close {
					t.Errorf("%s: answered %s %q, want %d and the connection's end", refusal.Reason, got.Status, got.body, refusal.Status)
				}
				w.isOver()
				if now := c.front.series(t, series); now != before+1 {
					t.Errorf("%s was counted %v times", refusal.Reason, now-before)
				}
			}
		})
	}
}
