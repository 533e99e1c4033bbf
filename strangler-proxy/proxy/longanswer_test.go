package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/upstream"
)

// TestAnAnswerMayTakeLongerThanItsClientMayStandStill before it begins and until
// it ends, whatever its backend speaks: the client takes it as it comes.
func TestAnAnswerMayTakeLongerThanItsClientMayStandStill(t *testing.T) {
	const still = 150 * time.Millisecond
	var wait func(http.ResponseWriter)
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { wait(out) }))
	service.Config.Protocols = new(http.Protocols)
	service.Config.Protocols.SetHTTP1(true)
	service.Config.Protocols.SetUnencryptedHTTP2(true)
	service.Start()
	t.Cleanup(service.Close)
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.H2C} {
		w := newWorld(t, func(o *proxy.Options) { o.Limits.BodyTimeout = still })
		b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{service.URL}, Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		w.change(func(c *proxy.Capability) { c.Service = b })
		w.obey("POST /invoices=service")
		newer := &http.Transport{Protocols: new(http.Protocols)}
		newer.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(newer.CloseIdleConnections)
		older := w.client.Transport
		for name, answer := range map[string]func(http.ResponseWriter){
			"late": func(out http.ResponseWriter) {
				late(2 * still)
				io.WriteString(out, "1234")
			},
			"slow": func(out http.ResponseWriter) {
				for _, piece := range []string{"1", "2", "3", "4"} {
					io.WriteString(out, piece)
					http.NewResponseController(out).Flush()
					late(still / 2)
				}
			},
			"late, and announced": func(out http.ResponseWriter) {
				late(2 * still)
				out.WriteHeader(http.StatusEarlyHints)
				late(2 * still)
				io.WriteString(out, "1234")
			},
		} {
			wait = answer
			for _, client := range []http.RoundTripper{older, newer} {
				w.client.Transport = client
				if got := w.ask("POST", "/invoices", ""); got.err != nil || got.body != "1234" {
					t.Errorf("%s, from %s over %s: %q, %v", name, protocol, got.Proto, got.body, got.err)
				}
			}
		}
	}
}

// late passes a time, as a slow application does.
func late(d time.Duration) { <-time.After(d) }
