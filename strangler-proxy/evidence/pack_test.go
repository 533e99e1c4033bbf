package evidence_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/evidence"
)

// noon is when everything in these tests happens.
func noon() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) }

// What must not be in a pack, wherever it was put.
var planted = []string{"hunter2", "ada@shop.example", "4111 1111 1111 1111", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "verysecrettoken12", "Zoe Customer"}

// state is a state's folder in which billing was cut over.
type state struct {
	t      *testing.T
	dir    string
	ledger *ledger.Ledger
	kept   string
	clean  *tape.Redactor
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newState(t *testing.T) *state {
	t.Helper()
	s := &state{t: t, dir: t.TempDir(), clean: tape.NewRedactor([]byte("key"), []string{"customer_name"})}
	s.ledger = must[*ledger.Ledger](t)(ledger.Open(s.dir, noon))
	t.Cleanup(func() { s.ledger.Close() })
	return s
}

func (s *state) add(kind, text string, detail any) {
	s.t.Helper()
	raw := must[[]byte](s.t)(json.Marshal(detail))
	must[ledger.Entry](s.t)(s.ledger.Append(s.t.Context(), ledger.Entry{Capability: "billing", Kind: kind, Actor: "ada", Text: text, Detail: raw}))
}

func (s *state) evidence(kind string, subject ledger.Subject, details any) {
	s.t.Helper()
	must[ledger.Evidence](s.t)(s.ledger.AddEvidence(s.t.Context(), ledger.Evidence{
		Capability: "billing", Kind: kind, Verdict: "pass", Summary: kind + " went well", Subject: subject, Details: must[[]byte](s.t)(json.Marshal(details)), By: "ada", At: noon(),
	}))
}

// report is of a verification whose differences quote secrets.
func report() verify.Report {
	return verify.Report{
		Consumer: "clients", Provider: "billing", Targets: []string{"monolith", "service"}, Verdict: verify.Pass, Passed: 1, Pending: 1,
		Interactions: []verify.Interaction{
			{Key: "a", Request: "GET /invoices/7", Description: "an invoice <script>alert(1)</script>", Verdict: verify.Evidence, Results: []verify.Result{{Target: "monolith", Status: 200}}},
			{Key: "b", Request: "GET /me?token=verysecrettoken12", Description: "who I am", Pending: true, Verdict: verify.Differs, Parity: []compare.Difference{
				{Path: "$.body.user.password", Kind: compare.Value, Expected: `"hunter2"`, Actual: `"other"`},
				{Path: "$.body.mail[0]", Kind: compare.Value, Expected: `"ada@shop.example"`, Actual: `""`},
				{Path: "$.body.customer_name", Kind: compare.Value, Expected: `"Zoe Customer"`, Actual: `null`},
			}},
		},
	}
}

// cutOver writes what a cutover leaves in the ledger, secrets everywhere.
func (s *state) cutOver() {
	c := contract.Contract{Consumer: "clients", Provider: "billing", Interactions: []contract.Interaction{{
		Key: "a", Description: "logs in", Route: "POST /login", Source: contract.Written,
		Request:  contract.Request{Method: "POST", Path: "/login", Header: map[string][]string{"Authorization": {"Bearer verysecrettoken12"}, "Content-Type": {"application/json"}}, Body: []byte(`{"password":"hunter2","card":"4111 1111 1111 1111"}`)},
		Response: contract.Response{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}, "Set-Cookie": {"session=verysecrettoken12"}}, Body: []byte(`{"jwt":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl","customer_name":"Zoe Customer"}`)},
	}}}
	temp := filepath.Join(s.dir, "billing.pact.json")
	if err := c.Save(temp); err != nil {
		s.t.Fatal(err)
	}
	digest := must[string](s.t)(control.ContractDigest(temp))
	s.kept = filepath.Join(s.dir, digest)
	if err := os.Rename(temp, s.kept); err != nil {
		s.t.Fatal(err)
	}
	subject := ledger.Subject{Config: "cfg1", MonolithBuild: "m1", ServiceBuild: "s1"}
	old := subject
	old.ServiceBuild = "s0"
	s.evidence("shadow", old, map[string]string{"email": "ada@shop.example"})
	s.evidence("rehearsal", subject, engine.SwitchResult{PauseMS: 3.2, Proven: 12, Predicted: &engine.Prediction{MS: 4.5}})
	withContract := subject
	withContract.Contract = digest
	details := evidence.Details{Verdicts: report().Verdicts(), Report: report()} // as it must not be filed
	s.evidence("contract", withContract, details)
	s.add("waiver", "shadow waived by ada until 2027-01-31: few read it", map[string]string{"gate": "shadow"})
	s.add(control.AdmissionKind, "cutover admitted: health pass", api.Admitted{
		Admission: api.Admission{Capability: "billing", Answer: api.AnswerYes, Owner: "monolith", Findings: []api.Finding{{Gate: "health", Verdict: api.Pass, Text: "the service answers <b>"}, {Gate: "shadow", Verdict: api.Waived, Text: "few read it"}}},
		Contract:  digest, Config: "cfg1", MonolithBuild: "m1", ServiceBuild: "s1",
		Shadow: []api.Shadow{{Route: "GET /invoices/{id}", Compared: 321, Differences: []api.Difference{{Times: 2, Kind: "value", Path: "$.body.password", Expected: `"hunter2"`, Actual: `"x"`, Example: "GET /invoices/7?token=verysecrettoken12"}}}},
	})
	s.add("cutover-intent", "cutover to the service begins at epoch 1", nil)
	s.add("cutover", "cutover: the service owns at epoch 2, pause 3.0 ms", nil)
	s.add("rollback-intent", "a later rollback", nil)
}

