package config_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/strangler-proxy/config"
)

// edge is a file that says all there is about clients, and about a backend.
const edge = `tls: {certificate: tls/cert.pem, key: /etc/key.pem, client_ca: tls/ca.pem}
trusted_proxies: [10.1.2.3/8, 192.0.2.7, "fd00::/8", "::ffff:192.0.2.8"]
forwarded: both
request_id: X-Correlation-Id
io_uring: off
tracing: {endpoint: "https://collector:4318/otlp/", headers: {Api-Key: k}, service: edge, sample: 2.5%}
limits: {connections: 1_000, requests: 100, head: 16KiB, body: 10MiB, head_timeout: 1s, body_timeout: 2s, idle: 3s}
monolith:
  url: [https://10.0.0.1:9443/, https://10.0.0.2:9443]
  protocol: h2
  host: backend
  rewrite: false
  tls: {ca: tls/ca.pem, certificate: tls/cert.pem, key: tls/key.pem, server_name: shop}
  timeouts: {dial: 1s, answer: 0, idle: 0}
  limits: {connections: 10, requests: 20}
  breaker: {failures: 3, pause: 1s}
  health: /up
  health_interval: 2s
`

func TestEverythingAboutClientsAndBackendsIsRead(t *testing.T) {
	c, err := config.Parse("/srv/strangler.yaml", []byte(edge), nothingSet)
	if err != nil {
		t.Fatal(err)
	}
	prefixes := func(a, b netip.Prefix) bool { return a == b }
	for _, diff := range []string{
		cmp.Diff(config.TLS{Certificate: "/srv/tls/cert.pem", Key: "/etc/key.pem", ClientCA: "/srv/tls/ca.pem"}, c.TLS),
		cmp.Diff([]netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("192.0.2.8/32"),
		}, c.Trusted, cmp.Comparer(prefixes)),
		cmp.Diff("both X-Correlation-Id", c.Forwarded+" "+c.RequestID),
		cmp.Diff(false, c.IOUring),
		cmp.Diff(config.Tracing{Endpoint: "https://collector:4318/otlp", Headers: map[string]string{"Api-Key": "k"}, Service: "edge", Sample: 2.5}, c.Tracing),
		cmp.Diff(config.Limits{
			Connections: 1000, Requests: 100, Head: 16 << 10, Body: 10 << 20,
			HeadTimeout: time.Second, BodyTimeout: 2 * time.Second, Idle: 3 * time.Second,
		}, c.Limits),
		cmp.Diff(config.Backend{
			URL: "https://10.0.0.1:9443", URLs: []string{"https://10.0.0.1:9443", "https://10.0.0.2:9443"}, Protocol: "h2", OwnHost: true,
			TLS:      config.BackendTLS{CA: "/srv/tls/ca.pem", Certificate: "/srv/tls/cert.pem", Key: "/srv/tls/key.pem", ServerName: "shop"},
			Timeouts: config.Timeouts{Dial: time.Second}, Limits: config.BackendLimits{Connections: 10, Requests: 20},
			Breaker: config.Breaker{Failures: 3, Pause: time.Second}, Health: "/up", HealthInterval: 2 * time.Second, Build: "/buildz",
		}, c.Monolith),
	} {
		if diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatIsNamedAloneMayStandForAList(t *testing.T) {
	c := parse(t, "monolith: {url: &home http://127.0.0.1:9000}\ncapabilities: {a: {service: {url: [*home]}}}\ntrusted_proxies: 10.0.0.7\n")
	if got := c.Capabilities[0].Service.URL; got != "http://127.0.0.1:9000" || len(c.Trusted) != 1 {
		t.Errorf("%q, %v", got, c.Trusted)
	}
}

// key is the key of the monolith in edge after replacing a text by another.
func key(t *testing.T, replacing ...string) string {
	t.Helper()
	text := strings.NewReplacer(replacing...).Replace(edge)
	if len(replacing) > 0 && text == edge {
		t.Fatalf("%q is not in the file", replacing)
	}
	return parse(t, text).Monolith.Key()
}

func TestAKeyTellsBackendsApartByEverythingThatMakesThem(t *testing.T) {
	want := key(t)
	for _, replacing := range [][]string{
		{"https://10.0.0.1:9443/", "https://10.0.0.9:9443"},
		{", https://10.0.0.2:9443", ""},
		{"protocol: h2", "protocol: http/1.1"},
		{"host: backend", "host: client"},
		{"rewrite: false", "rewrite: true"},
		{"server_name: shop", "server_name: store"},
		{"dial: 1s", "dial: 2s"},
		{"connections: 10,", "connections: 11,"},
		{"failures: 3", "failures: 4"},
		{"health: /up", "health: /well"},
		{"health_interval: 2s", "health_interval: 3s"},
	} {
		if key(t, replacing...) == want {
			t.Errorf("%q does not change the key", replacing)
		}
	}
	for _, replacing := range [][]string{
		{"  health: /up", "  build: /version\n  health: /up"},
		{"  health: /up", "  database: sqlite:shop.db\n  health: /up"},
	} {
		if key(t, replacing...) != want {
			t.Errorf("%q changes the key", replacing)
		}
	}
	idle := []string{"  health_interval: 2s\n", ""}
	if key(t, idle...) != key(t, append(idle, "health: /up", "health: /well")...) {
		t.Error("a path that nobody asks by itself changes the key")
	}
}
