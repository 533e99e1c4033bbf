package listener_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/listener"
)

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
	eventually(t, "the connection", func() bool { return r.Connections() == 1 })
	c.Close()
	eventually(t, "the end of the connection", func() bool { return r.Connections() == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refused) > 0 {
		t.Errorf("it was counted: %v", r.refused)
	}
}

func TestADrainEndsIdleTLSConnections(t *testing.T) {
	t.Parallel()
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

func TestThoseTooManyAreClosedAtOnceUnderTLS(t *testing.T) {
	root := newAuthority(t)
	f := newFiles(t, root, "one")
	r := run(t, func(o *listener.Options) { o.TLS, o.Limits.Connections = f.load(), 1 })
	r.dialTLS(t, &tls.Config{RootCAs: root.pool()})
	r.dial(t).ended()
	if n := r.count(listener.TooMany); n != 1 {
		t.Errorf("%d connections were counted as too many", n)
	}
}
