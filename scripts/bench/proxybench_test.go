package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness/require"
)

// tinyBench holds our proxy against the standard library's, with next to
// nothing to do.
func tinyBench(t *testing.T) *proxyBench {
	t.Helper()
	b := &proxyBench{
		log: io.Discard, dir: t.TempDir(), requests: 1_000, rounds: 1, connections: 4, routes: 300,
		idle: []int{10, 30}, calm: 200 * time.Millisecond, paced: 300 * time.Millisecond, peers: named(t, stock),
	}
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// named picks peers.
func named(t *testing.T, names ...string) []peer {
	t.Helper()
	picked, err := chosen("peers", strings.Join(names, ","), peers, func(p peer) string { return p.name })
	if err != nil {
		t.Fatal(err)
	}
	return picked
}

// TestEveryProxyCaseFillsItsNumbersAndFailsNoRequest against our command and
// the standard library's proxy.
func TestEveryProxyCaseFillsItsNumbersAndFailsNoRequest(t *testing.T) {
	b := tinyBench(t)
	for _, each := range proxyCases {
		t.Run(each.name, func(t *testing.T) {
			c, err := b.compete(t.Context(), each)
			if err != nil {
				t.Fatal(err)
			}
			if wrong := c.failed(); len(wrong) > 0 {
				t.Fatal(errors.Join(wrong...))
			}
			contenders := 2
			if each.name == "mirror" {
				contenders = 3
			}
			if n := len(c.contenders); n != contenders {
				t.Fatalf("%d contenders", n)
			}
			for _, e := range c.contenders {
				if len(e.found) != b.rounds {
					t.Errorf("%s has %d rounds", e.name, len(e.found))
				}
				for _, m := range c.metrics {
					if besides := slices.Contains([]metric{reloads, inForce, mirroredFor}, m); besides != (e.beside != nil) && besides {
						continue // what the other contender does
					}
					values := e.of(m)
					// Memory may be less afterwards: a collection came in between.
					if memory := m.unit == "KiB"; len(values) != b.rounds || !memory && values[0] <= 0 {
						t.Errorf("%s: %s: %v", e.name, m.name, values)
					}
				}
			}
		})
	}
}

// TestAProxyThatFailsIsShownAndEndsTheBenchBadly though the others are
// measured.
func TestAProxyThatFailsIsShownAndEndsTheBenchBadly(t *testing.T) {
	b := tinyBench(t)
	b.peers = []peer{
		{"falls", func(context.Context, setting) (*server, error) { return nil, errors.New("it fell over") }},
		{"absent", func(context.Context, setting) (*server, error) {
			_, err := installed("no-such-proxy")
			return nil, err
		}},
		{"wrong", func(ctx context.Context, s setting) (*server, error) {
			return startRole(ctx, serving{Do: "backend", Answer: 100})
		}},
	}
	var people, machine bytes.Buffer
	if err := b.run(t.Context(), proxyCases[:1], &people, false); err == nil ||
		!strings.Contains(err.Error(), "it fell over") || !strings.Contains(err.Error(), "1100 × an answer of 100 bytes instead of 340") || strings.Contains(err.Error(), "absent") {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"\nstrangler ", "it fell over", "not installed", "1100 × an answer of 100 bytes instead of 340"} {
		if !strings.Contains(people.String(), want) {
			t.Errorf("no %q in\n%s", want, people.String())
		}
	}
	if err := b.run(t.Context(), proxyCases[:1], &machine, true); err == nil {
		t.Error("the bench ended well")
	}
	reasons := map[string]string{}
	for line := range bytes.Lines(machine.Bytes()) {
		var m measure
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		if m.NotMeasured != "" {
			reasons[m.Name] = m.NotMeasured
		}
	}
	if len(reasons) != 3 || reasons["falls"] != "it fell over" || reasons["absent"] != "not installed" {
		t.Errorf("%v", reasons)
	}
}

// TestAnInterruptedProxyBenchLeavesNoProcess whatever it was doing.
func TestAnInterruptedProxyBenchLeavesNoProcess(t *testing.T) {
	b := tinyBench(t)
	ctx, interrupt := context.WithCancel(t.Context())
	b.log = writer(func([]byte) { interrupt() })
	b.rounds = 1000
	if _, err := b.compete(ctx, proxyCases[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	left, err := family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("%d processes are left", len(left)-1)
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// TestEveryProxyKeepsConnectionsToTheBackendAndLogsEachRequest so that what is
// compared does the same work.
func TestEveryProxyKeepsConnectionsToTheBackendAndLogsEachRequest(t *testing.T) {
	b := tinyBench(t)
	for _, p := range append([]peer{{ours, startOurs}}, peers...) {
		if p.name == bare {
			continue // which logs nothing
		}
		t.Run(p.name, func(t *testing.T) {
			w := &caseWorld{proxyBench: b, ctx: t.Context()}
			l := w.complete(load{Requests: 500, Answer: smallAnswer})
			backend := startBackendHere(t)
			s, err := w.furnish(p.name, setting{backend: backend.addr, routes: b.routes})
			if err != nil {
				t.Fatal(err)
			}
			proxy, err := p.start(t.Context(), s)
			if errors.Is(err, notInstalled) {
				what := "servers"
				if p.name == "caddy" {
					what = "caddy"
				}
				require.Missing(t, what, fmt.Sprintf("%s is %v", p.name, err))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.stop(t.Context())
			found, err := (&contest{load: l}).play(t.Context(), &contender{server: proxy}, nil)
			if err != nil || found.Answered != l.Requests || len(found.Errors) > 0 {
				t.Fatalf("%+v, %v", found, err)
			}
			// Each thread may keep its own.
			if n := backend.accepted.Load(); n > int64(10*l.Connections) {
				t.Errorf("%d connections to the backend for %d requests", n, l.Requests)
			}
			all := l.Requests + l.Warmup
			least := all
			if p.name == "haproxy" {
				least -= all / 20 // it drops a line rather than let one thread wait for another
			}
			awaitLines(t, filepath.Join(s.dir, "access.log"), least, all)
		})
	}
}

// awaitLines waits until a file has so many lines.
func awaitLines(t *testing.T, path string, least, most int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		have := bytes.Count(text, []byte("\n"))
		if have >= least && have <= most {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d lines, not %d to %d, and begins with\n%.500s", path, have, least, most, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestFlagsOfTheProxyBenchSayWhatTheyAccept(t *testing.T) {
	for args, want := range map[string]string{
		"--case nosuch":                 "accepted are json, half, body64k, upload1m, idle, routes10k, tls, mirror, reload",
		"--case json --peers nosuch":    "accepted are nginx, haproxy, caddy, reverseproxy, relay",
		"--requests 1":                  "at least 100",
		"--rounds 0":                    "at least 1",
		"json":                          "takes no arguments",
		"--case json --connections nil": "invalid value",
	} {
		err := proxy(t.Context(), strings.Fields(args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
