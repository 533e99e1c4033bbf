package cli

import (
	"strings"
	"testing"
)

func TestAVerbThatWasGivenSomethingElseSaysWhatItTakes(t *testing.T) {
	for _, c := range []struct {
		typed string
		want  string
	}{
		{"cutover", "error: strangler cutover takes CAPABILITY, and was given none\n"},
		{"own GET /invoices/{id} service", "error: strangler own takes ROUTE|CAPABILITY OWNER, and was given [\"GET\" \"/invoices/{id}\" \"service\"]\nhint: what has spaces in it needs quotes; strangler own --help\n"},
		{"data copy a b", "error: strangler data copy takes CAPABILITY, and was given [\"a\" \"b\"]\n"},
		{"check other.yaml", "error: strangler check takes no arguments, and was given [\"other.yaml\"]\n"},
	} {
		var out, err strings.Builder
		code := Main(strings.Fields(c.typed), &out, &err)
		if code != 1 || !strings.HasPrefix(err.String(), c.want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d\n%s%s", c.typed, code, out.String(), err.String())
		}
	}
}
