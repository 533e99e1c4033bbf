package conformance

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// spoofs are fields by which a client would be somebody else to some backend.
var spoofs = []struct {
	name, value string
	trusted     bool // a trusted proxy's word is passed on
}{
	{"X-Forwarded-For", "10.9.9.9", true},
	{"X_Forwarded_For", "10.9.9.8", false},
	{"X-Forwarded_For", "10.9.9.7", false},
	{"X-Forwarded-Proto", "gopher", true},
	{"X_Forwarded_Proto", "gopher2", false},
	{"X-Forwarded-Host", "spoofed.example", true},
	{"X_Forwarded_Host", "spoofed2.example", false},
	{"X-Forwarded-Port", "65013", true},
	{"X-Forwarded-Prefix", "/spoofed", true},
	{"X_Forwarded_Prefix", "/spoofed2", false},
	{"X-Forwarded-User", "spoofed-user", true},
	{"X-Real-Ip", "10.9.9.6", true},
	{"X_Real_Ip", "10.9.9.5", false},
	{"Forwarded", "for=10.9.9.4", false}, // the proxy says it in the other way
	{"X_Request_Id", "spoofed-id", false},
	{"X-Strangler-Shadow", "spoofed-shadow", false},
	{"X_Strangler_Fallback", "spoofed-fallback", false},
	{"Proxy", "http://spoofed-proxy.example", false},
	{"Content_Length", "70007", false},
	{"Transfer_Encoding", "spoofed-encoding", false},
}

// TestNobodyElseSpeaksForTheProxy sends every such field over every listener to
// every kind of backend: as anybody, as a trusted proxy, and where nothing is
// told about clients.
func TestNobodyElseSpeaksForTheProxy(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			for from, more := range map[string]string{"anybody": "", "a trusted proxy": "trusted_proxies: 127.0.0.1\n", "anybody who is left as he is": "forwarded: off\n"} {
				check(t, listener.name+" to "+backend.name+" by "+from, func(t testing.TB) {
					c := newCell(t, listener, backend, more)
					there := make(chan http.Header, 1)
					path := c.app.at(func(_ http.ResponseWriter, r *http.Request) { there <- r.Header })
					var sent []string
					for _, s := range spoofs {
						sent = append(sent, s.name, s.value)
					}
					c.ask(t, "GET", path, "", sent...)
					got := receive(t, "the request", there)
					spoofsArrive(t, got, from)
				})
			}
		}
	}
}

// drawn is an id that the proxy gave a request.
var drawn = regexp.MustCompile(`^[0-9a-f]{32}$`)

func spoofsArrive(t testing.TB, got http.Header, from string) {
	t.Helper()
	told := got.Clone()
	if id := told.Get("X-Request-Id"); !drawn.MatchString(id) {
		t.Errorf("%s: X-Request-Id is %q, which the proxy has not drawn", from, id)
	}
	told.Del("X-Request-Id") // in which any number may be by chance
	var all strings.Builder
	if err := told.Write(&all); err != nil {
		t.Fatal(err)
	}
	for _, s := range spoofs {
		untouched := strings.HasPrefix(s.name, "X-Forwarded") || strings.HasPrefix(s.name, "X_Forwarded") || s.name == "Forwarded" || strings.HasSuffix(s.name, "Real_Ip") || strings.HasSuffix(s.name, "Real-Ip")
		want := from == "a trusted proxy" && s.trusted || from == "anybody who is left as he is" && untouched
		if strings.Contains(all.String(), s.value) != want {
			t.Errorf("%s: %s: %s arrived: %v, in\n%s", from, s.name, s.value, !want, &all)
		}
	}
	want := map[string]string{"anybody": "127.0.0.1", "a trusted proxy": "10.9.9.9, 127.0.0.1", "anybody who is left as he is": "10.9.9.9"}[from]
	if got := got.Get("X-Forwarded-For"); got != want {
		t.Errorf("%s: X-Forwarded-For is %q, want %q", from, got, want)
	}
}

func namesAreRewritten(t testing.TB, c *cell) {
	own := c.app.kind.scheme() + "://" + c.app.address
	path := c.app.at(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Location", own+"/there?to="+own+"#here")
		h.Set("Content-Location", own)
		h.Set("X-Other", own)
		h["Set-Cookie"] = []string{"a=b; Domain=127.0.0.1; Path=/", "c=d; Domain=other.example"}
		w.WriteHeader(http.StatusFound)
	})
	got := c.ask(t, "GET", path, "")
	front := c.listener.scheme() + "://" + c.front.address
	for name, want := range map[string]string{"Location": front + "/there?to=" + own + "#here", "Content-Location": front, "X-Other": own} {
		if is := got.Header.Get(name); is != want {
			t.Errorf("%s is %q, want %q", name, is, want)
		}
	}
	if is := strings.Join(got.Header["Set-Cookie"], "|"); is != "a=b; Path=/|c=d; Domain=other.example" {
		t.Errorf("Set-Cookie is %q", is)
	}
}

// TestForwardedIsSaidInEitherWay has a client of its own and one behind a
// trusted proxy, over every listener to every kind of backend.
func TestForwardedIsSaidInEitherWay(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			for from, more := range map[string]string{"anybody": "", "a trusted proxy": "trusted_proxies: 127.0.0.1\n"} {
				check(t, listener.name+" to "+backend.name+" by "+from, func(t testing.TB) {
					c := newCell(t, listener, backend, "forwarded: both\n"+more)
					there := make(chan http.Header, 1)
					path := c.app.at(func(_ http.ResponseWriter, r *http.Request) { there <- r.Header })
					c.ask(t, "GET", path, "", "Forwarded", "for=10.9.9.9;proto=https", "X-Forwarded-For", "10.9.9.9", "X-Forwarded-Proto", "https")
					got := receive(t, "the request", there)
					ours, address, scheme := `for=127.0.0.1;host="`+c.front.address+`";proto=`+listener.scheme(), "127.0.0.1", listener.scheme()
					if more != "" {
						ours, address, scheme = "for=10.9.9.9;proto=https, "+ours, "10.9.9.9, 127.0.0.1", "https"
					}
					for name, want := range map[string]string{"Forwarded": ours, "X-Forwarded-For": address, "X-Forwarded-Proto": scheme, "X-Forwarded-Host": c.front.address} {
						if all := got[name]; len(all) != 1 || all[0] != want {
							t.Errorf("%s is %q, want %q", name, all, want)
						}
					}
				})
			}
		}
	}
}
