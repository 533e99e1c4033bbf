package conformance

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// TestH2spec runs h2spec against every HTTP/2 listener and against Go's own
// server: the proxy fails what that fails and nothing else, which is what the
// documentation lists.
func TestH2spec(t *testing.T) {
	for _, listener := range kinds {
		if !listener.h2 {
			continue
		}
		check(t, listener.name, func(t testing.TB) {
			id := newIdentity(t)
			app := newApplication(t, kind{name: "http"}, id)
			app.cases.Store("", http.HandlerFunc(plainAnswer))
			f := start(t, listener.listener(id)+"monolith: "+app.kind.backend(app.address, id)+"\n")
			documented := documentedFailures(t, listener)
			goes, ours := []string(nil), []string(nil)
			var both sync.WaitGroup
			address := goServer(t, listener, id)
			both.Go(func() { goes = runSpec(t, address, listener.tls) })
			both.Go(func() { ours = runSpec(t, f.address, listener.tls) })
			both.Wait()
			if !slices.Equal(ours, goes) {
				t.Errorf("the proxy fails\n\t%s\nGo's server fails\n\t%s", strings.Join(ours, "\n\t"), strings.Join(goes, "\n\t"))
			}
			if !slices.Equal(goes, documented) {
				t.Errorf("Go's server fails\n\t%s\ndocs/conformance.md lists\n\t%s", strings.Join(goes, "\n\t"), strings.Join(documented, "\n\t"))
			}
		})
	}
}

// plainAnswer is an answer with a body, for which h2spec looks.
func plainAnswer(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, strings.Repeat("plain ", 50))
}

// goServer serves the same answer by net/http alone.
func goServer(t testing.TB, k kind, id *identity) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	both := k.protocols()
	both.SetHTTP1(true)
	server := &http.Server{Handler: http.HandlerFunc(plainAnswer), Protocols: both, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var serving sync.WaitGroup
	serving.Go(func() {
		if k.tls {
			server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{id.pair}}
			_ = server.ServeTLS(l, "", "")
			return
		}
		_ = server.Serve(l)
	})
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

const (
	// specWait is for an answer, before a case has failed: longer than the
	// second for which Go's server keeps a connection that it has told to go.
	specWait  = 3 * time.Second
	specTries = 2  // a case has failed when it did so each time
	specAside = 16 // cases that run side by side
)

// runSpec returns the cases that a server fails, in h2spec's order.
func runSpec(t testing.TB, address string, secure bool) []string {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Error(err)
		return nil
	}
	c := &config.Config{Host: host, Port: number, Path: "/", Timeout: specWait, MaxHeaderLen: 4000, Strict: true, TLS: secure, Insecure: true}
	var names []string
	var cases []*spec.TestCase
	var collect func(g *spec.TestGroup)
	collect = func(g *spec.TestGroup) {
		for i, one := range append(g.Tests, g.StrictTests...) {
			names, cases = append(names, fmt.Sprintf("%s/%d %s", g.ID(), i+1, one.Desc)), append(cases, one)
		}
		for _, below := range g.Groups {
			collect(below)
		}
	}
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		collect(g)
	}
	if len(cases) < 140 {
		t.Errorf("h2spec has %d cases only", len(cases))
	}
	failed := make([]bool, len(cases))
	var running sync.WaitGroup
	aside := make(chan struct{}, specAside)
	for i, one := range cases {
		aside <- struct{}{}
		running.Go(func() {
			failed[i] = failsEachTime(c, one)
			<-aside
		})
	}
	running.Wait()
	var list []string
	for i, name := range names {
		if failed[i] {
			list = append(list, name)
		}
	}
	return list
}

// failsEachTime reports whether a server has no way to pass a case. Some cases
// look at what comes first of two things that may come in either order.
func failsEachTime(c *config.Config, one *spec.TestCase) bool {
	for range specTries {
		conn, err := spec.Dial(c)
		if err != nil {
			continue
		}
		err = one.Run(c, conn)
		conn.Close()
		if err == nil || err == spec.ErrSkipped {
			return false
		}
	}
	return true
}

// documentation is the page that lists what this package holds.
const documentation = "../../docs/conformance.md"

// documentedFailures reads the list of what Go's server fails.
func documentedFailures(t testing.TB, k kind) []string {
	t.Helper()
	raw, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range regexp.MustCompile("(?m)^- `((?:generic|http2|hpack)/[^`]+)`(.*)").FindAllStringSubmatch(string(raw), -1) {
		if !k.tls || !strings.Contains(m[2], "in clear text") {
			list = append(list, m[1])
		}
	}
	return list
}
