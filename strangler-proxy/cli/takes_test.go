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

func TestALineThatCannotBeReadIsAnsweredInJSONWhereThatIsAsked(t *testing.T) {
	for typed, want := range map[string]string{
		"--json frob":          `{"error":"unknown command \"frob\" for \"strangler\"","hint":"strangler help","code":1}`,
		"status --frob --json": `{"error":"unknown flag: --frob","hint":"strangler status --help lists the flags","code":1}`,
	} {
		var out, err strings.Builder
		if code := Main(strings.Fields(typed), &out, &err); code != 1 || strings.TrimSpace(out.String()) != want || err.Len() > 0 {
			t.Errorf("%s: exit code %d\n%s%s", typed, code, out.String(), err.String())
		}
	}
}

func TestDifferencesThatCannotBeWrittenAreRefusedBeforeAnythingIsCompared(t *testing.T) {
	t.Chdir(t.TempDir())
	var out, err strings.Builder
	code := Main(strings.Fields("data verify billing --out gone/found.ndjson"), &out, &err)
	if want := "error: --out gone/found.ndjson: no such file or directory\nhint: nothing was done; name a file in a folder that exists and may be written\n"; code != 1 || err.String() != want {
		t.Errorf("exit code %d\n%s", code, err.String())
	}
}
