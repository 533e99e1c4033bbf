package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/route"
)

// words reads "ID=word" pairs.
func words(t testing.TB, pairs ...string) map[string]route.Owner {
	t.Helper()
	all := map[string]route.Owner{}
	for _, pair := range pairs {
		at := strings.LastIndexByte(pair, '=') // an ID may hold some itself
		id, word := pair[:at], pair[at+1:]
		owner, err := route.ParseOwner(word)
		if err != nil {
			t.Fatal(err)
		}
		all[id] = owner
	}
	return all
}

const head = "monolith: {url: http://127.0.0.1:9000}\ncapabilities:\n  billing:\n    service: {url: http://127.0.0.1:9102}\n"

func TestSetOwnersKeepsEveryOtherByte(t *testing.T) {
	for name, row := range map[string]struct {
		before, after string
		set           []string
	}{
		"a plain word": {
			"    routes:\n      GET /a:   monolith\n      GET /b: monolith\n",
			"    routes:\n      GET /a:   canary 10%\n      GET /b: monolith\n",
			[]string{"GET /a=canary 10%"},
		},
		"several at once, and one that is right already": {
			"    routes:\n      GET /a: monolith\n      GET /b: service\n      GET /c: shadow\n",
			"    routes:\n      GET /a: service\n      GET /b: service\n      GET /c: shadow 5%\n",
			[]string{"GET /a=service", "GET /b=service", "GET /c=shadow 5%"},
		},
		"comments, which keep their column where there is room": {
			"    # above\n    routes:   # beside\n      GET /a: monolith        # why\n      GET /b: canary 5% # tight\n      # below\n",
			"    # above\n    routes:   # beside\n      GET /a: canary 10%      # why\n      GET /b: canary 50% # tight\n      # below\n",
			[]string{"GET /a=canary 10%", "GET /b=canary 50%"},
		},
		"quotes": {
			"    routes:\n      \"GET /a\": \"monolith\"\n      'GET /b': 'shadow'  # x\n",
			"    routes:\n      \"GET /a\": \"canary 10%\"\n      'GET /b': 'service' # x\n",
			[]string{"GET /a=canary 10%", "GET /b=service"},
		},
		"routes that ask for something": {
			"    routes:\n      GET /a: monolith\n      GET  /a  header:X-Version=2 cookie:beta: monolith # why\n      \"GET /a query:kind=%22\": {owner: shadow, encoded_slash: true}\n",
			"    routes:\n      GET /a: monolith\n      GET  /a  header:X-Version=2 cookie:beta: canary 5% # why\n      \"GET /a query:kind=%22\": {owner: service, encoded_slash: true}\n",
			[]string{"GET /a header:X-Version=2 cookie:beta=canary 5%", "GET /a query:kind=%22=service"},
		},
		"line ends of another system, and trailing space": {
			"    routes:\r\n      GET /a: monolith  \r\n      GET /b: monolith # é\r\n",
			"    routes:\r\n      GET /a: service  \r\n      GET /b: service  # é\r\n",
			[]string{"GET /a=service", "GET /b=service"},
		},
		"no line end at the end": {
			"    routes:\n      GET /a: monolith",
			"    routes:\n      GET /a: service",
			[]string{"GET /a=service"},
		},
		"flow style, several in a line": {
			"    routes: {GET /a: monolith, GET /b: monolith, \"GET /c\": shadow 5%} # flow\n",
			"    routes: {GET /a: canary 10%, GET /b: monolith, \"GET /c\": service} # flow\n",
			[]string{"GET /a=canary 10%", "GET /c=service"},
		},
		"the mapping form": {
			"    routes:\n      GET /a: {owner: monolith, encoded_slash: true}\n      GET /b:\n        encoded_slash: true\n        owner: shadow # here\n",
			"    routes:\n      GET /a: {owner: canary 1%, encoded_slash: true}\n      GET /b:\n        encoded_slash: true\n        owner: service # here\n",
			[]string{"GET /a=canary 1%", "GET /b=service"},
		},
		"letters of more than one byte before the word": {
			"    routes: {GET /café: monolith, GET /日本: monolith}\n",
			"    routes: {GET /café: service, GET /日本: shadow}\n",
			[]string{"GET /café=service", "GET /日本=shadow"},
		},
		"a route that is written with more space": {
			"    routes:\n      GET   /a: monolith\n",
			"    routes:\n      GET   /a: service\n",
			[]string{"GET /a=service"},
		},
		"line breaks that only YAML sees": {
			"    # one\u2028    # two\u0085    # three\r    routes:\n      GET /a: monolith\n",
			"    # one\u2028    # two\u0085    # three\r    routes:\n      GET /a: service\n",
			[]string{"GET /a=service"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			edited, changes, err := config.SetOwners([]byte(head+row.before), words(t, row.set...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(head+row.after, string(edited)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			c, err := config.Parse("strangler.yaml", edited, nothingSet)
			if err != nil {
				t.Fatal(err)
			}
			for id, owner := range words(t, row.set...) {
				if r, _ := c.Route(id); r.Owner != owner {
					t.Errorf("%s is owned by %q", id, r.Owner)
				}
			}
			if len(changes) == 0 || len(changes) > len(row.set) {
				t.Errorf("changes: %+v", changes)
			}
		})
	}
}

func TestSetOwnersTellsItsChangesInTheOrderOfTheFile(t *testing.T) {
	text := head + "    routes: {GET /c: monolith, GET /a: shadow}\n  catalog:\n    service: {url: http://127.0.0.1:9101}\n    routes:\n      GET /b: monolith\n      GET /d: service\n"
	_, changes, err := config.SetOwners([]byte(text), words(t, "GET /a=service", "GET /b=shadow", "GET /c=canary 5%", "GET /d=service"))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Change{
		{Route: "GET /c", From: "monolith", To: "canary 5%", Line: 5},
		{Route: "GET /a", From: "shadow", To: "service", Line: 5},
		{Route: "GET /b", From: "monolith", To: "shadow", Line: 9},
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Error(diff)
	}
}

func TestSetOwnersRefusesWhatItCannotEdit(t *testing.T) {
	for name, row := range map[string]struct{ routes, want string }{
		"an unknown route":     {"    routes:\n      GET /b: monolith\n", "no such route"},
		"a word from an alias": {"    routes:\n      GET /b: &w monolith\n      GET /a: *w\n", "line 7"},
		"a word with a tag":    {"    routes:\n      GET /a: !!str monolith\n", "write it plainly"},
		"a block":              {"    routes:\n      GET /a: >-\n        monolith\n", "on one line"},
		"an escape":            {"    routes:\n      GET /a: \"mono\\x6cith\"\n", "write it plainly"},
		"bad YAML":             {"    routes: [\n", "edit the config"},
	} {
		edited, changes, err := config.SetOwners([]byte(head+row.routes), words(t, "GET /a=service"))
		if err == nil || !strings.Contains(err.Error(), row.want) || edited != nil || changes != nil {
			t.Errorf("%s: %q, %+v, %v; want an error that says %q", name, edited, changes, err, row.want)
		}
	}
	if _, _, err := config.SetOwners([]byte(head), words(t, "GET /a=service")); !errors.Is(err, config.ErrNoRoute) {
		t.Errorf("without routes: %v", err)
	}
}

func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "strangler.yaml")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func contents(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSaveOwnersReplacesTheFileAndKeepsItsMode(t *testing.T) {
	text := head + "    routes:\n      GET /a: monolith # x\n"
	path := file(t, text)
	changes, err := config.SaveOwners(path, words(t, "GET /a=canary 10%"))
	if err != nil || len(changes) != 1 {
		t.Fatal(changes, err)
	}
	if got := contents(t, path); got != strings.Replace(text, "monolith # x", "canary 10% # x", 1) {
		t.Errorf("the file is\n%s", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside the file lie %v, %v", left, err)
	}
}

func TestSaveOwnersWritesThroughALink(t *testing.T) {
	path := file(t, head+"    routes:\n      GET /a: monolith\n")
	link := filepath.Join(t.TempDir(), "strangler.yaml")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := config.SaveOwners(link, words(t, "GET /a=service")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if !strings.Contains(contents(t, path), "GET /a: service") {
		t.Errorf("the file is\n%s", contents(t, path))
	}
}

func TestSaveOwnersNeverMakesAGoodFileBad(t *testing.T) {
	text := head + "    routes:\n      GET /a: monolith\n      POST /a: monolith\n"
	path := file(t, text)
	var bad *config.Error
	if _, err := config.SaveOwners(path, words(t, "GET /a=service", "POST /a=canary 5%")); !errors.As(err, &bad) || !strings.Contains(err.Error(), "cannot be \"canary 5%\"") {
		t.Errorf("the error is %v", err)
	}
	if got := contents(t, path); got != text {
		t.Errorf("the file became\n%s", got)
	}
}

func TestSaveOwnersLeavesAFileThatIsRightAlone(t *testing.T) {
	path := file(t, head+"    routes:\n      GET /a: shadow 100%\n")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if changes, err := config.SaveOwners(path, words(t, "GET /a=shadow")); err != nil || changes != nil {
		t.Fatal(changes, err)
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced, %v", err)
	}
}

func TestFrameFindsTheServerOfABrokenFile(t *testing.T) {
	path := file(t, "admin: {listen: 127.0.0.1:7777, token: t}\nstate: ./s\nlisten: broken\n"+head+"    routes:\n      GET /a: nobody\n")
	if _, err := config.Load(path); err == nil {
		t.Fatal("the file is not broken")
	}
	c, err := config.Frame(path)
	if err != nil || c.Admin != (config.Admin{Listen: "127.0.0.1:7777", Token: "t"}) || c.Resolve(c.State) != filepath.Join(filepath.Dir(path), "s") {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := config.Frame(file(t, "\t")); err == nil {
		t.Error("a file that is not YAML has a frame")
	}
}
