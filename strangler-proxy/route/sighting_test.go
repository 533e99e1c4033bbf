package route

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// reader is how some server understands a query or a header: what it takes for
// the value of a name, and whether there is one.
type reader func(text string) (value string, there bool)

// every returns the values that a server finds for a name in a text of pairs.
func every(text, separators, name string, sameName func(a, b string) bool, decode func(string) string, value func(string) string) []string {
	var values []string
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		key, sent, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if sameName(decode(strings.TrimSpace(key)), name) {
			values = append(values, value(sent))
		}
	}
	return values
}

// choices are what servers make of several values.
func choices(values func(text string) []string) []reader {
	return []reader{
		func(text string) (string, bool) {
			if all := values(text); len(all) > 0 {
				return all[0], true
			}
			return "", false
		},
		func(text string) (string, bool) {
			if all := values(text); len(all) > 0 {
				return all[len(all)-1], true
			}
			return "", false
		},
		func(text string) (string, bool) { all := values(text); return strings.Join(all, ","), len(all) > 0 },
	}
}

// leniently decodes escapes and leaves broken ones as they are.
func leniently(text string) string {
	var b strings.Builder
	for text != "" {
		c, n, _ := unescaped(text)
		b.WriteByte(c)
		text = text[n:]
	}
	return b.String()
}

func asItIs(text string) string { return text }

func exactly(a, b string) bool { return a == b }

func asList(a, b string) bool { return a == b || strings.HasPrefix(a, b+"[") }

// agree says what readers say of a predicate; unclear where they differ.
func agree(p *predicate, readers []reader, text string) answer {
	met := 0
	for _, read := range readers {
		if value, there := read(text); there && (!p.equal || value == p.value) {
			met++
		}
	}
	switch met {
	case 0:
		return no
	case len(readers):
		return yes
	}
	return unclear
}

// hold holds what predicates say of made up texts against what readers do: an
// answer is everybody's.
func hold(t *testing.T, ids []string, pieces []string, readers []reader, request func(text string) Request) {
	random := rand.New(rand.NewPCG(9, 10))
	said := map[answer]int{}
	for range 60_000 {
		text := ""
		for range 1 + random.IntN(9) {
			text += pieces[random.IntN(len(pieces))]
		}
		for _, id := range ids {
			r, err := Parse("GET /a " + id)
			if err != nil {
				t.Fatal(err)
			}
			q := request(text)
			got := r.predicates[0].judge(&q)
			if want := agree(&r.predicates[0], readers, text); got != unclear && got != want {
				t.Fatalf("%s of %q is %v, but to servers it is %v", id, text, got, want)
			}
			said[got]++
		}
	}
	if said[no] < 1000 || said[yes] < 1000 || said[unclear] < 1000 {
		t.Errorf("only %v", said)
	}
}

func TestEveryServerReadsAQueryAsThePredicateDidOrItIsRefused(t *testing.T) {
	strict := func(text string) []string { // as net/url does
		values, _ := url.ParseQuery(text)
		return values["kind"]
	}
	readers := choices(strict)
	for _, separators := range []string{"&", "&;"} {
		for _, sameName := range []func(a, b string) bool{exactly, strings.EqualFold, asList} {
			readers = append(readers, choices(func(text string) []string { return every(text, separators, "kind", sameName, leniently, leniently) })...)
		}
	}
	pieces := []string{"kind", "kind", "kind=a", "kind=a", "&", "&", "&", ";", "=", "a", "b", "KIND=a", "%6b", "ind", "[]", "%zz", "%61", "kind=b"}
	hold(t, []string{"query:kind", "query:kind=a"}, pieces, readers, func(text string) Request { return Request{Query: text} })
}

func TestEveryServerReadsCookiesAsThePredicateDidOrTheyAreRefused(t *testing.T) {
	strict := func(text string) []string {
		var values []string
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {text}}}).CookiesNamed("beta") {
			values = append(values, c.Value)
		}
		return values
	}
	unquoted := func(text string) string { return strings.Trim(leniently(text), `"`) }
	readers := choices(strict)
	for _, separators := range []string{";", ";,"} {
		for _, decode := range []func(string) string{asItIs, leniently, unquoted} {
			decodeName := asItIs
			if decode("%31") == "1" {
				decodeName = leniently
			}
			readers = append(readers,
				choices(func(text string) []string { return every(text, separators, "beta", exactly, decodeName, decode) })...)
		}
	}
	// A quoted value may hold separators to some.
	readers = append(readers, choices(func(text string) []string {
		parts := strings.Split(text, `"`)
		for i := range parts {
			if i%2 == 1 {
				parts[i] = strings.NewReplacer(";", "_", ",", "_").Replace(parts[i])
			}
		}
		return every(strings.Join(parts, `"`), ";", "beta", exactly, asItIs, asItIs)
	})...)
	pieces := []string{"beta=1", "beta=1", "beta", "beta=", "x=2", "; ", "; ", ";", ", ", `"`, `\`, "1", "%31", "Beta=1", "b%65ta=1", " "}
	hold(t, []string{"cookie:beta", "cookie:beta=1"}, pieces, readers, func(text string) Request { return Request{Header: pairs{{"Cookie", text}}} })
}

func TestEveryServerReadsFieldsAsThePredicateDidOrTheyAreRefused(t *testing.T) {
	fields := func(text string) (all pairs) {
		for line := range strings.SplitSeq(text, "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok {
				all = append(all, [2]string{name, value})
			}
		}
		return all
	}
	var readers []reader
	for _, read := range []func(name string) string{strings.ToLower, func(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }} {
		readers = append(readers, choices(func(text string) (values []string) {
			for _, f := range fields(text) {
				if read(f[0]) == "x-version" {
					values = append(values, strings.TrimSpace(f[1]))
				}
			}
			return values
		})...)
	}
	pieces := []string{"X-Version: 2\n", "x-version:2 \n", "X-Version: 1\n", "X_Version: 2\n", "X-Version: 2, 1\n", "Accept: 2\n"}
	hold(t, []string{"header:X-Version", "header:X-Version=2"}, pieces, readers, func(text string) Request { return Request{Header: fields(text)} })
}

// FuzzARouteIsReadBackAsItWasWritten declares what parsing has made of a text.
func FuzzARouteIsReadBackAsItWasWritten(f *testing.F) {
	for _, id := range []string{
		"GET /invoices/{id}", "/a/ header:X-Version=2 cookie:beta query:kind=%61", "GET  shop.example/{$}  query:a%3d=%26", "POST /x cookie:a=b header:B", "GET /a%2Fb/{rest...}",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		r, err := Parse(id)
		if err != nil {
			return
		}
		again, err := Parse(r.ID)
		if err != nil || again.ID != r.ID || !slices.Equal(again.predicates, r.predicates) || len(r.Predicates()) != len(r.predicates) {
			t.Fatalf("%q: %+v, then %+v, %v", id, r, again, err)
		}
		table, problems := Compile([]Route{r}, Profile{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if r.host == "" || !strings.Contains(r.ID, "%2F") {
			table.Shadowed(func() {}) // never falls
		}
	})
}
