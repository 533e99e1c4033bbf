package cli

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clumsy is a stage whose sides count what they are asked, with broken files of
// every sort in its folder.
func clumsy(t *testing.T) (asked *int) {
	t.Helper()
	asked = new(int)
	newStage(t, "verify", func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { *asked++; http.NotFound(w, r) }
	})
	pact := func(interaction string) string {
		return `{"consumer":{"name":"a"},"provider":{"name":"b"},"interactions":[` + interaction + `],"metadata":{"pactSpecification":{"version":"4.0"}}}`
	}
	link := func(key, captures, uses string) string {
		return `{"type":"Synchronous/HTTP","key":"` + key + `","description":"` + key + `","request":{"method":"GET","path":"/x/1"},"response":{"status":200},"comments":{"strangler":{"chain":{"captures":[{"name":"` + captures + `","from":"$.body.id"}],"uses":[{"name":"` + uses + `","in":"$.path[1]"}]}}}}`
	}
	answered := func(rest string) string {
		return pact(`{"type":"Synchronous/HTTP","key":"k","description":"d","request":{"method":"GET","path":"/x"},"response":{"status":200,` + rest + `}}`)
	}
	for name, text := range map[string]string{
		"empty": "", "words": "just words", "list.json": "[1]", "object.json": `{"a":1}`, "utf16": "\xff\xfe{\x00}\x00", "latin1": "caf\xe9",
		"deep.json":     `{"interactions":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		"cyclic.json":   pact(link("one", "x", "y") + "," + link("two", "y", "x")),
		"matcher.json":  answered(`"body":{"content":{"a":1},"contentType":"application/json","encoded":false},"matchingRules":{"body":{"$.a":{"combine":"AND","matchers":[{"match":"fuzzy"}]}}}`),
		"huge.json":     answered(`"body":{"content":"` + strings.Repeat("x", 17<<20) + `","contentType":"text/plain","encoded":false}`),
		"status.json":   answered(`"headers":{},"status":"ok"`),
		"bad.har":       `{"log":{"entries":[{"request":1}]}}`,
		"torn.har":      `{"log":{"entries":[{"request":{"method":"GE`,
		"broken.yaml":   "openapi: 3.0.0\npaths: [a\n",
		"shelf.ndjson":  `{"at":"2026-07-01T12:00:00Z","route":"GET /a","request":{"method":"GET","path":"/a"},"response":{"status":200}}` + "\n",
		"broken.ndjson": "no\ntape\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	return asked
}

// TestAClumsyHandIsToldWhatIsAcceptedAndNothingHappens: whatever is mistyped or
// broken, there is one error with its place and what would do, the exit code
// says no, no side is asked, and no file is written.
func TestAClumsyHandIsToldWhatIsAcceptedAndNothingHappens(t *testing.T) {
	asked := clumsy(t)
	before := files(t)
	for _, row := range []struct{ args, says string }{
		// contracts that are none
		{"contract verify shelf --contract empty", "empty: read contract: line 1, column 1: unexpected end"},
		{"contract verify shelf --contract folder", "is a directory"},
		{"contract verify shelf --contract words", "words: read contract: line 1, column 1: invalid character 'j'"},
		{"contract verify shelf --contract list.json", "line 1, column 1: it is of type array (accepted: an object)"},
		{"contract verify shelf --contract object.json", "interactions is missing (accepted: a list, which may be empty)"},
		{"contract verify shelf --contract utf16", "the file is UTF-16 (accepted: UTF-8)"},
		{"contract verify shelf --contract latin1", "line 1, column 4: the byte 0xe9 is not UTF-8 (accepted: UTF-8)"},
		{"contract verify shelf --contract deep.json", "exceeded max depth"},
		{"contract verify shelf --contract cyclic.json", "the chain is cyclic: one → two → one"},
		{"contract verify shelf --contract matcher.json", `interaction k: response.rule $.a: unknown matcher "fuzzy" (accepted: equality,`},
		{"contract verify shelf --contract huge.json", "interaction k: response.body: 17825792 bytes (accepted: up to 16 MiB)"},
		{"contract verify shelf --contract status.json", "interaction k: response.status is of type string (accepted: a whole number)"},
		{"contract verify shelf --openapi broken.yaml", "broken.yaml: line 1: the YAML is broken"},
		{"contract export --contract cyclic.json", "the chain is cyclic"},
		// files of others
		{"contract import folder", "folder: is a directory"},
		{"contract import object.json", "say what it is (accepted: --format pact, har or openapi)"},
		{"contract import bad.har", "log.entries[0]: no entry: request is of type number (accepted: an object)"},
		{"contract import torn.har", "line 1, column 43: unexpected end of JSON input"},
		{"contract import broken.yaml", "broken.yaml: line 1: the YAML is broken"},
		{"contract import latin1", "latin1: read contract: line 1, column 4: the byte 0xe9"},
		{"contract import nowhere", "nowhere: no such file or directory"},
		{"contract import shelf.pact.json --format raml", `--format "raml": accepted are pact, har and openapi`},
		{"contract diff words words", "words: line 1: the document is a text (accepted: an OpenAPI description"},
		{"contract distill broken.ndjson --out new.json", "no line can be read as an exchange, 2 are damaged"},
		{"contract distill folder --out new.json", "is a directory"},
		{"contract export shelf --format openapi --tape broken.ndjson", "--tape broken.ndjson: no line can be read as an exchange, 2 are damaged"},
		{"contract export shelf --format har --base shelf", `--base "shelf": accepted are http://HOST and https://HOST`},
		{"contract report shelf --run words", "load the run words: invalid character 'j'"},
		{"contract report shelf --run folder", "is a directory"},
		// files that cannot be written
		{"contract verify shelf --html nowhere/a.html", "--html nowhere/a.html: there is no folder nowhere\nhint: nothing was done; name a file in a folder that exists"},
		{"contract verify shelf --html a.html --junit folder", "--junit folder: that is a folder (accepted: a file)"},
		{"contract verify shelf --html words/a.html", "--html words/a.html: not a directory"},
		{"contract verify shelf --html /dev/null", "--html /dev/null: that is no plain file (accepted: a file, which is written anew)"},
		{"contract report shelf --html folder", "--html folder: that is a folder"},
		{"contract verify shelf --html a --junit ./a", "--junit ./a: --html names that file as well"},
		{"contract verify shelf --html shelf.pact.json", "shelf.pact.json, which would be overwritten"},
		{"contract verify shelf --junit ./strangler.yaml", "--junit ./strangler.yaml: that is strangler.yaml, which would be overwritten"},
		{"contract import shelf.pact.json --out nowhere/a.json", "--out nowhere/a.json: there is no folder nowhere"},
		{"contract import shelf.pact.json --merge folder", "--merge folder: that is a folder"},
		{"contract export shelf --out nowhere/a.json", "--out nowhere/a.json: there is no folder nowhere"},
		{"contract distill shelf.ndjson --out nowhere/a.json", "--out nowhere/a.json: there is no folder nowhere"},
		{"contract record shelf --out nowhere/a.json", "--out nowhere/a.json: there is no folder nowhere"},
		{"evidence pack shelf --out nowhere/a.html", "--out nowhere/a.html: there is no folder nowhere"},
		// verbs, arguments and flags
		{"contract frobnicate", `"frobnicate" is not a verb of contract` + "\nhint: its verbs are: diff,"},
		{"shadow frobnicate", `"frobnicate" is not a verb of shadow` + "\nhint: its verbs are: allow,"},
		{"evidence", "evidence needs a verb\nhint: its verbs are: list, pack"},
		{"contract verify", "strangler contract verify takes CAPABILITY, and was given none"},
		{"can-cutover", "strangler can-cutover takes ROUTE|CAPABILITY, and was given none"},
		{"shadow status", "strangler shadow status takes CAPABILITY, and was given none"},
		{"ledger verify now", `strangler ledger verify takes no arguments, and was given ["now"]`},
		{"contract verify shelf --slowly", "unknown flag: --slowly\nhint: strangler contract verify --help lists the flags"},
		{"contract verify shelf --seed -1", "accepted are whole numbers\nhint: strangler contract verify --help"},
		{"contract record shelf --for soon", "accepted are durations such as 10s, 5m or 1h30m"},
		{"contract record shelf --bytes much", "accepted are sizes such as 512KiB"},
		{"contract distill shelf.ndjson --out a.json --cover 120%", "accepted are shares such as 10% or 0.1"},
		{"contract verify shelf --target shelf=http://a", "accepted are monolith, service, monolith=URL, service=URL"},
		{"contract verify shelf --target monolith=ftp://a", "accepted are addresses such as http://127.0.0.1:9900 and https://"},
		{"contract verify shelf --target monolith,monolith", "monolith is named twice"},
		{"contract verify shelf -H shelf/A:b", `"shelf" is no side: accepted are monolith/ and service/ before the name`},
		{"contract verify shelf -H :b", `"" is no header's name: accepted are letters, digits and dashes`},
		{"contract verify shelf --rate shelf=3", "accepted are a number above 0, and monolith=N or service=N"},
		{"shadow allow 4f1c --reason x --expires soon", `--expires "soon": accepted are a date such as 2030-01-31`},
		// what there is not
		{"contract verify books", "no capability is called \"books\"\nhint: declared are: shelf"},
		{"contract export books", "no capability is called \"books\"\nhint: declared are: shelf"},
		{"contract report books", "no capability is called \"books\"\nhint: declared are: shelf"},
		{"contract import others/browser.har --capability books", `no capability is called "books"`},
	} {
		said := strangler(t, strings.Fields(row.args)...)
		if !strings.Contains(said, row.says) || !strings.Contains(said, "exit code 1\n") || strings.Count(said, "error: ") != 1 {
			t.Errorf("%s: want %q and exit code 1:\n%s", row.args, row.says, said)
		}
	}
	if *asked > 0 {
		t.Errorf("the sides were asked %d times", *asked)
	}
	if after := files(t); !slices.Equal(before, after) {
		t.Errorf("the folder has changed:\n%v\n%v", before, after)
	}
}

// TestWithoutALedgerTheVerbsThatReadItSayWhy, and once there is one they know
// what nobody declares.
func TestWithoutALedgerTheVerbsThatReadItSayWhy(t *testing.T) {
	clumsy(t)
	for _, args := range []string{"ledger", "ledger verify", "evidence list", "evidence pack shelf"} {
		said := strangler(t, strings.Fields(args)...)
		if !strings.Contains(said, "nothing has been served from that state yet\nhint: strangler serve") || !strings.Contains(said, "exit code 2\n") {
			t.Errorf("%s: %s", args, said)
		}
	}
	readsOnly := "evidence list books"
	strangler(t, "contract", "verify", "shelf") // files into a ledger of its own
	for _, row := range []struct{ args, says string }{
		{readsOnly, "no capability is called \"books\"\nhint: declared are: shelf"},
		{"evidence pack books", "no capability is called \"books\"\nhint: declared are: shelf"},
		{"ledger books", `the ledger holds nothing about "books"`},
		{"can-cutover books", `"books" is neither a declared route nor a capability`},
		{"ledger verify --head 12", "no entry has the hash 12 that was kept"},
	} {
		said := strangler(t, strings.Fields(row.args)...)
		if !strings.Contains(said, row.says) || !strings.Contains(said, "exit code 1\n") {
			t.Errorf("%s: want %q:\n%s", row.args, row.says, said)
		}
	}
	path := filepath.Join("strangler-state", "ledger.db")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), len(raw)/12), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := strangler(t, "ledger", "verify"); !strings.Contains(said, "hint: look for a copy of the state's folder") || !strings.Contains(said, "exit code 3\n") {
		t.Errorf("of a broken ledger: %s", said)
	}
}

// files lists everything below the folder.
func files(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
