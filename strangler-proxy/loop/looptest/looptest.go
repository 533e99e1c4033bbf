// Package looptest has loops for tests, and runs a package's tests once in each of
// the ways in which connections may be served.
package looptest

import (
	"errors"
	"log"
	"os"
	"sync"
	"testing"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/strangler-proxy/kernel"
	"stranglerfig/strangler-proxy/loop"
)

// Start starts loops that end with the test, which is left out where there can be
// none.
func Start(t testing.TB, o loop.Options) *loop.Group {
	t.Helper()
	loops, err := loop.Start(o)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loops.Close)
	return loops
}

// Loops returns the loops for connections of a test; nil: there are to be none. The
// first test that needs them starts them, because m.Run says how many processors
// there are.
func Loops() *loop.Group { return start() }

var start = none

func none() *loop.Group { return nil }

// Main runs the tests with goroutines, with loops, and with loops whose every read
// and write is made as if there were others. It is a TestMain.
func Main(m *testing.M) {
	code := m.Run() | on(loop.Options{Loops: 2}, m)
	if ring, err := kernel.NewRing(2); err == nil {
		ring.Close()
		code |= on(loop.Options{Loops: 2, Together: 1}, m)
	} else if require.Asked("io_uring") {
		log.Fatal(err)
	} else {
		log.Print("reads and writes that are made together are not tested: ", err)
	}
	os.Exit(code)
}

func on(o loop.Options, m *testing.M) (code int) {
	start = sync.OnceValue(func() *loop.Group {
		loops, err := loop.Start(o)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			log.Fatal(err)
		}
		return loops
	})
	code = m.Run()
	if loops := start(); loops != nil {
		loops.Close()
	}
	return code
}
