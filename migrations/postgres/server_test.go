package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/change"
)

// TestAServerThatCannotServeAMoveIsToldWhatToDo.
func TestAServerThatCannotServeAMoveIsToldWhatToDo(t *testing.T) {
	good := server{version: 150000, wal: "logical", kept: "10GB", encoding: "UTF8", slotsLeft: 2, sendersLeft: 2, user: "mover", database: "shop", replicates: true, creates: true}
	if found := good.problems(); len(found) > 0 {
		t.Fatal(found)
	}
	for subject, c := range map[string]struct {
		spoil      func(s *server)
		fatal      bool
		text, hint string
	}{
		"server_version":         {func(s *server) { s.version = 130014 }, true, "older than 14", "newer"},
		"server":                 {func(s *server) { s.standby = true }, true, "is a standby", "primary"},
		"wal_level":              {func(s *server) { s.wal = "replica" }, true, "is replica", "ALTER SYSTEM SET wal_level = logical"},
		"max_replication_slots":  {func(s *server) { s.slotsLeft = -1 }, true, "leaves 0 free", "raise it"},
		"max_wal_senders":        {func(s *server) { s.sendersLeft = 1 }, true, "leaves 1 free", "raise it"},
		"max_slot_wal_keep_size": {func(s *server) { s.kept = "-1" }, false, "is unlimited", "ALTER SYSTEM"},
		"role mover":             {func(s *server) { s.creates = false }, true, "may not create", `GRANT CREATE, TEMP ON DATABASE "shop" TO "mover"`},
		"replication connection": {func(s *server) { s.unreachable = errors.New("unsupported startup parameter: replication") }, true, "unsupported", "PgBouncer"},
		"server_encoding":        {func(s *server) { s.encoding = "SQL_ASCII" }, true, "nobody knows", "UTF8"},
		"transaction": {func(s *server) { s.open = []lingering{{7, "shop", "night job", 90 * time.Second}} }, false,
			"of process 7 (shop, night job) has been open for 1m30s", "pg_terminate_backend(7)"},
		"prepared transaction": {func(s *server) { s.pending = []string{"it's"} }, false, "it's is pending", "ROLLBACK PREPARED 'it''s'"},
		"event trigger":        {func(s *server) { s.eventTriggers = []string{"audit"} }, false, "audit also fires", "schema strangler"},
		"standby":              {func(s *server) { s.standbys = true }, false, "after a failover", "data resume"},
	} {
		s := good
		c.spoil(&s)
		found := s.problems()
		if len(found) != 1 || found[0].Subject != subject || found[0].Fatal != c.fatal || !strings.Contains(found[0].Text, c.text) || !strings.Contains(found[0].Hint, c.hint) {
			t.Errorf("%s: %+v", subject, found)
		}
	}
	for spoil, text := range map[*server]string{
		{replicates: false}:  "may not replicate",
		{encoding: "LATIN1"}: "is LATIN1",
	} {
		if !slices.ContainsFunc(spoil.problems(), func(p change.Problem) bool { return strings.Contains(p.Text, text) }) {
			t.Errorf("%s is not found: %v", text, spoil.problems())
		}
	}
}