func (s *state) collect(ctx context.Context) (*evidence.Pack, error) {
	return evidence.Collect(ctx, evidence.Source{Ledger: s.ledger, Capability: "billing", Clean: s.clean, Now: noon(), Kept: func(string) string { return s.kept }})
}

func (s *state) page() string {
	s.t.Helper()
	var b bytes.Buffer
	if err := must[*evidence.Pack](s.t)(s.collect(s.t.Context())).Write(&b); err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

func TestThePackShowsAllThatJustifiedTheCutover(t *testing.T) {
	s := newState(t)
	s.cutOver()
	page := s.page()
	entries := must[[]ledger.Entry](t)(s.ledger.Entries(t.Context(), ledger.Filter{Capability: "billing"}))
	for _, e := range entries[:len(entries)-1] {
		if !strings.Contains(page, e.Hash) {
			t.Errorf("the hash of entry %d (%s) is not there", e.Seq, e.Kind)
		}
	}
	for _, want := range []string{
		"health", "shadow waived by ada", "void: the service&#39;s build changed", "cfg1", "m1", "s1", "pause predicted", "predicted pause 4.5 ms", "<td>12</td>",
		`<td data-is="compared">321</td>`, "GET /invoices/7", "differs", "POST /login", "the service owns at epoch 2", filepath.Base(s.kept),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the pack does not show %q", want)
		}
	}
	if strings.Contains(page, "a later rollback") {
		t.Error("what came after the cutover is shown as its justification")
	}
}

func TestThePackIsOneFileThatRunsAndLoadsNothingAndHidesSecrets(t *testing.T) {
	s := newState(t)
	s.cutOver()
	page := s.page()
	for _, secret := range planted {
		if strings.Contains(page, secret) {
			t.Errorf("the pack shows %q", secret)
		}
	}
	if strings.Contains(page, "<script") || !strings.Contains(page, "&lt;script&gt;alert(1)&lt;/script&gt;") || !strings.Contains(page, "the service answers &lt;b&gt;") {
		t.Error("a text of the ledger is not escaped")
	}
	if found := regexp.MustCompile(`(?i)(src|href|action|data)\s*=|url\(|@import|<link|<iframe|<img|\bon\w+=`).FindString(page); found != "" {
		t.Errorf("the pack refers to something: %q", found)
	}
}

