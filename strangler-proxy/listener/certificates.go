package listener

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// CertificateOptions say where certificates lie, all in PEM.
type CertificateOptions struct {
	Certificate string // file of ours, followed by those between it and its root
	Key         string // file of its private key
	ClientCA    string // file of the roots that clients' certificates come from; empty: clients need none
	// Failed is told why files that have changed are not used, once for each
	// cause. nil is told nothing.
	Failed func(error)
	Clock  func() time.Time // default time.Now
}

// Certificates are what a server proves itself with. They are read anew when
// the files change: a handshake looks, once a second at most. What is broken
// there is refused, and what was good stays in use.
type Certificates struct {
	o       CertificateOptions
	current atomic.Pointer[tls.Config]

	looking sync.Mutex // guards everything below
	looked  time.Time
	seen    pem    // what the files held when they were last looked at
	problem string // why that is not in use
}

// pem is what the files hold.
type pem struct{ certificate, key, clientCA []byte }

func (p pem) equal(q pem) bool {
	return bytes.Equal(p.certificate, q.certificate) && bytes.Equal(p.key, q.key) && bytes.Equal(p.clientCA, q.clientCA)
}

// LoadCertificates reads the files, which must be good.
func LoadCertificates(o CertificateOptions) (*Certificates, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	c := &Certificates{o: o, looked: o.Clock()}
	var err error
	if c.seen, err = c.read(); err != nil {
		return nil, err
	}
	config, err := c.parse(c.seen)
	if err != nil && !errors.As(err, new(expiredError)) {
		return nil, err
	}
	if err != nil {
		o.Failed(err) // better than serving nobody
	}
	c.current.Store(config)
	return c, nil
}

// lookAgain is how often handshakes look at the files.
const lookAgain = time.Second

// config is what connections are served with.
func (c *Certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.look()
		return c.current.Load(), nil
	}}
}

// Shown returns the certificate as it is now, for connections on which this
// process is the client; see [tls.Config].
func (c *Certificates) Shown(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.look()
	return &c.current.Load().Certificates[0], nil
}

// look takes the files as they are now, if they have changed and are good.
func (c *Certificates) look() {
	if !c.looking.TryLock() {
		return // another handshake does
	}
	defer c.looking.Unlock()
	now := c.o.Clock()
	if now.Sub(c.looked) < lookAgain {
		return
	}
	c.looked = now
	found, err := c.read()
	if err == nil {
		if found.equal(c.seen) {
			return
		}
		c.seen = found
		var config *tls.Config
		if config, err = c.parse(found); err == nil {
			c.current.Store(config)
			c.problem = ""
			return
		}
	}
	if problem := err.Error(); problem != c.problem {
		c.problem = problem
		c.o.Failed(fmt.Errorf("the certificate in use stays: %w", err))
	}
}

func (c *Certificates) read() (p pem, err error) {
	for _, file := range []struct {
		path string
		to   *[]byte
	}{{c.o.Certificate, &p.certificate}, {c.o.Key, &p.key}, {c.o.ClientCA, &p.clientCA}} {
		if file.path == "" {
			continue
		}
		if *file.to, err = os.ReadFile(file.path); err != nil {
			return p, fmt.Errorf("tls: %w", err)
		}
	}
	return p, nil
}

// parse makes of the files' content what connections are served with. With an
// expiredError it is good but for its date.
func (c *Certificates) parse(p pem) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(p.certificate, p.key)
	if err != nil {
		return nil, fmt.Errorf("tls: %s and %s are no pair: %w", c.o.Certificate, c.o.Key, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.o.ClientCA != "" {
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(p.clientCA) {
			return nil, fmt.Errorf("tls: %s holds no certificate: PEM blocks of the type CERTIFICATE are expected", c.o.ClientCA)
		}
	}
	if c.o.Clock().After(pair.Leaf.NotAfter) {
		return config, expiredError{c.o.Certificate, pair.Leaf.NotAfter}
	}
	return config, nil
}

// expiredError says that a certificate is out of date.
type expiredError struct {
	path  string
	until time.Time
}

func (e expiredError) Error() string {
	return fmt.Sprintf("tls: the certificate in %s was good until %s; whoever is shown it will refuse it", e.path, e.until.UTC().Format(time.RFC3339))
}
