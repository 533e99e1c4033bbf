package compare_test

import (
	"testing"

	"stranglerfig/contract-tests/compare"
)

// TestFingerprintsStayAsTheyAre: allowances are filed under them, so that a
// change here would void these.
func TestFingerprintsStayAsTheyAre(t *testing.T) {
	for _, c := range []struct {
		path string
		kind compare.Kind
		want string
	}{
		{"$.status", compare.Status, "status $.status"},
		{"$.header.Location", compare.Header, "header $.header.Location"},
		{"$.body", compare.Encoding, "encoding $.body"},
		{"$.body.lines[3].amount", compare.Value, "value $.body.lines[*].amount"},
		{"$.body[0][12]", compare.Type, "type $.body[*][*]"},
		{"$.body:line 17", compare.Value, "value $.body:line *"},
		{"$.body.part:line 17", compare.Value, "value $.body.part:line *"},
		{"$.body['unit price']", compare.Missing, "missing $.body['unit price']"},
		{"$.body.a.b['#text']", compare.Value, "value $.body.a.b['#text']"},
		{"$.body.a.b[2]['@id']", compare.Extra, "extra $.body.a.b[*]['@id']"},
		{"$.body.byId.17.name", compare.Value, "value $.body.byId.*.name"},
		{"$.body.byDay.2026-01-31", compare.Value, "value $.body.byDay.*"},
		{"$.body.byKey.8c6f6b2e-7d0c-4b0e-9a1a-111111111111.n", compare.Value, "value $.body.byKey.*.n"},
		{"$.body.byMail['ada@example.org'].n", compare.Value, "value $.body.byMail.*.n"},
		{"$.body.blobs.0123456789abcdef", compare.Missing, "missing $.body.blobs.*"},
		{"$.body.facade", compare.Missing, "missing $.body.facade"},
		{"$.query.page", compare.Value, "value $.query.page"},
		{"$", compare.More, "more $"},
	} {
		d := compare.Difference{Path: c.path, Kind: c.kind, Expected: "1", Actual: "2", Rule: "$.a: type"}
		if got := d.Fingerprint(); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.kind, c.path, got, c.want)
		}
	}
}
