package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestServesUntilItIsToldToStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, stdout := io.Pipe()
	code := make(chan int, 1)
	database := "sqlite:" + filepath.Join(t.TempDir(), "shop.db")
	go func() {
		code <- run(ctx, []string{"--addr", "127.0.0.1:0", "--database", database}, stdout, io.Discard)
	}()
	line, err := bufio.NewReader(lines).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSuffix(strings.TrimPrefix(line, "listening on "), "\n")
	response, err := http.Get(url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("readyz answered %s", response.Status)
	}
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d after being told to stop", got)
	}
}

func TestWrongUseIsExplained(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := "sqlite:" + filepath.Join(t.TempDir(), "shop.db")
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown verb":      {[]string{"dance"}, 2, "use serve, migrate or seed"},
		"unknown flag":      {[]string{"serve", "--port", "1"}, 2, "flag provided but not defined"},
		"stray argument":    {[]string{"seed", "more"}, 2, "unexpected argument"},
		"port taken":        {[]string{"--addr", taken.Addr().String(), "--database", good}, 1, "choose another --addr"},
		"missing directory": {[]string{"migrate", "--database", "sqlite:/does/not/exist/shop.db"}, 1, "create it first"},
		"no such database":  {[]string{"migrate", "--database", "shop.db"}, 1, "write sqlite:<path>"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := run(t.Context(), c.args, io.Discard, &stderr)
			if code != c.code || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("exit code %d, said %q; want %d and %q", code, stderr.String(), c.code, c.says)
			}
		})
	}
}
