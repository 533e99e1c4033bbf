package compare_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// wide is a text in UTF-16.
func wide(order binary.ByteOrder, mark bool, text string) string {
	units := utf16.Encode([]rune(text))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	bytes := make([]byte, 2*len(units))
	for i, u := range units {
		order.PutUint16(bytes[2*i:], u)
	}
	return string(bytes)
}

func of(media, body string) compare.Message {
	return compare.Message{Status: 200, Header: map[string][]string{"Content-Type": {media}}, Body: []byte(body)}
}

func TestCharacterSetsAreSeenThrough(t *testing.T) {
	for _, c := range []struct {
		name             string
		expected, actual compare.Message
		want             []string
	}{
		{"UTF-16 with a mark", of("application/json", `{"a":"ä"}`), of("application/json", wide(binary.LittleEndian, true, `{"a":"ä"}`)), nil},
		{"UTF-16 that is declared", of("text/plain", "ä"), of("text/plain; charset=utf-16", wide(binary.BigEndian, false, "ä")), nil},
		{"UTF-16LE that is declared", of("text/plain", "ä"), of("text/plain; charset=utf-16le", wide(binary.LittleEndian, false, "ä")), nil},
		{"ISO-8859-1", of("text/plain", "Zoë"), of("text/plain; charset=ISO-8859-1", "Zo\xeb"), nil},
		{"another letter in it", of("text/plain", "Zoë"), of("text/plain; charset=ISO-8859-1", "Zo\xea"), []string{"$.body:line 1 value"}},
		{"a mark of UTF-8 is none of the text's", of("application/json", `{"a":1}`), of("application/json", "\ufeff{\"a\":1}"), nil},
		{"XML says it itself", of("application/xml", "<a>ä</a>"), of("application/xml", "<?xml version=\"1.0\" encoding='ISO-8859-1'?><a>\xe4</a>"), nil},
		{"HTML says it itself", of("text/html", "<meta charset=utf-8><p>ä</p>"), of("text/html", "<meta charset=iso-8859-1><p>\xe4</p>"), []string{"$.body.html.head.meta['@charset'] value"}},
		{"not UTF-8", of("application/json", `{"a":"ä"}`), of("application/json", "{\"a\":\"\xe4\"}"), []string{"$.body encoding"}},
		{"half a character of UTF-16", of("application/json", `{"a":1}`), of("application/json; charset=utf-16", "{\"a\":1}"), []string{"$.body encoding"}},
		{"an unknown character set", of("application/json", `{"a":1}`), of("application/json; charset=klingon", `{"a":1} `), []string{"$.body encoding"}},
		{"text that is no text is bytes", of("text/plain", "\xff\xfd1"), of("text/plain", "\xff\xfd2"), []string{"$.body value"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := compare.Responses(c.expected, c.actual, match.Rules{}, compare.Options{})
			if diff := cmp.Diff(c.want, brief(found)); diff != "" {
				t.Errorf("(-want +got)\n%s%v", diff, found)
			}
		})
	}
}

func TestWhatIsWrongWithABodyIsSaid(t *testing.T) {
	compressed := of("application/json", "whatever")
	compressed.Header["Content-Encoding"] = []string{"br"}
	for _, c := range []struct {
		actual compare.Message
		want   string
	}{
		{of("application/json", `{"a":1`), "it ends where , or } is due"},
		{of("application/json", `{"a":01}`), `at byte 7: "1" where , or } is due`},
		{of("application/json", `{"a" 1}`), "where a colon is due"},
		{of("application/json", `{a:1}`), `at byte 2: "a" where the name of a member is due`},
		{of("application/json", `{"a":"`+"\n"+`"}`), "where a character of a string is due"},
		{of("application/json", `{"a":"\x"}`), "where an escape is due"},
		{of("application/json", `{"a":1}{}`), "something follows the document"},
		{of("application/json", `{"a":nul}`), "where a value is due"},
		{of("application/json", strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), "nested deeper than 1000"},
		{of("application/json", "{\"a\":\"\xff\"}"), "not UTF-8 at byte 7"},
		{of("application/json", "["+strings.Repeat("1,", 1_000_000)+"1]"), "more than 1000000 values"},
		{compressed, "compressed as br"},
	} {
		found := compare.Responses(of("application/json", `{"a":1}`), c.actual, match.Rules{}, compare.Options{})
		if len(found) != 1 || found[0].Kind != compare.Encoding || !strings.Contains(found[0].Actual, c.want) {
			t.Errorf("%.40q: %v, want %q in it", c.actual.Body, found, c.want)
		}
	}
	for body, want := range map[string]string{
		"<a><b></a>": "</a> where </b> is due", "<a>": "ends within <a>", "<a/><b/>": "a second element", "<n:a/>": "the prefix n is not bound",
		"text": "text outside", "<a x='1' x='2'/>": "twice", " ": "",
		"<a>" + strings.Repeat("<b/>", 250_000) + "</a>":           "more than 250000 elements",
		strings.Repeat("<a>", 2000) + strings.Repeat("</a>", 2000): "nested deeper than 1000",
	} {
		found := compare.Responses(of("application/xml", "<a/>"), of("application/xml", body), match.Rules{}, compare.Options{})
		if len(found) != 1 || found[0].Kind != compare.Encoding || !strings.Contains(found[0].Actual, want) {
			t.Errorf("%.40q: %v, want %q in it", body, found, want)
		}
	}
}

// TestHugeBodiesAreComparedAsBytes, since a document takes several times its
// size in memory.
func TestHugeBodiesAreComparedAsBytes(t *testing.T) {
	huge := `{"a":"` + strings.Repeat("x", 17<<20) + `"}`
	found := compare.Responses(of("application/json", huge), of("application/json", huge+" "), match.Rules{}, compare.Options{Mode: compare.Exact})
	if len(found) != 1 || found[0].Kind != compare.Length || !strings.Contains(found[0].Expected, "bytes, sha256") {
		t.Errorf("%v", found)
	}
	if found := compare.Responses(of("application/json", huge), of("application/json", huge), match.Rules{}, compare.Options{Mode: compare.Exact}); found != nil {
		t.Errorf("%v", found)
	}
}

func TestTheLastOfTwoMembersOfOneNameCounts(t *testing.T) {
	many := func(last int) string {
		var b strings.Builder
		for i := range 40 {
			fmt.Fprintf(&b, `"m%d":%d,`, i, i)
		}
		return `{` + b.String() + fmt.Sprintf(`"m0":%d}`, last)
	}
	for _, c := range []struct{ expected, actual string }{
		{`{"a":1,"b":2}`, `{"a":3,"b":2,"a":1}`}, {`{"a":1}`, `{"\u0061":2,"a":1}`}, {many(7), strings.Replace(many(7), `"m0":0,`, "", 1)},
	} {
		if found := compare.Responses(answer(c.expected), answer(c.actual), match.Rules{}, compare.Options{Mode: compare.Exact}); found != nil {
			t.Errorf("%s, %s: %v", c.expected, c.actual, found)
		}
		if found := compare.Responses(answer(c.actual), answer(strings.Replace(c.expected, "1", "9", 1)), match.Rules{}, compare.Options{Mode: compare.Exact}); found == nil {
			t.Errorf("%s: nothing differs", c.actual)
		}
	}
}
