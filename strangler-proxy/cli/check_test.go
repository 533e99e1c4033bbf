package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// strangler runs the command as a person would and returns what they see.
func strangler(t *testing.T, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Main(args, &out, &errOut)
	said := "$ strangler"
	for _, arg := range args {
		if strings.ContainsAny(arg, " {*") {
			arg = fmt.Sprintf("%q", arg)
		}
		said += " " + arg
	}
	said += "\n" + out.String() + errOut.String()
	if code != 0 {
		said += fmt.Sprintf("exit code %d\n", code)
	}
	return said
}

// golden compares a transcript with the file of its name.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// TestCheckSaysWhatOfTheRoutesIsWrong compares transcripts of the files in
// testdata/check with the golden ones beside them.
func TestCheckSaysWhatOfTheRoutesIsWrong(t *testing.T) {
	t.Chdir("testdata/check")
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		golden(t, strings.TrimSuffix(file, ".yaml")+".golden", strangler(t, "check", "-c", file)+strangler(t, "check", "-c", file, "--json"))
	}
}
