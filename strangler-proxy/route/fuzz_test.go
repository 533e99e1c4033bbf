package route

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzCanonical looks for paths whose canonical form is not stable, holds a
// dot segment or an escape it should not, or would not be sent as it is; and,
// whatever the profile, for such whose form that is sent on would be routed or
// spelled otherwise when it comes again.
func FuzzCanonical(f *testing.F) {
	for i, seed := range []string{
		"/", "/a/../b", "/%2e%2E/%2e", "/a%2Fb;c=%3B//d", "/%25%32%65", "/\xff\xfe", "/%fF", "/{x}%7c", "/a/%2e%2e%2fb", "//..//", "/.%2e/./..",
		"/INVOICES;x/7%2F8//", "/files/;x/..;y/", "/Files//a;b/",
	} {
		f.Add(seed, uint8(i*17))
	}
	tables := map[uint8]*Table{}
	f.Fuzz(func(t *testing.T, path string, reads uint8) {
		once := isCanonical(t, path)
		if once == "" {
			return
		}
		if tables[reads] == nil {
			tables[reads] = tableOf(t, profileOf(reads), "GET /Invoices/{id}", "POST /Invoices/{id}/{$}", "GET /files/{path...}", "GET /orders/", "GET /orders")
		}
		table := tables[reads]
		q := Request{Method: "GET", Path: once}
		r, sent, with, err := routed(t, table, q)
		if err != nil {
			return
		}
		for _, form := range []string{sent, with} {
			isCanonical(t, form)
			q.Path = form
			again, sentAgain, withAgain, err := routed(t, table, q)
			if err != nil || again != r || sentAgain != sent || form == with && withAgain != with {
				t.Fatalf("%q (%+v) met %s and was sent on as %q and %q; %q then met %s, as %q and %q, %v", path, table.profile, name(r), sent, with, form, name(again), sentAgain, withAgain, err)
			}
		}
	})
}

// profileOf makes a profile out of a number.
func profileOf(n uint8) (p Profile) {
	for _, facet := range []*Reading{&p.TrailingSlash, &p.Case, &p.DoubleSlash, &p.EncodedSlash, &p.Parameters} {
		*facet = Reading(n % 3)
		n /= 3
	}
	return p
}

// isCanonical returns the canonical form of a path, "" where it has none, and
// finds it as it has to be.
func isCanonical(t *testing.T, path string) string {
	t.Helper()
	once, err := Canonical(path)
	if err != nil {
		return ""
	}
	twice, err := Canonical(once)
	if err != nil && len(once) <= MaxPath {
		t.Fatalf("%q became %q, which is refused: %v", path, once, err)
	}
	if err == nil && twice != once {
		t.Fatalf("%q became %q and then %q", path, once, twice)
	}
	for _, segment := range strings.Split(once, "/") {
		if segment == "." || segment == ".." {
			t.Fatalf("%q became %q, which has dot segments", path, once)
		}
	}
	decoded, err := url.PathUnescape(once)
	if err != nil {
		t.Fatalf("%q became %q: %v", path, once, err)
	}
	if sent := (&url.URL{Path: decoded, RawPath: once}).EscapedPath(); sent != once {
		t.Fatalf("%q became %q but would be sent as %q", path, once, sent)
	}
	return once
}