func TestWhatIsFiledOfAVerificationHasNoSecretsInIt(t *testing.T) {
	raw, err := evidence.ContractDetails(report(), newState(t).clean)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range planted {
		if strings.Contains(string(raw), secret) {
			t.Errorf("filed is %q in\n%s", secret, raw)
		}
	}
	var d evidence.Details
	if err := json.Unmarshal(raw, &d); err != nil || d.Verdicts[verify.Differs] != 1 || len(d.Report.Interactions[1].Parity) != 3 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestADocumentThatIsQuotedAsATextIsLookedIntoAsWell(t *testing.T) {
	document := `{"x":1,"api_key":"hunter2","mail":"ada@shop.example","note":"` + strings.Repeat("n", 300) + `"}`
	side := func(media, body string) verify.Target {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			io.WriteString(w, body)
		}))
		t.Cleanup(server.Close)
		return verify.Target{Name: media, BaseURL: server.URL}
	}
	c := contract.Contract{Consumer: "web", Provider: "shop", Interactions: []contract.Interaction{{Description: "d",
		Request: contract.Request{Method: "GET", Path: "/"}, Response: contract.Response{Status: 200, Body: []byte("plain")}}}}
	for _, body := range []string{document, document[:120] + `"}`} { // one is cut where it is quoted
		r, err := verify.Run(t.Context(), verify.Options{Contract: c, Targets: []verify.Target{side("text/plain", body)}})
		if err != nil || r.Failed != 1 || !strings.Contains(r.Interactions[0].Results[0].Differences[0].Actual, "hunter2") {
			t.Fatalf("%+v, %v", r, err)
		}
		found := evidence.Clean(r, newState(t).clean).Interactions[0].Results[0].Differences[0].Actual
		if strings.Contains(found, "hunter2") || strings.Contains(found, "ada@") || !strings.Contains(found, "api_key") {
			t.Errorf("kept is %s", found)
		}
	}
}

func TestALedgerThatWasTamperedWithMakesNoPack(t *testing.T) {
	s := newState(t)
	s.cutOver()
	db := must[*sql.DB](t)(sql.Open("sqlite", filepath.Join(s.dir, "ledger.db")))
	defer db.Close()
	if _, err := db.Exec("UPDATE entry SET text = 'contract pass' WHERE seq = 2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.collect(t.Context()); err == nil || !strings.Contains(err.Error(), "entry 2 was changed") {
		t.Errorf("packed: %v", err)
	}
}

func TestAContractThatWasChangedSinceIsNotShownAsTheOneThatCounted(t *testing.T) {
	s := newState(t)
	s.cutOver()
	if err := os.WriteFile(s.kept, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if page := s.page(); !strings.Contains(page, "the contract&#39;s copy was changed after the cutover") || strings.Contains(page, "logs in") {
		t.Error("a changed contract is shown")
	}
	if err := os.Remove(s.kept); err != nil {
		t.Fatal(err)
	}
	if page := s.page(); !strings.Contains(page, "the contract&#39;s copy is gone") {
		t.Error("a contract that is gone is not named as missing")
	}
}

func TestWithoutACutoverThereIsNothingToPack(t *testing.T) {
	s := newState(t)
	s.evidence("shadow", ledger.Subject{}, nil)
	if _, err := s.collect(t.Context()); !errors.Is(err, evidence.ErrNoCutover) {
		t.Errorf("packed: %v", err)
	}
}

func TestTheVerificationThatCountedIsShownAndNotALaterOneThatCouldNotJudge(t *testing.T) {
	s := newState(t)
	subject := ledger.Subject{Contract: "c1"}
	for _, e := range []ledger.Evidence{
		{Verdict: verify.Pass, Summary: "twelve of twelve", Details: must[json.RawMessage](t)(evidence.ContractDetails(report(), s.clean))},
		{Verdict: verify.Insufficient, Summary: "nobody was let in", Details: json.RawMessage(`{"verdicts":{"unauthorized":12},"report":{"consumer":"nobody","interactions":[{"key":"z"}]}}`)},
	} {
		e.Capability, e.Kind, e.Subject, e.By, e.At = "billing", "contract", subject, "ada", noon()
		must[ledger.Evidence](t)(s.ledger.AddEvidence(t.Context(), e))
	}
	s.add(control.AdmissionKind, "cutover admitted", api.Admitted{Contract: "c1"})
	pack := must[*evidence.Pack](t)(s.collect(t.Context()))
	if pack.Verified == nil || pack.Verified.Report.Consumer != "clients" {
		t.Errorf("shown is %+v", pack.Verified)
	}
	if page := s.page(); strings.Count(page, "could not judge") != 1 || strings.Contains(page, "superseded") {
		t.Errorf("the page does not tell which counted")
	}
}
