package stranglerfig

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/migrations/cutover"
	"stranglerfig/strangler-proxy/cli"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/listener"
)

// page is one page of the documentation.
type page struct{ path, text string }

// pages reads the whole documentation.
func pages(t *testing.T) []page {
	t.Helper()
	paths := []string{"README.md", "ARCHITECTURE.md"}
	err := filepath.WalkDir("docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]page, len(paths))
	for i, path := range paths {
		all[i] = page{path, read(t, path)}
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var (
	link    = regexp.MustCompile(`\]\(([^)]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

func TestEveryLinkOfTheDocsLeadsSomewhere(t *testing.T) {
	for _, p := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := p.path
			if file != "" {
				target = filepath.Join(filepath.Dir(p.path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere: %v", p.path, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s: the link %s leads to no heading", p.path, m[1])
			}
		}
	}
}

// anchors lists what the headings of a text are linked by.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// command finds where a text names the command with a verb: typed at a prompt
// or in a line of its own, in a hint, in a heading, or set as code.
var command = regexp.MustCompile("(?m)(?:^|^\\$ |^#+ |: |`)strangler ([a-z-]+)(?: ([a-z-]+))?")

// groups are the verbs whose next word is a verb as well.
var groups = []string{"data", "contract", "chaos", "evidence", "shadow"}

func TestEveryVerbOfTheDocsExists(t *testing.T) {
	known := map[string]bool{}
	for _, p := range pages(t) {
		for _, m := range command.FindAllStringSubmatch(p.text, -1) {
			verb := "strangler " + m[1]
			if slices.Contains(groups, m[1]) && m[2] != "" {
				verb += " " + m[2]
			}
			if _, seen := known[verb]; !seen {
				known[verb] = strings.Contains(help(strings.Fields(verb)[1:]...), "\n  "+verb+" ")
			}
			if !known[verb] {
				t.Errorf("%s names %q, which the command does not have", p.path, verb)
			}
		}
	}
}

func TestEveryVerbIsInTheReference(t *testing.T) {
	reference := read(t, "docs/reference/commands.md")
	for _, verb := range verbs() {
		names := []string{"strangler " + verb}
		for _, below := range verbs(verb) {
			names = append(names, "strangler "+verb+" "+below)
		}
		for _, name := range names {
			if !strings.Contains(reference, name) {
				t.Errorf("docs/reference/commands.md does not name %q", name)
			}
		}
	}
}

// help returns what the command says of a verb.
func help(verb ...string) string {
	var out bytes.Buffer
	cli.Main(append(verb, "--help"), &out, &out)
	return out.String()
}

// verbs lists the verbs below a verb.
func verbs(under ...string) []string {
	_, rest, _ := strings.Cut(help(under...), "Available Commands:\n")
	list, _, _ := strings.Cut(rest, "\n\n")
	var all []string
	for _, line := range strings.Split(list, "\n") {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "help" {
			all = append(all, fields[0])
		}
	}
	return all
}

const configReference = "docs/reference/strangler-yaml.md"

// fenced returns the last fenced block of a language in a page.
func fenced(t *testing.T, path, language string) string {
	t.Helper()
	blocks := strings.Split(read(t, path), "```"+language+"\n")
	if len(blocks) < 2 {
		t.Fatalf("%s has no %s block", path, language)
	}
	text, _, _ := strings.Cut(blocks[len(blocks)-1], "```")
	return text
}

func environment(string) (string, bool) { return strings.Repeat("x", 32), true }

func TestTheCompleteExampleOfTheConfigIsGood(t *testing.T) {
	if _, err := config.Parse("example.yaml", []byte(fenced(t, configReference, "yaml")), environment); err != nil {
		t.Error(err)
	}
}

// everywhere has a key that nobody knows in each mapping of the config.
const everywhere = `
nobody: x
tls: {certificate: c, key: k, nobody: x}
tracing: {endpoint: "http://a", nobody: x}
limits: {nobody: x}
override: {nobody: x}
admin: {nobody: x}
monolith:
  url: http://a
  nobody: x
  tls: {nobody: x}
  timeouts: {nobody: x}
  limits: {nobody: x}
  breaker: {nobody: x}
  paths: {nobody: x}
hold: {nobody: x}
shadow: {nobody: x}
evidence: {nobody: x}
chaos:
  nobody: x
  links: {l: {listen: ":1", to: ":2", nobody: x}}
capabilities:
  c:
    nobody: x
    service: {url: http://a, nobody: x}
    canary: {nobody: x}
    copy: {nobody: x}
    pair: {nobody: x, monolith: {nobody: x}, service: {nobody: x}}
    routes: {GET /a: {owner: monolith, shadow: {nobody: x}, nobody: x}}
    shadow: {nobody: x}
    data:
      t: {from: t, key: id, nobody: x, columns: {id: {from: id, nobody: x}}}
    waive: [{gate: health, reason: r, by: b, until: 2030-01-31, nobody: x}]
`

func TestEveryKeyOfTheConfigIsInTheCompleteExample(t *testing.T) {
	_, err := config.Parse("everywhere.yaml", []byte(everywhere), environment)
	if err == nil {
		t.Fatal("unknown keys are accepted")
	}
	example := fenced(t, configReference, "yaml")
	accepted := regexp.MustCompile(`unknown key "nobody": accepted are (.+)`).FindAllStringSubmatch(err.Error(), -1)
	if want := strings.Count(everywhere, "nobody"); len(accepted) != want {
		t.Errorf("%d mappings list their keys, want %d:\n%v", len(accepted), want, err)
	}
	for _, m := range accepted {
		for _, key := range strings.Split(m[1], ", ") {
			if !regexp.MustCompile(`\b` + key + `:`).MatchString(example) {
				t.Errorf("the complete example of %s lacks the key %s", configReference, key)
			}
		}
	}
}

func TestTheExampleContractIsGood(t *testing.T) {
	if _, err := contract.Read(strings.NewReader(fenced(t, "docs/reference/contracts.md", "json"))); err != nil {
		t.Error(err)
	}
}

func TestTheArchitectureNamesEveryPackage(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	for _, p := range list(t) {
		self, ours := strings.CutPrefix(p.ImportPath, module)
		if ours && !regexp.MustCompile(`(?m)(?:^|[^\w/-])`+regexp.QuoteMeta(self)+`(?:[^\w/-]|$)`).MatchString(text) {
			t.Errorf("ARCHITECTURE.md does not name the package %s", self)
		}
	}
}

func TestTheArchitectureNamesEveryDirectDependency(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		if !strings.Contains(text, "| "+m[1]+" |") {
			t.Errorf("ARCHITECTURE.md does not say why %s is there", m[1])
		}
	}
}

func TestTheArchitectureHasTheTableOfTransitionsAsItIs(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	for _, row := range strings.Split(strings.TrimSpace(cutover.Table()), "\n") {
		if row = "| " + strings.TrimSpace(row) + " |"; !strings.Contains(text, row+"\n") {
			t.Errorf("ARCHITECTURE.md lacks the transition\n%s", row)
		}
	}
}

var (
	source = regexp.MustCompile(`\b(?:strangler-proxy|migrations|contract-tests|monolith|extracted|scripts)/[\w/.-]+\.(?:go|yaml|json)\b`)
	tested = regexp.MustCompile(`\bTest[A-Z]\w+`)
)

func TestFilesAndTestsThatTheDocsNameExist(t *testing.T) {
	known := tests(t)
	for _, p := range pages(t) {
		for _, path := range source.FindAllString(p.text, -1) {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s names %s: %v", p.path, path, err)
			}
		}
		for _, name := range tested.FindAllString(p.text, -1) {
			if !known[name] {
				t.Errorf("%s names the test %s, which does not exist", p.path, name)
			}
		}
	}
}

// tests lists the tests of the module.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	all := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range declared.FindAllStringSubmatch(read(t, path), -1) {
			all[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// proxyReference says what the proxy refuses.
const proxyReference = "docs/reference/proxy.md"

func TestEveryRefusalIsInTheReference(t *testing.T) {
	raw, err := os.ReadFile(proxyReference)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range http1.Refusals() {
		if row := fmt.Sprintf("| %d | `%s` |", r.Status, r.Reason); !strings.Contains(string(raw), row) {
			t.Errorf("%s lacks the row %s", proxyReference, row)
		}
	}
	for _, reason := range listener.Reasons {
		if !strings.Contains(string(raw), "| `"+reason+"` |") {
			t.Errorf("%s lacks the reason %s", proxyReference, reason)
		}
	}
}
