package config_test

import (
	"fmt"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/config"
)

func TestALargeFileIsReadInManySmallSteps(t *testing.T) {
	const routes = 2000
	text := "monolith: {url: http://127.0.0.1:9000}\ncapabilities:\n  c:\n    service: {url: http://127.0.0.1:9001}\n    routes:\n"
	for i := range routes {
		text += fmt.Sprintf("      GET /r%d/{id}: monolith\n", i)
	}
	pauses := 0
	pause := func() { pauses++ }
	aside, err := config.ParseAside("strangler.yaml", []byte(text), nothingSet, pause)
	if err != nil {
		t.Fatal(err)
	}
	// Read as YAML in pieces of 512 bytes; then, each route by itself, read as a
	// key, put into the tree in two steps, and held against the others.
	if least := len(text)/512 + 4*routes; pauses < least {
		t.Errorf("%d pauses, fewer than %d", pauses, least)
	}
	if n := len(aside.AllRoutes()); n != routes || len(aside.Table().Routes()) != routes {
		t.Errorf("%d routes, of which %d are in the table", n, len(aside.Table().Routes()))
	}
	pauses = 0
	if warned := aside.WarningsAside(pause); len(warned) > 0 || pauses < routes {
		t.Errorf("%d pauses, %v", pauses, warned)
	}
	_, err = config.ParseAside("strangler.yaml", []byte(strings.Replace(text, "/r7/", "/r8/", 1)), nothingSet, pause)
	if err == nil || !strings.Contains(err.Error(), "is given twice") {
		t.Errorf("error %v", err)
	}
}
