package conformance

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// input is something hostile or clumsy that a client does.
type input struct {
	name, answer string // as docs/conformance.md has them
	limits       string // in strangler.yaml
	listener     kind
	do           func(t testing.TB, s *stage)
}

// small are limits that a test can reach.
const small = "limits: {head: 8KiB, body: 100KiB, head_timeout: 300ms, body_timeout: 300ms, connections: 8, requests: 2}\n"

var (
	inClear = kind{name: "http"}
	overTLS = kind{name: "https", tls: true}
)

// TestHostileAndClumsyInputs gives each of them the answer that is documented,
// and finds the proxy well afterwards.
func TestHostileAndClumsyInputs(t *testing.T) {
	all := slices.Concat(headInputs, bodyInputs, connectionInputs, framedInputs)
	if len(all) < 24 {
		t.Errorf("%d inputs", len(all))
	}
	for _, in := range all {
		check(t, in.name, func(t testing.TB) {
			s := newStage(t, in.listener, inClear, in.limits)
			in.do(t, s)
			s.isWell(t)
		})
	}
	var documented [][]string
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(section(t, "Hostile and clumsy inputs"), -1) {
		documented = append(documented, m[1:])
	}
	for i, in := range all {
		if i >= len(documented) || !slices.Equal(documented[i], []string{strconv.Itoa(i + 1), in.name, in.answer}) {
			t.Errorf("docs/conformance.md lacks\n| %d | %s | %s |", i+1, in.name, in.answer)
		}
	}
	if len(documented) != len(all) {
		t.Errorf("docs/conformance.md has %d rows for %d inputs", len(documented), len(all))
	}
}

// documentation is the page that says what this package holds.
const documentation = "../../docs/conformance.md"

// section returns what stands below a heading of it.
func section(t testing.TB, heading string) string {
	t.Helper()
	raw, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	_, below, found := strings.Cut(string(raw), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/conformance.md has no section %q", heading)
	}
	below, _, _ = strings.Cut(below, "\n## ")
	return below
}

// refusal reads the proxy's own refusal, behind which the connection ends.
func (w *wire) refusal(status int) {
	w.t.Helper()
	got := w.answer("GET")
	if got.StatusCode != status || !strings.HasPrefix(got.body, "strangler: ") {
		w.t.Errorf("answered %s %q, want %d", got.Status, got.body, status)
	}
	if !got.Close {
		w.t.Errorf("the refusal does not say that the connection ends: %v", got.Header)
	}
	w.isOver()
}

// isOver finds the connection ended by the proxy.
func (w *wire) isOver() {
	w.t.Helper()
	if rest, err := w.in.ReadByte(); err == nil {
		w.t.Errorf("more comes, beginning with %q", rest)
	} else if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
		w.t.Error("the connection stays open")
	}
}

// untouched is a path at which nobody may be asked.
func (s *stage) untouched(t testing.TB) (path string) {
	return s.script.at(func(_ *line, head string) bool {
		t.Errorf("the backend was asked %q", firstLine(head))
		return false
	})
}
