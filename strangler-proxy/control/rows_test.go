package control

import (
	"strings"
	"testing"

	"stranglerfig/migrations/pair"
)

func TestWhatRowsDifferInIsKeptWithoutItsSecrets(t *testing.T) {
	s := newShop(t)
	c := s.start()
	have := &store{clean: c.redactor}
	for column, value := range map[string]string{
		"payload":  `{"password": "hunter2", "n": 7}`,
		"contact":  "call ada@example.com",
		"password": "hunter2",
	} {
		if shown := have.shown(column, value); strings.Contains(shown, "hunter2") || strings.Contains(shown, "ada@example.com") {
			t.Errorf("%s shows %s", column, shown)
		}
	}
	if shown := have.shown("status", "paid"); shown != "paid" {
		t.Errorf("a status shows as %s", shown)
	}
	if d := RowDifferences([]pair.Difference{{Table: "invoices", Kind: "deleted", Monolith: "deleted", Service: "id=7 note=hunter2"}})[0]; have.shown("", d.Actual) != "a row" || have.shown("", d.Expected) != "deleted" {
		t.Errorf("%+v", d)
	}
	if shown := have.shown("nickname", "hunter2"); shown != "hunter2" {
		t.Fatalf("a nickname shows as %s", shown)
	}
	s.save(func(s *shop) { s.more = "redact: [nickname]\n" })
	c.reload()
	if shown := have.shown("nickname", "hunter2"); shown == "hunter2" {
		t.Error("what the file names as a secret since is shown")
	}
}
