package evidence_test

import (
	"encoding/json"
	"strings"
	"testing"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/evidence"
)

func TestRowsThatOneSideAloneWroteShowNoSecrets(t *testing.T) {
	clean := tape.NewRedactor([]byte("k"), []string{"nickname"})
	r := verify.Report{Interactions: []verify.Interaction{{Verdict: verify.Differs, Effects: []compare.Difference{
		{Path: "$.rows.users", Kind: compare.Missing, Expected: `id=4 name=x password="two hunter2" nickname="ripe plum" two={"api_key":"abc def"} card="4111 1111 1111 1111"`},
		{Path: "$.rows.users.password", Kind: compare.Value, Expected: "hunter2", Actual: "hunter2"},
		{Path: "$.rows.users.body", Kind: compare.Value, Expected: `{"password":"hunter2"}`, Actual: `{"api_key":"abc def"}`},
	}}}}
	raw, err := json.Marshal(evidence.Clean(r, clean))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "plum", "abc def", "1111 1111"} {
		if strings.Contains(string(raw), secret) {
			t.Errorf("%s is shown: %s", secret, raw)
		}
	}
}
