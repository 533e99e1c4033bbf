package ledger_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"stranglerfig/migrations/ledger"
)

// TestAKillInTheFirstOpenNeedsNobody leaves the schema as golang-migrate does
// between marking a version and running it, and between running and clearing it.
func TestAKillInTheFirstOpenNeedsNobody(t *testing.T) {
	for name, statements := range map[string][]string{
		"before it ran": {"DROP TABLE entry", "DROP TABLE move", "UPDATE schema_migrations SET dirty = 1"},
		"after it ran":  {"UPDATE schema_migrations SET dirty = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for round := range 2 {
				l, err := ledger.Open(dir, time.Now)
				if err != nil {
					t.Fatalf("open %d: %v", round, err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if round == 1 {
					return
				}
				db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
				if err != nil {
					t.Fatal(err)
				}
				for _, q := range statements {
					if _, err := db.Exec(q); err != nil {
						t.Fatal(err)
					}
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
