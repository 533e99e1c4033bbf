package listener_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/listener"
)

// authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	_, a.certificate, a.key = issue(t, nil, "the authority", time.Now().Add(time.Hour))
	return a
}

// issue makes a certificate, signed by itself where there is no authority.
func issue(t *testing.T, by *authority, name string, until time.Time) ([]byte, *x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: by == nil,
	}
	if by == nil {
		by = &authority{template, key}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw, made, key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// client is a client's certificate.
func (a *authority) client(t *testing.T) tls.Certificate {
	raw, _, key := issue(t, a, "a client", time.Now().Add(time.Hour))
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// files are a server's files on disk, and a clock that stands still.
type files struct {
	*testing.T
	listener.CertificateOptions
	now atomic.Pointer[time.Time]

	mu       sync.Mutex
	failures []string
}

func newFiles(t *testing.T, by *authority, name string) *files {
	t.Helper()
	dir := t.TempDir()
	f := &files{T: t}
	f.Certificate, f.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	now := time.Now()
	f.now.Store(&now)
	f.Clock = func() time.Time { return *f.now.Load() }
	f.Failed = func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failures = append(f.failures, err.Error())
	}
	f.put(by, name, now.Add(time.Hour))
	return f
}

// put writes a new pair.
func (f *files) put(by *authority, name string, until time.Time) {
	f.Helper()
	raw, _, key := issue(f.T, by, name, until)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.write(f.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
	f.write(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (f *files) write(path string, text []byte) {
	f.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		f.Fatal(err)
	}
}

// trust makes clients need a certificate of an authority.
func (f *files) trust(a *authority) {
	f.Helper()
	f.ClientCA = filepath.Join(filepath.Dir(f.Key), "clients.pem")
	f.write(f.ClientCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// later lets the clock of the certificates go on.
func (f *files) later() {
	now := f.now.Load().Add(time.Second)
	f.now.Store(&now)
}

func (f *files) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.failures...)
}

func (f *files) load() *listener.Certificates {
	f.Helper()
	c, err := listener.LoadCertificates(f.CertificateOptions)
	if err != nil {
		f.Fatal(err)
	}
	return c
}

// secure returns a client over TLS that opens a connection for each request.
func secure(t *testing.T, config *tls.Config, http2 bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{TLSClientConfig: config.Clone(), Protocols: &protocols, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: hang}
}

// name returns the name of the certificate that a server shows.
func (r *running) name(t *testing.T, config *tls.Config) string {
	t.Helper()
	conn, err := tls.Dial("tcp", r.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTLSAgreesOnTheProtocol(t *testing.T) {
	root := newAuthority(t)
	f := newFiles(t, root, "one")
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	config := &tls.Config{RootCAs: root.pool()}
	if got := get(t, secure(t, config, true), "https://"+r.addr+"/two"); got != "HTTP/2.0 /two" {
		t.Errorf("HTTP/2 was answered %q", got)
	}
	if got := get(t, secure(t, config, false), "https://"+r.addr+"/one"); got != "GET /one HTTP/1.1" {
		t.Errorf("HTTP/1 was answered %q", got)
	}
	if _, err := tls.Dial("tcp", r.addr, &tls.Config{RootCAs: root.pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	eventually(t, "the count of the refusal", func() bool { return r.count(listener.Handshake) == 1 })
}

func TestSeveralRequestsOfOneTLSConnectionAreAnswered(t *testing.T) {
	root := newAuthority(t)
	f := newFiles(t, root, "one")
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	c := r.dialTLS(t, &tls.Config{RootCAs: root.pool()})
	c.send("GET /1 HTTP/1.1\r\n\r\n")
	c.answer()
	for _, part := range []string{"G", "ET /2 HTTP/1.1\r", "\n\r\n"} {
		c.send(part)
	}
	if _, body := c.answer(); body != "GET /2 HTTP/1.1" {
		t.Errorf("the second request was answered %q", body)
	}
}

// dialTLS opens a raw connection over TLS.
func (r *running) dialTLS(t *testing.T, config *tls.Config) *client {
	t.Helper()
	c := r.dial(t)
	config.ServerName = "127.0.0.1"
	conn := tls.Client(c.Conn, config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Conn = conn
	c.in.Reset(conn)
	return c
}

func TestHTTP2HandlersSeeTheClientsCertificate(t *testing.T) {
	root, clients := newAuthority(t), newAuthority(t)
	f := newFiles(t, root, "one")
	f.trust(clients)
	names := make(chan string, 1)
	r := run(t, func(o *listener.Options) {
		o.TLS = f.load()
		o.HTTP2 = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			names <- r.TLS.PeerCertificates[0].Subject.CommonName
		})
	})
	config := &tls.Config{RootCAs: root.pool(), Certificates: []tls.Certificate{clients.client(t)}}
	get(t, secure(t, config, true), "https://"+r.addr+"/")
	if name := <-names; name != "a client" {
		t.Errorf("the handler saw %q", name)
	}
}

func TestAClientWithoutACertificateOfTheRightAuthorityIsRefused(t *testing.T) {
	root, clients := newAuthority(t), newAuthority(t)
	f := newFiles(t, root, "one")
	f.trust(clients)
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	for i, certificates := range [][]tls.Certificate{nil, {newAuthority(t).client(t)}} {
		res, err := secure(t, &tls.Config{RootCAs: root.pool(), Certificates: certificates}, false).Get("https://" + r.addr)
		if err == nil {
			res.Body.Close()
			t.Error("a stranger was answered")
		}
		eventually(t, "the count of the refusal", func() bool { return r.count(listener.Handshake) == i+1 })
	}
	config := &tls.Config{RootCAs: root.pool(), Certificates: []tls.Certificate{clients.client(t)}}
	if got := get(t, secure(t, config, false), "https://"+r.addr+"/"); got != "GET / HTTP/1.1" {
		t.Errorf("a client with a certificate was answered %q", got)
	}
}

func TestCertificatesAreReadAnewWhenTheFilesChange(t *testing.T) {
	root := newAuthority(t)
	f := newFiles(t, root, "one")
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	config := &tls.Config{RootCAs: root.pool()}
	f.put(root, "two", time.Now().Add(time.Hour))
	if name := r.name(t, config); name != "one" {
		t.Errorf("within a second %q was shown", name)
	}
	f.later()
	if name := r.name(t, config); name != "two" {
		t.Errorf("after a second %q was shown", name)
	}
	if told := f.told(); len(told) > 0 {
		t.Errorf("it was told %q", told)
	}
}

func TestABrokenNewPairIsRefusedAndTheOldOneStays(t *testing.T) {
	root := newAuthority(t)
	f := newFiles(t, root, "one")
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	config := &tls.Config{RootCAs: root.pool()}
	other := newFiles(t, root, "another")
	key, err := os.ReadFile(other.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spoil func()
		say   string
	}{
		{func() { f.write(f.Key, key) }, "are no pair"},
		{func() { f.write(f.Certificate, []byte("nothing")) }, "are no pair"},
		{func() { os.Remove(f.Key) }, "no such file"},
		{func() { f.put(root, "late", time.Now().Add(-time.Minute)) }, "was good until"},
	} {
		before := len(f.told())
		c.spoil()
		for range 2 {
			f.later()
			if name := r.name(t, config); name != "one" {
				t.Errorf("%s: %q was shown", c.say, name)
			}
		}
		told := f.told()[before:]
		if len(told) != 1 || !strings.Contains(told[0], c.say) || !strings.Contains(told[0], "stays") {
			t.Errorf("%s: it was told %q", c.say, told)
		}
	}
	f.put(root, "two", time.Now().Add(time.Hour))
	f.later()
	if name := r.name(t, config); name != "two" {
		t.Errorf("after all was good again %q was shown", name)
	}
}

func TestFilesThatAreNotGoodAtTheStartAreNamed(t *testing.T) {
	root := newAuthority(t)
	for say, spoil := range map[string]func(*files){
		"no such file":         func(f *files) { f.Certificate += "x" },
		"are no pair":          func(f *files) { f.write(f.Key, nil) },
		"holds no certificate": func(f *files) { f.trust(root); f.write(f.ClientCA, []byte("nothing")) },
	} {
		f := newFiles(t, root, "one")
		spoil(f)
		if _, err := listener.LoadCertificates(f.CertificateOptions); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("instead of %q: %v", say, err)
		}
	}
}

func TestACertificateOutOfDateServesAtTheStartAndIsTold(t *testing.T) {
	root := newAuthority(t)
	f := newFiles(t, root, "one")
	f.put(root, "late", time.Now().Add(-time.Minute))
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	if name := r.name(t, &tls.Config{InsecureSkipVerify: true}); name != "late" {
		t.Errorf("%q was shown", name)
	}
	if told := f.told(); len(told) != 1 || !strings.Contains(told[0], "was good until") {
		t.Errorf("it was told %q", told)
	}
}

func TestClearTextOnATLSPortIsToldSo(t *testing.T) {
	f := newFiles(t, newAuthority(t), "one")
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	for i, method := range []string{"GET", "PROPFIND", "PRI"} {
		c := r.dial(t)
		c.send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, body := c.answer(); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "https://") {
			t.Errorf("%s was answered %d %q", method, res.StatusCode, body)
		}
		c.ended()
		if n := r.count(listener.ClearText); n != i+1 {
			t.Errorf("%d were counted", n)
		}
	}
}

func TestAHandshakeThatDoesNotGoOnEnds(t *testing.T) {
	f := newFiles(t, newAuthority(t), "one")
	r := run(t, func(o *listener.Options) { o.TLS, o.Limits.Head = f.load(), 10*time.Millisecond })
	c := r.dial(t)
	c.send("\x16\x03\x01")
	if n, err := c.in.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("%d bytes came, %v", n, err)
	}
	eventually(t, "the count", func() bool { return r.count(listener.Slow) == 1 })
}

func TestLookingWhetherSomebodyListensIsNoRefusal(t *testing.T) {
	f := newFiles(t, newAuthority(t), "one")
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	c := r.dial(t)
	c.Close()
	eventually(t, "the end of the connection", func() bool { return r.Connections() == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refused) > 0 {
		t.Errorf("it was counted: %v", r.refused)
	}
}

func TestADrainEndsIdleTLSConnections(t *testing.T) {
	root := newAuthority(t)
	f := newFiles(t, root, "one")
	r := run(t, func(o *listener.Options) { o.TLS = f.load() })
	c := r.dialTLS(t, &tls.Config{RootCAs: root.pool()})
	c.send("GET / HTTP/1.1\r\n\r\n")
	c.answer()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := c.in.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes came, %v", n, err)
	}
	if ends := r.endings(); len(ends) != 1 || !errors.Is(ends[0], listener.ErrDraining) {
		t.Errorf("the connection ended with %v", ends)
	}
}
