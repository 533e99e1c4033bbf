package cli

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/openapi"
	"stranglerfig/contract-tests/tape"
)

// TestAContractIsWrittenAsOthersReadIt runs export as a person would, and reads
// what it wrote as others do.
func TestAContractIsWrittenAsOthersReadIt(t *testing.T) {
	s := newStage(t, "export", func(string) http.HandlerFunc { return http.NotFound })
	recorded := `{"route":"GET /books/{id}","request":{"method":"GET","path":"/books/9","header":{}},"response":{"status":404,"header":{"Content-Type":["text/plain"]},"body":"none"}}` + "\n" +
		`{"route":"GET /books/{id}","request":{"method":"GET","path":"/books/9"},"response":{"status":200,"body":"{"},"truncated":true}` + "\n" + `{"half`
	if err := os.WriteFile("shelf.ndjson", []byte(recorded), 0o600); err != nil {
		t.Fatal(err)
	}
	said := strangler(t, "contract", "export", "shelf") +
		strangler(t, "contract", "export", "shelf", "--format", "pact3", "--json") +
		strangler(t, "contract", "export", "shelf", "--format", "pact3") +
		strangler(t, "contract", "export", "--contract", "shelf.pact.json", "--format", "har", "--base", "https://shelf.example") +
		strangler(t, "contract", "export", "shelf", "--format", "openapi", "--tape", "shelf.ndjson", "--out", "shelf.openapi.yaml") +
		strangler(t, "contract", "export", "shelf", "--format", "openapi", "--out", "-") +
		strangler(t, "contract", "export", "shelf", "--tape", "shelf.ndjson") +
		strangler(t, "contract", "export", "--format", "har") +
		strangler(t, "contract", "export", "shelf", "--format", "raml") +
		strangler(t, "contract", "export", "nobody") +
		strangler(t, "contract", "import", "shelf.har", "--out", "again.json")
	s.holds(said)
	original, err := contract.Load("shelf.pact.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shelf.pact3.json", "shelf.pact4.json"} {
		back, err := contract.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for n := range back.Interactions {
			back.Interactions[n].Key = original.Interactions[n].Key
		}
		if back.Digest() != original.Digest() {
			t.Errorf("%s does not say what the contract says", name)
		}
	}
	if _, err := openapi.Load("shelf.openapi.yaml"); err != nil {
		t.Error(err)
	}
	if exchanges, damaged, err := tape.Load("shelf.ndjson"); err != nil || len(exchanges) != 2 || damaged != 1 {
		t.Errorf("the tape is read as %v, %d damaged (%v)", exchanges, damaged, err)
	}
}

// TestDescriptionsAreImportedVerifiedAndCompared runs the verbs that know
// OpenAPI.
func TestDescriptionsAreImportedVerifiedAndCompared(t *testing.T) {
	s := newStage(t, "openapi", shelf)
	said := strangler(t, "contract", "import", "others/shelf.yaml", "--out", "described.json") +
		strangler(t, "contract", "verify", "shelf", "--contract", "described.json", "--openapi", "others/shelf.yaml") +
		strangler(t, "contract", "verify", "shelf", "--states", "--openapi", "others/shelf-later.yaml") +
		strangler(t, "contract", "verify", "shelf", "--openapi", "strangler.yaml") +
		strangler(t, "contract", "diff", "others/shelf.yaml", "others/shelf.yaml") +
		strangler(t, "contract", "diff", "others/shelf.yaml", "others/shelf-later.yaml", "--all") +
		strangler(t, "contract", "diff", "others/shelf.yaml", "others/shelf-later.yaml", "--json") +
		strangler(t, "contract", "diff", "others/shelf.yaml", "nowhere.yaml")
	s.holds(strings.ReplaceAll(said, "\u00a0", " "))
}
