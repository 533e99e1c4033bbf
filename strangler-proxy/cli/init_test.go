package cli

import (
	"os"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/config"
)

func TestAFirstFileSendsEverythingToTheMonolith(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"access.log": `10.0.0.1 - - [27/Nov/2026:17:03:27 +0000] "GET /invoices/7?page=2 HTTP/1.1" 200 50
10.0.0.1 - - [27/Nov/2026:17:03:28 +0000] "GET /invoices/8 HTTP/1.1" 200 50
10.0.0.2 - - [27/Nov/2026:17:03:28 +0000] "POST /orders HTTP/1.1" 201 9
`,
		"empty.log": "nothing of the sort\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ file, said string }{
		{"one.yaml --monolith http://127.0.0.1:9000 --access-log access.log", "wrote one.yaml (2 routes suggested)\nnext: strangler serve -c one.yaml\n"},
		{"one.yaml --monolith http://127.0.0.1:9000", "error: one.yaml exists already\nhint: name another file with -c\nexit code 1\n"},
		{"beside.yaml --monolith http://127.0.0.1:8080", "wrote beside.yaml (0 routes suggested)\nnext: strangler serve -c beside.yaml\n"},
		{"none.yaml --monolith foo", "error: --monolith: monolith.url: \"foo\" is not a URL: accepted are http://host[:port] and https://host[:port]\nexit code 1\n"},
		{"none.yaml --monolith http://127.0.0.1:9000 --access-log empty.log", "error: empty.log holds no request in the common log format\nexit code 1\n"},
	} {
		said := strangler(t, append([]string{"init", "-c"}, strings.Fields(c.file)...)...)
		if _, after, _ := strings.Cut(said, "\n"); after != c.said {
			t.Errorf("%s", said)
		}
	}
	for name, listen := range map[string]string{"one.yaml": ":8080", "beside.yaml": ":8081"} {
		cfg, err := config.Load(name)
		if err != nil || cfg.Listen != listen || len(cfg.AllRoutes()) != 0 {
			t.Errorf("%s: %+v, %v", name, cfg, err)
		}
	}
	text, err := os.ReadFile("one.yaml")
	if want := "#      GET /invoices/{id}: monolith   # 2 requests\n#      POST /orders: monolith   # 1 requests\n"; err != nil || !strings.HasSuffix(string(text), want) {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := os.Stat("none.yaml"); err == nil {
		t.Error("a file that cannot be used was written")
	}
}
