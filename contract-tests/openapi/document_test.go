package openapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/openapi"
)

// TestTheRefusalOfADescriptionIsInPlainWords, with its place and what would be
// accepted, and without the words of the library that reads it.
func TestTheRefusalOfADescriptionIsInPlainWords(t *testing.T) {
	const head = "openapi: 3.0.3\ninfo: {title: a, version: \"1\"}\n"
	for name, c := range map[string]struct{ text, says string }{
		"nothing":              {"", "the file is empty (accepted: an OpenAPI description in YAML or JSON)"},
		"comments":             {"# later\n", "nothing but comments"},
		"words":                {"just words\n", "line 1: the document is a text (accepted: an OpenAPI description"},
		"a list":               {"[1, 2]", "line 1: the document is a list"},
		"another document":     {"a: 1\n", "it has no member openapi, so it is no OpenAPI description (accepted: openapi 3.0 and 3.1)"},
		"Swagger":              {"swagger: \"2.0\"\npaths: {}\n", "line 1: swagger 2.0 is not read (accepted: openapi 3.0 and 3.1)"},
		"Swagger in JSON":      {"{\n \"swagger\": \"2.0\"}", "line 2: swagger 2.0 is not read"},
		"a version of old":     {"openapi: \"2.9\"\n", `line 1: openapi is "2.9" (accepted: a text that begins with 3.0 or 3.1`},
		"a number for it":      {"info: {}\nopenapi: 3.0\n", "line 2: openapi is a number, 3.0 (accepted: a text"},
		"broken YAML":          {"openapi: 3.0.3\npaths: {a: [b\n", "the YAML is broken: did not find expected"},
		"a tab":                {"openapi: 3.0.3\n\tinfo: x\n", "line 2: the YAML is broken: found a tab character"},
		"broken JSON":          {"{\"openapi\": \"3.0.3\",\n \"paths\": }", "line 2, column 11: the JSON is broken: invalid character '}'"},
		"a member twice":       {head + "paths: {}\npaths: {}\n", `line 4: the YAML is broken: mapping key "paths" already defined at line 3`},
		"a list for an object": {"openapi: 3.0.3\ninfo: [a]\npaths: {}\n", "line 2: a list is not what belongs at /info (accepted: what OpenAPI 3.0 and 3.1 say of it)"},
		"a number for one":     {head + "paths: {/a: {get: {responses: {\"200\": 5}}}}\n", "line 3: a number, 5, is not what belongs at /paths//a/get/responses/200"},
		"a circle":             {head + "paths: &a\n  /a: *a\n", `the YAML is broken: anchor "a" value contains itself`},
		"no paths":             {head, "invalid paths: must be an object (accepted: an object of paths, which may be empty)"},
		"an unknown type":      {head + "paths: {/a: {get: {responses: {\"200\": {description: b, content: {application/json: {schema: {type: strin}}}}}}}}\n", `unsupported 'type' value "strin" (accepted: array, boolean,`},
	} {
		path := filepath.Join(t.TempDir(), "d.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openapi.Load(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v\nwant %s", name, err, c.says)
			continue
		}
		for _, word := range []string{"unmarshal", "construct", "openapi3", "!!"} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v quotes a library", name, err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "d.json")
	if err := os.WriteFile(path, []byte("{\n\t\"openapi\": \"3.0.3\",\n\t\"info\": {\"title\": \"\\ud83d\\ude00\", \"version\": \"1\"},\n\t\"paths\": {}\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := openapi.Load(path); err != nil || d.Title() != "😀" {
		t.Errorf("JSON that YAML's readers refuse: %v", err)
	}
}
