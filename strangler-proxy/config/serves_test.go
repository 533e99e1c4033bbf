package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"stranglerfig/strangler-proxy/config"
)

// TestTheDatabasesThatServeClientsAreKnownHoweverTheyAreWritten: a pair's
// databases are written to.
func TestTheDatabasesThatServeClientsAreKnownHoweverTheyAreWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"shop.db", "scratch.db"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("shop.db", "link.db"); err != nil {
		t.Fatal(err)
	}
	absolute, err := filepath.Abs("shop.db")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{Capabilities: []config.Capability{{}, {}}}
	cfg.Monolith.Database = "sqlite:" + absolute
	cfg.Capabilities[1].Service.Database = "postgres://app:secret@127.0.0.1/billing"
	for dsn, serves := range map[string]bool{
		"sqlite:shop.db":            true,
		"sqlite:./shop.db":          true,
		"sqlite:link.db":            true,
		"sqlite:" + absolute:        true,
		"sqlite:scratch.db":         false,
		"sqlite:nowhere.db":         false,
		"postgres:///billing":       true,
		"postgres://db/billing":     false,
		"postgres://127.0.0.1/pair": false,
		"postgres://other@localhost:5432/billing?sslmode=disable": true,
		"postgres://app:secret@127.0.0.1:5433/billing":            false,
	} {
		if cfg.Serves(dsn) != serves {
			t.Errorf("%s: want %t", dsn, serves)
		}
	}
}
