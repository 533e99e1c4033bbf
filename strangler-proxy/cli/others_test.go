package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// library is an application that fulfils the pacts in testdata/contract/others.
// What its states make has ids that nobody knows before.
type library struct {
	mu    sync.Mutex
	first int
	done  []string
}

var loan = regexp.MustCompile(`^/books/(\d+)/loan$`)

func (l *library) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch path := r.URL.Path; {
	case path == "/_pact/states":
		l.change(w, body)
	case path == "/books/7" && r.Method == "GET":
		io.WriteString(w, `{"id":7,"title":"Emma"}`)
	case path == "/books":
		fmt.Fprintf(w, `[{"id":%d,"title":"Persuasion","isbn":"978-0141439686"},{"id":%d,"title":"Emma","isbn":"978-0141439587"}]`, l.first, l.first+1)
	case path == "/session":
		w.WriteHeader(http.StatusNoContent)
	case loan.MatchString(path) && r.Method == "GET":
		fmt.Fprintf(w, `{"reader":%d,"until":"2026-02-28"}`, l.first)
	case loan.MatchString(path):
		l.lend(w, loan.FindStringSubmatch(path)[1], body)
	default:
		http.NotFound(w, r)
	}
}

func (l *library) change(w http.ResponseWriter, body []byte) {
	var c struct{ State, Action string }
	if json.Unmarshal(body, &c) != nil {
		http.Error(w, "no state", http.StatusBadRequest)
		return
	}
	l.done = append(l.done, c.Action+" "+c.State)
	switch c.State {
	case "a book is there":
		fmt.Fprintf(w, `{"id":%d}`, l.first+40)
	case "a reader is there":
		fmt.Fprintf(w, `{"reader":"%d"}`, l.first+50)
	}
}

// lend refuses what does not come from the states.
func (l *library) lend(w http.ResponseWriter, book string, body []byte) {
	var asked struct {
		Reader      int
		Until, Note string
	}
	if err := json.Unmarshal(body, &asked); err != nil || book != fmt.Sprint(l.first+40) || asked.Reader != l.first+50 || asked.Until == "2026-01-31" || len(asked.Note) != 3 {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	io.WriteString(w, `{"loan":5,"token":"0123abcd"}`)
}

// TestPactsOfOthersVerifyHere: of versions 1 to 4, in the shape in which the
// tools for Ruby, JavaScript, the JVM and Go write them, with their states,
// rules and generators.
func TestPactsOfOthersVerifyHere(t *testing.T) {
	sides := map[string]*library{"monolith": {first: 1}, "service": {first: 1000}}
	s := newStage(t, "others", func(side string) http.HandlerFunc { return sides[side].ServeHTTP })
	said := ""
	for _, file := range []string{"ruby-v1", "js-v2", "jvm-v3", "go-v4"} {
		contract := "others/" + file + ".json"
		if file == "go-v4" {
			said += strangler(t, "contract", "verify", "shelf", "--contract", contract)
			said += strangler(t, "contract", "import", contract, "--skip-messages", "--out", "go.json")
			contract = "go.json"
		}
		said += strangler(t, "contract", "verify", "shelf", "--contract", contract, "--unsafe", "--states-url", "/_pact/states", "--teardown")
	}
	s.holds(said)
	if got := strings.Count(said, "\nevidence "); got != 5 {
		t.Errorf("%d interactions are evidence, want 5\n%s", got, said)
	}
	for side, l := range sides {
		if got := strings.Join(l.done, ", "); !strings.Contains(got, "setup a book is there, setup a reader is there, teardown a reader is there, teardown a book is there") || len(l.done) != 10 {
			t.Errorf("%s was asked for %s", side, got)
		}
	}
}
