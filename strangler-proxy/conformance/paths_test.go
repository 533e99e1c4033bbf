package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// arrivals notes at which side requests arrive, and as what.
type arrivals chan string

// side is an application that notes what arrives there.
func (a arrivals) side(t testing.TB, name string, k kind, id *identity) *application {
	app := newApplication(t, k, id)
	note := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a <- name + " " + r.URL.EscapedPath() })
	app.other = note
	return app
}

// takes says in strangler.yaml how a backend reads paths.
func takes(backend, paths string) string {
	return strings.TrimSuffix(backend, "}") + ", health: \"\", build: \"\", paths: {" + paths + "}}"
}

const refused = ""

// pathProfiles say how the backends read paths, and what then becomes of some.
var pathProfiles = []struct {
	name, monolith, service string
	arrives                 map[string]string
}{
	{"not known", "", "", map[string]string{
		"/Invoices/7": "service /Invoices/7", "/invoices/7": refused, "/Invoices/7/": refused, "//Invoices/7": refused, "/Invoices%2F7": refused,
		"/Invoices;x/7": refused, "/Invoices/7;x": "service /Invoices/7;x", "/other//7;x/": "monolith /other//7;x/",
	}},
	{"told apart", "trailing_slash: distinct, case: distinct, double_slash: distinct, encoded_slash: distinct, parameters: distinct", "", map[string]string{
		"/Invoices/7": "service /Invoices/7", "/invoices/7": "monolith /invoices/7", "/Invoices/7/": "monolith /Invoices/7/", "//Invoices/7": "monolith //Invoices/7",
		"/Invoices%2F7": "monolith /Invoices%2F7", "/Invoices/7%2F8": "service /Invoices/7%2F8", "/Invoices;x/7": "monolith /Invoices;x/7",
	}},
	{"told apart by the monolith alone", "case: distinct, double_slash: distinct", "double_slash: same", map[string]string{
		"/invoices/7": "monolith /invoices/7", "//Invoices/7": refused,
	}},
	{"the same", "trailing_slash: same, case: same, double_slash: same, encoded_slash: same, parameters: same", "", map[string]string{
		"/invoices/aB": "service /Invoices/aB", "/Invoices/7/": "service /Invoices/7", "//INVOICES//7": "service /Invoices/7", "/invoices%2f7": "service /Invoices/7",
		"/invoices;x=1/7;y=2": "service /Invoices/7", "/other;x=1//7;y=2/": "monolith /other;x=1/7;y=2/", "/x/..;/Invoices/7": refused,
	}},
	{"the same, and parameters are for both", "parameters: same", "parameters: same", map[string]string{
		"/Invoices;x=1/7;y=2": "service /Invoices;x=1/7;y=2",
	}},
}

// TestPathsAreRoutedAndSentOnAsTheBackendsReadThem sends spellings of a path
// that the service owns, over every listener to every kind of backend.
func TestPathsAreRoutedAndSentOnAsTheBackendsReadThem(t *testing.T) {
	for _, profile := range pathProfiles {
		for _, listener := range kinds {
			for _, backend := range kinds {
				check(t, profile.name+", "+listener.name+" to "+backend.name, func(t testing.TB) {
					there := make(arrivals, 1)
					c := &cell{listener: listener, id: newIdentity(t)}
					monolith, service := there.side(t, "monolith", backend, c.id), there.side(t, "service", backend, c.id)
					c.front = start(t, fmt.Sprintf(`%smonolith: %s
capabilities:
  billing:
    service: %s
    waive: [{gate: contract, reason: none is needed here, by: the test, until: 2099-01-01}, {gate: shadow, reason: none is needed here, by: the test, until: 2099-01-01}]
    routes: {"GET /Invoices/{id}": service}
`, listener.listener(c.id), takes(backend.backend(monolith.address, c.id), profile.monolith), takes(backend.backend(service.address, c.id), profile.service)))
					c.shared = c.client(t)
					eventually(t, "the service owns its route", func() bool {
						c.ask(t, "GET", "/Invoices/7", "")
						return receive(t, "a request", there) == "service /Invoices/7"
					})
					for sent, want := range profile.arrives {
						r := c.request(t, "GET", "/", nil)
						r.URL.Opaque = "//" + c.front.address + sent // which net/http sends as it is
						if listener.h2 {
							r.URL.Opaque = ""
							r.URL.RawPath = sent
							r.URL.Path, _ = url.PathUnescape(sent)
						}
						got := c.send(t, r)
						switch {
						case want == refused:
							if got.StatusCode != 400 {
								t.Errorf("%s was answered %s", sent, got.Status)
							}
						case got.StatusCode != 200:
							t.Errorf("%s was answered %s %q, want %s", sent, got.Status, got.body, want)
						default:
							if arrived := receive(t, "the request", there); arrived != want {
								t.Errorf("%s arrived as %s, want %s", sent, arrived, want)
							}
						}
					}
				})
			}
		}
	}
}
