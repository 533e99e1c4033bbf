// Package stranglerfig has no code of its own: this test is the project's
// import policy, to be read as text. Changing it needs a reason in
// ARCHITECTURE.md.
package stranglerfig

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// layers says who may import whom within the module, by longest prefix: each
// line names a package (or a tree of packages, ending in /) and what it may
// import of ours besides itself and its own subtree.
const layers = `
# The data half knows neither routes nor proofs.
migrations/mapping/          :
migrations/change/            : migrations/mapping
migrations/cutover/          : migrations/change
migrations/sqlite/           : migrations/change migrations/mapping
migrations/postgres/         : migrations/change migrations/mapping
migrations/backfill/         : migrations/change migrations/mapping
migrations/verify/           : migrations/change migrations/mapping migrations/backfill
migrations/ledger/           : migrations/change
migrations/engine/           : migrations/
migrations/pair/             : migrations/

# The proof half knows neither routes nor data moves.
contract-tests/match/        :
contract-tests/compare/      : contract-tests/match
contract-tests/generator/    : contract-tests/match
contract-tests/contract/     : contract-tests/match contract-tests/generator
contract-tests/sequential/   :
contract-tests/noise/        : contract-tests/match contract-tests/compare
contract-tests/tape/         : contract-tests/contract contract-tests/match contract-tests/compare
contract-tests/verify/       : contract-tests/contract contract-tests/match contract-tests/compare contract-tests/generator
contract-tests/har/          : contract-tests/tape contract-tests/contract
contract-tests/openapi/      : contract-tests/contract contract-tests/compare contract-tests/match
contract-tests/report/       : contract-tests/verify contract-tests/compare contract-tests/match
contract-tests/history/      :
contract-tests/chaos/        : contract-tests/history
contract-tests/harness/      : *
contract-tests/shop/         : *
contract-tests/crashes/      : *

# The HTTP half wires the other two together.
strangler-proxy/route/       : migrations/change
strangler-proxy/config/      : strangler-proxy/route migrations/mapping migrations/change contract-tests/sequential contract-tests/match
strangler-proxy/kernel/      :
strangler-proxy/loop/        : strangler-proxy/kernel
strangler-proxy/loop/looptest/ : strangler-proxy/loop strangler-proxy/kernel contract-tests/harness/require
strangler-proxy/socket/      : strangler-proxy/kernel strangler-proxy/loop
strangler-proxy/upstream/    : strangler-proxy/socket strangler-proxy/loop
strangler-proxy/http1/       :
strangler-proxy/listener/    : strangler-proxy/socket strangler-proxy/loop
strangler-proxy/trace/       :
strangler-proxy/shadow/      : strangler-proxy/ contract-tests/compare contract-tests/contract contract-tests/match contract-tests/noise contract-tests/sequential contract-tests/tape migrations/change
strangler-proxy/proxy/       : strangler-proxy/http1 strangler-proxy/listener strangler-proxy/loop strangler-proxy/route strangler-proxy/socket strangler-proxy/trace strangler-proxy/upstream migrations/engine migrations/change
strangler-proxy/control/     : strangler-proxy/ migrations/ contract-tests/
strangler-proxy/control/api/ : migrations/change
strangler-proxy/evidence/    : strangler-proxy/control contract-tests/contract contract-tests/verify contract-tests/compare contract-tests/match migrations/ledger migrations/engine
strangler-proxy/cli/         : strangler-proxy/ migrations/ contract-tests/
strangler-proxy/             : strangler-proxy/cli

# The worked example knows nothing of the toolkit; its parts know nothing of
# each other.
monolith/                    :
extracted/billing/           :
extracted/catalog/           :

# Demo and benches drive everything from outside.
scripts/                     : *
`

// pure packages do no I/O: they import none of these.
const (
	pure   = "strangler-proxy/route strangler-proxy/http1 migrations/mapping migrations/cutover contract-tests/match contract-tests/compare contract-tests/generator contract-tests/sequential contract-tests/noise"
	impure = "os net net/http database/sql os/exec io/fs syscall"
)

// homes names the only places a library may be imported from, by prefix.
const homes = `
github.com/labstack/echo/v4                  : monolith/ extracted/ strangler-proxy/control/
gorm.io/                                     : monolith/ extracted/
github.com/Shopify/toxiproxy/v2              : contract-tests/chaos/
github.com/testcontainers/testcontainers-go  : contract-tests/harness/
github.com/getkin/kin-openapi                : contract-tests/openapi/
github.com/oasdiff/oasdiff                   : contract-tests/openapi/
github.com/spf13/cobra                       : strangler-proxy/cli/
go.opentelemetry.io/otel                     : strangler-proxy/trace/
`

const module = "stranglerfig/"

type pkg struct {
	ImportPath string
	Imports    []string
}

// TestImportsFollowThePolicy checks every package of the module, tests aside.
func TestImportsFollowThePolicy(t *testing.T) {
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("only %d packages found", len(packages))
	}
	rules := parse(layers)
	libraries := parse(homes)
	for _, p := range packages {
		self := strings.TrimPrefix(p.ImportPath, module)
		if self == p.ImportPath {
			continue // the root
		}
		rule, ok := longest(rules, self+"/")
		if !ok {
			t.Errorf("%s: no line of the policy covers it; add one", self)
			continue
		}
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module); ok {
				if !within(ours+"/", append([]string{rule.subject}, rule.may...)) {
					t.Errorf("%s imports %s, which the policy does not allow", self, ours)
				}
				continue
			}
			for _, home := range libraries {
				if strings.HasPrefix(imported+"/", home.subject) && !within(self+"/", home.may) {
					t.Errorf("%s imports %s, whose home is %s", self, imported, strings.Join(home.may, " "))
				}
			}
			if isPure(self) && contains(strings.Fields(impure), imported) {
				t.Errorf("%s is pure but imports %s", self, imported)
			}
		}
	}
}

func isPure(self string) bool { return contains(strings.Fields(pure), self) }

// list asks the go command for every package and its imports.
func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

type rule struct {
	subject string
	may     []string
}

// parse reads "subject : what it may" lines; a subject ends in a slash.
func parse(text string) []rule {
	var rules []rule
	for _, line := range strings.Split(text, "\n") {
		subject, may, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		subject = strings.TrimSuffix(strings.TrimSpace(subject), "/") + "/"
		r := rule{subject: subject}
		for _, m := range strings.Fields(may) {
			if m != "*" {
				m = strings.TrimSuffix(m, "/") + "/"
			}
			r.may = append(r.may, m)
		}
		rules = append(rules, r)
	}
	return rules
}

// longest returns the most specific rule for a package.
func longest(rules []rule, self string) (rule, bool) {
	var best rule
	for _, r := range rules {
		if strings.HasPrefix(self, r.subject) && len(r.subject) > len(best.subject) {
			best = r
		}
	}
	return best, best.subject != ""
}

func within(path string, trees []string) bool {
	for _, tree := range trees {
		if tree == "*" || strings.HasPrefix(path, tree) {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}
