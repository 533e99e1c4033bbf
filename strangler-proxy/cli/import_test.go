package cli

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"stranglerfig/contract-tests/contract"
)

// TestFilesOfOthersBecomeOneContract runs import as a person would, on files in
// the shape in which other tools write them.
func TestFilesOfOthersBecomeOneContract(t *testing.T) {
	s := newStage(t, "import", func(string) http.HandlerFunc { return http.NotFound })
	if err := os.Chdir("others"); err != nil {
		t.Fatal(err)
	}
	said := strangler(t, "contract", "import", "ruby-v1.json", "js-v2.json", "jvm-v3.json", "go-v4.json") +
		strangler(t, "contract", "import", "ruby-v1.json", "js-v2.json", "jvm-v3.json", "go-v4.json", "--skip-messages") +
		strangler(t, "contract", "import", "ruby-v1.json") +
		strangler(t, "contract", "import", "ruby-v1.json", "--merge", "shelf.pact.json", "--json") +
		strangler(t, "contract", "import", "later-v2.json", "--merge", "shelf.pact.json") +
		strangler(t, "contract", "import", "later-v2.json", "--merge", "shelf.pact.json", "--prefer", "new") +
		strangler(t, "contract", "import", "broken.json", "ruby-v1.json", "syntax.json", "latin1.json", "notes.txt", "nowhere.json", "--out", "never.json") +
		strangler(t, "contract", "import", "ruby-v1.json", "--out", "a.json", "--merge", "b.json") +
		strangler(t, "contract", "import", "ruby-v1.json", "--prefer", "mine") +
		strangler(t, "contract", "import", "--merge", "shelf.pact.json", "--provider", "other", "ruby-v1.json") +
		strangler(t, "contract", "import", "browser.har", "--out", "har.json") +
		strangler(t, "contract", "import", "browser.har", "--host", "shelf.example", "--route", "GET /books/{id}", "--provider", "shelf", "--out", "har.json") +
		strangler(t, "-c", "../strangler.yaml", "contract", "import", "browser.har", "--capability", "shelf", "--out", "har2.json") +
		strangler(t, "contract", "import", "browser.har", "--route", "GET /nowhere", "--out", "har3.json")
	s.holds(said)
	for _, name := range []string{"never.json", "a.json", "har3.json"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	for _, name := range []string{"har.json", "har2.json"} {
		if text := read(t, name); strings.Contains(text, "hidden") {
			t.Errorf("%s holds a secret:\n%s", name, text)
		}
	}
	distilled, err := contract.Load("har.json")
	if err != nil || len(distilled.Interactions) != 1 {
		t.Fatalf("%+v (%v)", distilled, err)
	}
	if i := distilled.Interactions[0]; i.Route != "GET /books/{id}" || i.Weight != 2 || i.Response.Rules.Empty() || i.Response.Header["Content-Encoding"] != nil {
		t.Errorf("%+v", i)
	}
	c, err := contract.Load("shelf.pact.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range c.Interactions {
		if i.Description == "lending a book" && (i.Request.Rules.Empty() || i.Request.Generators.Empty() || len(i.States) != 2) {
			t.Errorf("of version 3 something is lost: %+v", i)
		}
	}
}
