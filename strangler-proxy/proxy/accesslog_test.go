package proxy

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// escaping is what JSON writes for a text otherwise than it is, or what we do.
func escaping(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == '"' || r == '\\' || r >= utf8.RuneSelf })
}

func TestATextIsPlainWhereJSONWritesItAsItIs(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := []byte(strings.Repeat("~", length))
				text[at] = byte(c)
				if got, want := plain(string(text)), !escaping(string(text)); got != want {
					t.Fatalf("plain(%q) is %v", text, got)
				}
			}
		}
	}
}

func TestALineOfTheAccessLogSaysWhatItWasGiven(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		text := make([]byte, r.IntN(30))
		for i := range text {
			text[i] = byte(r.IntN(128))
			if r.IntN(4) == 0 {
				text[i] = byte(r.IntN(256))
			}
		}
		line := appendText([]byte(`{"first":1`), "text", string(text))
		var read struct{ Text string }
		if err := json.Unmarshal(append(line, '}'), &read); err != nil {
			t.Fatalf("%q is written as %s: %v", text, line, err)
		}
		if want := string([]rune(string(text))); read.Text != want {
			t.Fatalf("%q is read as %q", text, read.Text)
		}
	}
}
