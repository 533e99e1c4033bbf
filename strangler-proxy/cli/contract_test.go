package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// stage is a folder with a config and the files of testdata/contract, beside
// which a monolith and a service run.
type stage struct {
	t        *testing.T
	golden   string
	replaced []string
}

// newStage changes into the folder. Both applications answer as handle says.
func newStage(t *testing.T, name string, handle func(side string) http.HandlerFunc) *stage {
	t.Helper()
	testdata, err := filepath.Abs(filepath.Join("testdata", "contract"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.CopyFS(".", os.DirFS(testdata)); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, golden: filepath.Join(testdata, name+".golden"), replaced: []string{here + "/", "", here, "."}}
	for side, shown := range map[string]string{"monolith": "http://127.0.0.1:9000", "service": "http://127.0.0.1:9101"} {
		server := httptest.NewServer(handle(side))
		t.Cleanup(server.Close)
		s.replaced = append(s.replaced, server.URL, shown)
	}
	config := "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0, token: secret}\nmonolith: {url: " + s.url("9000") + ", build: \"\"}\n" +
		"capabilities:\n  shelf:\n    service: {url: " + s.url("9101") + ", build: \"\"}\n    contract: shelf.pact.json\n" +
		"    routes:\n      GET /books: monolith\n      GET /books/{id}: monolith\n      POST /books: monolith\n"
	if err := os.WriteFile("strangler.yaml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// url is the real address of the application that transcripts show with a port.
func (s *stage) url(port string) string {
	for n := 1; n < len(s.replaced); n += 2 {
		if strings.HasSuffix(s.replaced[n], port) {
			return s.replaced[n-1]
		}
	}
	return ""
}

var fleeting = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|("seed":|seed )\d+|[0-9a-f]{64}`)

// holds compares a transcript with the golden one, addresses and times apart.
func (s *stage) holds(said string) {
	s.t.Helper()
	said = strings.NewReplacer(s.replaced...).Replace(said)
	said = fleeting.ReplaceAllStringFunc(said, func(found string) string {
		if at := strings.LastIndexAny(found, ": "); strings.Contains(found, "seed") {
			return found[:at+1] + "1"
		}
		if len(found) == 64 {
			return "(digest)"
		}
		return "2026-01-02 03:04:05"
	})
	golden(s.t, s.golden, said)
}

// shelf is an application with books: what a state makes has an id of each
// side's own, and the service has forgotten when books were written.
func shelf(side string) http.HandlerFunc {
	id, year := "7", `,"year":1815`
	if side == "service" {
		id, year = "1000", ""
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.Method + " " + r.URL.Path {
		case "POST /_states":
			fmt.Fprintf(w, `{"id":%s}`, id)
		case "GET /books":
			io.WriteString(w, `{"books":[],"owner_email":"ada@example.com"}`)
		case "GET /books/" + id:
			fmt.Fprintf(w, `{"title":"Emma"%s}`, year)
		case "POST /books":
			w.WriteHeader(http.StatusCreated)
		default:
			http.NotFound(w, r)
		}
	}
}

// TestAVerificationIsToldStoredAndToldAgain runs verify and report as a person
// would.
func TestAVerificationIsToldStoredAndToldAgain(t *testing.T) {
	s := newStage(t, "verify", shelf)
	s.holds(strangler(t, "contract", "report", "shelf") +
		strangler(t, "contract", "verify", "shelf") +
		strangler(t, "contract", "verify", "shelf", "--unsafe", "--states", "--html", "run.html", "--junit", "run.xml") +
		strangler(t, "contract", "report", "shelf") +
		strangler(t, "contract", "report", "shelf", "--junit", "again.xml", "--json") +
		strangler(t, "contract", "report", "shelf", "--run", "nowhere.json") +
		strangler(t, "contract", "verify", "shelf", "--states", "--concurrency", "3") +
		strangler(t, "contract", "verify", "shelf", "--rate", "monolith=fast") +
		strangler(t, "contract", "verify", "shelf", "--states-url", "_states") +
		strangler(t, "contract", "verify", "shelf", "--states-url", "service=/nowhere", "--teardown", "--rate", "1000,service=500", "--target", "service") +
		strangler(t, "contract", "verify", "shelf", "--contract", "nowhere.json") +
		strangler(t, "contract", "verify", "books"))
	first, second := read(t, "run.xml"), read(t, "again.xml")
	if first != second {
		t.Errorf("told again, JUnit's file is\n%s\nwant\n%s", second, first)
	}
}

// TestWhatTheSidesAnsweredIsRedactedBeforeItReachesTheDisk looks for a planted
// address in every file of the folder.
func TestWhatTheSidesAnsweredIsRedactedBeforeItReachesTheDisk(t *testing.T) {
	newStage(t, "verify", func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Set-Cookie", "session=planted-cookie")
			io.WriteString(w, `{"books":[],"owner_email":"planted@example.com","password":"planted-password","card":"4111 1111 1111 1111"}`)
		}
	})
	strangler(t, "contract", "verify", "shelf", "--html", "run.html", "--junit", "run.xml")
	looked := 0
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		looked++
		for _, secret := range []string{"planted", "4111 1111"} {
			if strings.Contains(read(t, path), secret) {
				t.Errorf("%s holds %s", path, secret)
			}
		}
		return nil
	})
	if err != nil || looked < 5 {
		t.Errorf("%d files looked at (%v)", looked, err)
	}
	var run struct{ Report json.RawMessage }
	stored, err := filepath.Glob("strangler-state/runs/*.json")
	if err != nil || len(stored) != 1 || json.Unmarshal([]byte(read(t, stored[0])), &run) != nil || !strings.Contains(string(run.Report), "redacted-") {
		t.Errorf("stored are %v (%v)", stored, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestARunThatCouldNotJudgeTakesNoEvidenceBack forgets the credentials after a
// run that had them.
func TestARunThatCouldNotJudgeTakesNoEvidenceBack(t *testing.T) {
	newStage(t, "verify", func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.Header.Get("Authorization") != "Bearer good" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			io.WriteString(w, `{"books":[],"owner_email":"ada@example.com"}`)
		}
	})
	for _, step := range []struct{ args, said, code string }{
		{"contract verify shelf -H Authorization:Bearer_good", "filed as evidence: 1 of 3 interactions hold on both sides", ""},
		{"contract verify shelf", "filed as a run that could not judge, beside the evidence that counts: 1 of 3 interactions were not let in (401 or 403): their requests lack credentials", "exit code 2"},
		{"can-cutover shelf", "contract  pass     1 of 3 interactions hold on both sides (verified at ", ""},
		{"evidence list", "could not judge", ""},
	} {
		args := strings.Fields(step.args)
		for n := range args {
			args[n] = strings.ReplaceAll(args[n], "_", " ")
		}
		said := strangler(t, args...)
		if !strings.Contains(said, step.said) || step.code != "" && !strings.Contains(said, step.code) {
			t.Errorf("no %q in\n%s", step.said, said)
		}
	}
}
