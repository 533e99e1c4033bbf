package upstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/upstream"
)

// identity is a certificate that signs itself, and those who believe in it.
type identity struct {
	pair tls.Certificate
	pool *x509.CertPool
}

func newIdentity(t testing.TB, names ...string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.Join(names, " ")}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if len(names) > 0 && names[0] == "elsewhere.test" {
		about.IPAddresses = nil
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id := identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, x509.NewCertPool()}
	id.pool.AddCert(leaf)
	return id
}

// TestBackendAndProxyKnowEachOther asks servers that want to see a certificate,
// on connections of one's own and over net/http.
func TestBackendAndProxyKnowEachOther(t *testing.T) {
	its, elsewhere, own, stranger := newIdentity(t, "billing.test"), newIdentity(t, "elsewhere.test"), newIdentity(t, "proxy"), newIdentity(t, "stranger")
	for name, row := range map[string]struct {
		its    identity
		config *tls.Config
		well   bool
	}{
		"both are known":               {its, &tls.Config{RootCAs: its.pool, Certificates: []tls.Certificate{own.pair}}, true},
		"under another name":           {its, &tls.Config{RootCAs: its.pool, Certificates: []tls.Certificate{own.pair}, ServerName: "billing.test"}, true},
		"the backend is unknown":       {its, &tls.Config{RootCAs: stranger.pool, Certificates: []tls.Certificate{own.pair}}, false},
		"the backend is somebody else": {elsewhere, &tls.Config{RootCAs: elsewhere.pool, Certificates: []tls.Certificate{own.pair}}, false},
		"it has not the name":          {its, &tls.Config{RootCAs: its.pool, Certificates: []tls.Certificate{own.pair}, ServerName: "orders.test"}, false},
		"the proxy is a stranger":      {its, &tls.Config{RootCAs: its.pool, Certificates: []tls.Certificate{stranger.pair}}, false},
		"the proxy shows nothing":      {its, &tls.Config{RootCAs: its.pool}, false},
	} {
		for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
			t.Run(name+", "+string(protocol), func(t *testing.T) {
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName+" well")
				}))
				s.EnableHTTP2 = protocol == upstream.HTTP2
				s.TLS = &tls.Config{Certificates: []tls.Certificate{row.its.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: own.pool}
				s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
				s.StartTLS()
				t.Cleanup(s.Close)
				b := made(t, upstream.Options{URLs: []string{s.URL}, Protocol: protocol, TLS: row.config})
				got, err := send(t.Context(), b, "GET", "/", nil)
				if (err == nil) != row.well || row.well && got != "proxy well" {
					t.Errorf("over net/http: %q, %v", got, err)
				}
				if refusedByUs := !row.well && !strings.HasPrefix(name, "the proxy"); refusedByUs && !isNotSent(err) {
					t.Errorf("nothing was sent, and the error is %v", err)
				}
				if protocol == upstream.HTTP1 {
					if err := raw(b); (err == nil) != row.well {
						t.Errorf("on a connection of one's own: %v", err)
					}
				}
				if err := b.Check(t.Context(), "/"); (err == nil) != row.well {
					t.Errorf("a check: %v", err)
				}
			})
		}
	}
}
