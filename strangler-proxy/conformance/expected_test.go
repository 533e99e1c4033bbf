package conformance

import (
	"flag"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// failing names cases that are known to fail.
type failing struct {
	// name is a test's; every test below it is meant as well, and a * stands
	// for anything within one of its levels.
	name    string
	because string
}

// pending lists what needs something that is not there yet.
var pending = []failing{}

// defects lists what is there and does the wrong thing.
var defects = []failing{}

// met notes which lines of the tables belonged to a test that ran.
var met sync.Map

// expected returns the line of a table that names a test.
func expected(name string) (failing, bool) {
	for _, table := range [][]failing{pending, defects} {
		for _, f := range table {
			if f.means(name) {
				met.Store(f.name, true)
				return f, true
			}
		}
	}
	return failing{}, false
}

// means reports whether a line is about a test.
func (f failing) means(name string) bool {
	levels := strings.Split(name, "/")
	listed := strings.Split(strings.ReplaceAll(f.name, " ", "_"), "/")
	if len(listed) > len(levels) {
		return false
	}
	for i := range listed {
		if same, err := path.Match(listed[i], levels[i]); err != nil || !same {
			return false
		}
	}
	return true
}

// side is how many cases run side by side: most of them wait most of the time.
const side = "8"

// TestMain also fails on lines of the tables that name no test.
func TestMain(m *testing.M) {
	if takePart() {
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", side); err != nil {
		panic(err) // it is go test's own
	}
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == "" && !testing.Short() {
		for _, f := range append(pending, defects...) {
			if _, ok := met.Load(f.name); !ok {
				fmt.Fprintf(os.Stderr, "FAIL: %q is listed as failing, but there is no such test\n", f.name)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// check runs a case beside others. One that is listed as failing must fail.
func check(t *testing.T, name string, f func(t testing.TB)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		holds(t, f)
	})
}

// holds runs a case, and reports whether it was one that should hold and does.
func holds(t *testing.T, f func(t testing.TB)) bool {
	t.Helper()
	line, listed := expected(t.Name())
	if !listed {
		f(t)
		return !t.Failed()
	}
	if a := attempt(t, f); a.failed {
		t.Logf("fails as expected: %s\n%s", line.because, a.said.String())
		return false
	}
	t.Errorf("this holds by now: take the line %q out of expected_test.go", line.name)
	return false
}

// attempted is a case whose failure is not the test's.
type attempted struct {
	testing.TB
	mu     sync.Mutex
	failed bool
	said   strings.Builder
}

// attempt runs a case to its end, well or not.
func attempt(t *testing.T, f func(t testing.TB)) *attempted {
	a := &attempted{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(a)
	}()
	<-ended
	a.mu.Lock()
	defer a.mu.Unlock()
	return a
}

func (a *attempted) note(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = true
	a.said.WriteString("\t" + strings.TrimSuffix(text, "\n") + "\n")
}

func (a *attempted) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *attempted) Fail() { a.note("failed") }

func (a *attempted) FailNow() {
	a.Fail()
	runtime.Goexit()
}

func (a *attempted) Error(args ...any) { a.note(fmt.Sprintln(args...)) }

func (a *attempted) Errorf(format string, args ...any) { a.note(fmt.Sprintf(format, args...)) }

func (a *attempted) Fatal(args ...any) {
	a.Error(args...)
	runtime.Goexit()
}

func (a *attempted) Fatalf(format string, args ...any) {
	a.Errorf(format, args...)
	runtime.Goexit()
}
