package listener_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
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
