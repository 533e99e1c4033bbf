package shadow_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
)

// BenchmarkTheLivePath is what a sampled request costs on its way to a client,
// with an answer of 2 KiB and a service that answers: the rest is done by others.
func BenchmarkTheLivePath(b *testing.B) {
	w := newWorld(b, func(o *shadow.Options) { o.Queue = 256; o.Body = 4 << 10 })
	body := strings.Repeat("x", 2<<10)
	says(&w.service, body)
	r := w.routes[0]
	d := route.Decision{Side: "monolith", Mirror: true}
	x := &proxy.Exchange{
		Route: &r, Decision: d, Method: "GET", Path: "/invoices", Status: 200, Answer: proxy.HeadersOf(http.Header{"Content-Type": {"text/plain"}}),
		AnswerBody: []byte(body), Header: proxy.HeadersOf(http.Header{}), At: time.Now().Add(time.Hour),
	}
	b.ReportAllocs()
	for b.Loop() {
		if w.shadow.Wants(&r, d) {
			w.shadow.Observe(x, nil)
		}
	}
}

// BenchmarkWhatIsNotSampled is the same for a request that is not mirrored.
func BenchmarkWhatIsNotSampled(b *testing.B) {
	w := newWorld(b)
	r := w.routes[0]
	b.ReportAllocs()
	for b.Loop() {
		if w.shadow.Wants(&r, route.Decision{Side: "monolith"}) {
			b.Fatal("it is wanted")
		}
	}
}

// BenchmarkAClientsRequest is a whole request through the proxy, mirrored and
// not.
func BenchmarkAClientsRequest(b *testing.B) {
	for name, share := range map[string]float64{"not mirrored": 0, "mirrored": 100} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			o := route.Owner{Stage: route.Shadow, Share: share}
			if share == 0 {
				o = route.Owner{Stage: route.Monolith, Share: 100}
			}
			w.obey(owned(o))
			for b.Loop() {
				res, err := http.Get(w.front + "/invoices")
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
}
