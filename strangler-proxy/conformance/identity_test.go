package conformance

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
)

// TestBothEndsAreShownCertificates has a proxy that wants to see clients'
// certificates before a backend that wants to see the proxy's.
func TestBothEndsAreShownCertificates(t *testing.T) {
	for _, backend := range kinds {
		if !backend.tls {
			continue
		}
		check(t, backend.name, func(t testing.TB) {
			own, its, clients, stranger := newIdentity(t), newIdentity(t), newIdentity(t), newIdentity(t)
			address := mutual(t, backend, its, own)
			yaml := "tls: {certificate: " + own.certificate + ", key: " + own.key + ", client_ca: " + clients.certificate + "}\n" +
				"monolith: {url: https://" + address
			if backend.h2 {
				yaml += ", protocol: h2"
			}
			f := start(t, yaml+", tls: {ca: "+its.certificate+", certificate: "+own.certificate+", key: "+own.key+"}}\n")
			if body, err := asking(f.address, own, clients); err != nil || body != "conformance" {
				t.Errorf("answered %q: %v", body, err)
			}
			if body, err := asking(f.address, own, stranger); err == nil {
				t.Errorf("a stranger was answered %q", body)
			}
			if body, err := asking(f.address, own, nil); err == nil {
				t.Errorf("somebody without a certificate was answered %q", body)
			}
		})
	}
}

// mutual starts a backend that says by what certificate it was asked, if that
// comes from a root.
func mutual(t testing.TB, k kind, id, root *identity) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close") // the next one is shown a certificate as well
			w.Header().Set("X-Shown", base64.StdEncoding.EncodeToString(r.TLS.PeerCertificates[0].Raw))
			io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{id.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.pool},
		Protocols: k.protocols(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// asking sends a request to whoever has an identity, as whoever has another.
func asking(address string, whom, as *identity) (string, error) {
	config := &tls.Config{RootCAs: whom.pool}
	if as != nil {
		config.Certificates = []tls.Certificate{as.pair}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	res, err := client.Get("https://" + address + "/")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// TestANewCertificateIsShownWithoutARestart replaces the files while a
// connection is open, which goes on.
func TestANewCertificateIsShownWithoutARestart(t *testing.T) {
	check(t, "https", func(t testing.TB) {
		s := newStage(t, overTLS, inClear)
		path := s.script.at(say(empty))
		before := s.wire(t)
		before.send("GET " + path + host + "\r\n")
		before.answer("GET")
		renewed := newIdentity(t)
		for from, to := range map[string]string{renewed.certificate: s.id.certificate, renewed.key: s.id.key} {
			raw, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the new certificate is shown", func() bool {
			w := s.wire(t)
			defer w.Close()
			w.send("GET " + path + host + "\r\n")
			w.answer("GET")
			shown := w.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
			return bytes.Equal(shown, renewed.pair.Certificate[0])
		})
		before.send("GET " + path + host + "\r\n")
		if got := before.answer("GET"); got.StatusCode != 200 {
			t.Errorf("a connection from before was answered %s", got.Status)
		}
	})
}

// TestABackendThatIsSomebodyElseIsToldNothing has a backend whose certificate
// comes from another root than the file names.
func TestABackendThatIsSomebodyElseIsToldNothing(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			if !backend.tls {
				continue
			}
			check(t, listener.name+" to "+backend.name, func(t testing.TB) {
				c := &cell{listener: listener, id: newIdentity(t)}
				c.app = newApplication(t, backend, newIdentity(t))
				c.front = start(t, listener.listener(c.id)+"monolith: "+backend.backend(c.app.address, c.id)+"\n")
				c.shared = c.client(t)
				if got := c.ask(t, "POST", "/", "a secret"); got.StatusCode != 503 || !strings.Contains(got.body, "nothing was sent") {
					t.Errorf("answered %s %q", got.Status, got.body)
				}
				if n := c.app.served.Load(); n != 0 {
					t.Errorf("%d requests arrived", n)
				}
			})
		}
	}
}

// TestABackendIsShownANewCertificateWithoutARestart replaces the files of the
// proxy's own certificate.
func TestABackendIsShownANewCertificateWithoutARestart(t *testing.T) {
	for _, backend := range kinds {
		if !backend.tls {
			continue
		}
		check(t, backend.name, func(t testing.TB) {
			its, own, renewed := newIdentity(t), newIdentity(t), newIdentity(t)
			both := &identity{pool: own.pool.Clone()}
			both.pool.AddCert(renewed.pair.Leaf)
			address := mutual(t, backend, its, both)
			yaml := "monolith: {url: https://" + address
			if backend.h2 {
				yaml += ", protocol: h2"
			}
			f := start(t, yaml+", tls: {ca: "+its.certificate+", certificate: "+own.certificate+", key: "+own.key+"}}\n")
			shown := func(id *identity) bool {
				res, err := http.Get("http://" + f.address + "/")
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Fatalf("answered %s", res.Status)
				}
				return res.Header.Get("X-Shown") == base64.StdEncoding.EncodeToString(id.pair.Certificate[0])
			}
			if !shown(own) {
				t.Error("the certificate of the files is not shown")
			}
			for from, to := range map[string]string{renewed.certificate: own.certificate, renewed.key: own.key} {
				raw, err := os.ReadFile(from)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(to, raw, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the new certificate is shown", func() bool { return shown(renewed) })
		})
	}
}
