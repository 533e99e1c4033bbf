// Package looptest runs a package's tests once in each of the ways in which
// connections may be served.
package looptest

import (
	"errors"
	"log"
	"os"
	"sync"
	"testing"

	"stranglerfig/strangler-proxy/loop"
)

// Loops returns the loops for connections of a test; nil: there are to be none. The
// first test that needs them starts them, because m.Run says how many processors
// there are.
func Loops() *loop.Group { return start() }

var start = none

func none() *loop.Group { return nil }

// Main runs the tests with goroutines, with loops, and with loops whose every read
// and write is made as if there were others. It is a TestMain.
func Main(m *testing.M) {
	code := m.Run()
	for _, o := range []loop.Options{{Loops: 2}, {Loops: 2, Together: 1}} {
		code |= on(o, m)
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
