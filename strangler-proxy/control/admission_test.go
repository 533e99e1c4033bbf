package control

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/control/api"
)

// canCutOver asks over the admin API.
func (s *server) canCutOver(what string) api.Admission {
	s.t.Helper()
	var a api.Admission
	if err := s.api.Get(s.t.Context(), "/v1/can-cutover?what="+url.QueryEscape(what), &a); err != nil {
		s.t.Fatal(err)
	}
	return a
}

// says returns a finding's text and command by its gate.
func says(t *testing.T, a api.Admission, gate string) api.Finding {
	t.Helper()
	for _, f := range a.Findings {
		if f.Gate == gate {
			return f
		}
	}
	t.Fatalf("the gate %s is not among %+v", gate, a.Findings)
	return api.Finding{}
}

func TestWhetherACapabilityCanBeCutOverIsWhatACutoverWouldSay(t *testing.T) {
	s := newShop(t)
	s.save(withData)
	s.databases()
	c := s.start()
	a := c.canCutOver("billing")
	if a.Answer != api.AnswerNotEnough || a.ExitCode() != 2 || a.Owner != "monolith" || len(a.Findings) != 5 {
		t.Errorf("at first: %+v", a)
	}
	if f := says(t, a, "data"); f.Command != "strangler data prepare billing" {
		t.Errorf("the data gate says %+v", f)
	}
	for _, verb := range []string{"prepare", "copy", "verify", "rehearse"} {
		if err := c.operate(verb); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	c.prove("fail")
	if a := c.canCutOver("billing"); a.Answer != api.AnswerNo || a.ExitCode() != 1 {
		t.Errorf("with a contract that failed: %+v", a)
	}
	c.prove("pass")
	if a := c.canCutOver("billing"); a.Answer != api.AnswerYes || a.ExitCode() != 0 {
		t.Errorf("with everything: %+v", a)
	}
	if err := c.operate("cutover"); err != nil {
		t.Fatal(err)
	}
	if a := c.canCutOver("POST /invoices"); a.Owner != "service" || a.Capability != "billing" {
		t.Errorf("afterwards, of a write route: %+v", a)
	}
}

func TestTheLedgerKeepsWhatAdmittedACutoverAndTheContractItWasAbout(t *testing.T) {
	s := newShop(t)
	s.save(withData)
	s.databases()
	c := s.start()
	for _, verb := range []string{"prepare", "copy", "verify", "rehearse"} {
		if err := c.operate(verb); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	c.prove("pass")
	if err := c.operate("cutover"); err != nil {
		t.Fatal(err)
	}
	s.write("billing.pact.json", `{"another": "one"}`)
	entries := c.entries(AdmissionKind)
	if len(entries) != 1 {
		t.Fatalf("%d admissions are on record", len(entries))
	}
	var a api.Admitted
	if err := json.Unmarshal(entries[0].Detail, &a); err != nil {
		t.Fatal(err)
	}
	if a.Answer != api.AnswerYes || len(a.Findings) != 5 || a.ServiceBuild != "v1" || a.Config == "" || a.Problem != "" {
		t.Errorf("the entry says %+v", a)
	}
	if f := says(t, a.Admission, "rehearsal"); !strings.Contains(f.Text, "predicted pause") {
		t.Errorf("of the rehearsal it says %+v", f)
	}
	if raw, err := os.ReadFile(KeptContract(c.config(), a.Contract)); err != nil || string(raw) != "{}" || digestOf(raw) != a.Contract {
		t.Errorf("the contract that was kept is %q, %v", raw, err)
	}
}

func TestAStepUpIsJournalledWithWhatItsGatesSaid(t *testing.T) {
	s := newShop(t)
	c := s.start()
	c.prove("pass")
	s.wants("canary 10%")
	c.reload()
	var o ownerEntry
	entries := c.entries(ownerKind)
	if len(entries) != 1 {
		t.Fatalf("%d owner changes are on record", len(entries))
	}
	if err := json.Unmarshal(entries[0].Detail, &o); err != nil || len(o.Findings) != 2 || o.Findings[1].Gate != "contract" || o.Findings[1].Text != "12 interactions" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestWhetherARouteCanBeCutOverNamesTheCommandThatWouldSettleIt(t *testing.T) {
	s := newShop(t)
	c := s.start()
	a := c.canCutOver("GET   /invoices")
	if f := says(t, a, "shadow"); a.Route != "GET /invoices" || a.Answer != api.AnswerNotEnough || f.Route != "GET /invoices" || f.Command == "" {
		t.Errorf("%+v", a)
	}
	if a := c.canCutOver("billing"); len(a.Findings) != 3 || a.Answer != api.AnswerNotEnough {
		t.Errorf("of the whole capability, whose data does not move: %+v", a)
	}
	s.service.Close()
	if a := c.canCutOver("GET /invoices"); a.Answer != api.AnswerNo || says(t, a, "health").Command != "start the service at "+s.service.URL {
		t.Errorf("with a dead service: %+v", a)
	}
	var unknown *api.Error
	if err := c.api.Get(t.Context(), "/v1/can-cutover?what=billling", nil); !errors.As(err, &unknown) || unknown.Code != api.ExitNo || !strings.Contains(unknown.Hint, "billing") {
		t.Errorf("of nothing that is declared: %v", err)
	}
}

func TestWithoutAServerTheStateIsReadInstead(t *testing.T) {
	s := newShop(t)
	var none *api.Error
	if _, err := Consult(t.Context(), s.path, "billing"); !errors.As(err, &none) || none.Code != api.ExitNotEnough {
		t.Errorf("before the first serve: %v", err)
	}
	c := s.start()
	c.prove("pass")
	s.wants("canary 10%")
	c.reload()
	c.stop()
	a, err := Consult(t.Context(), s.path, "GET /invoices")
	if err != nil || a.Owner != "canary 10%" || says(t, a, "contract").Verdict != api.Pass || says(t, a, "shadow").Verdict != api.Missing {
		t.Errorf("%+v, %v", a, err)
	}
	s.build.Store("v2")
	if a, err = Consult(t.Context(), s.path, "GET /invoices"); err != nil || !strings.Contains(says(t, a, "contract").Text, "the service's build changed since") {
		t.Errorf("of another build: %+v, %v", a, err)
	}
}

func TestWithoutAServerNothingIsFollowed(t *testing.T) {
	s := newShop(t)
	s.save(withData)
	s.databases()
	s.start().stop()
	a, err := Consult(t.Context(), s.path, "billing")
	if err != nil || a.Answer != api.AnswerNotEnough || says(t, a, "data").Command != "strangler serve" || says(t, a, "verify").Command != "strangler serve" {
		t.Errorf("%+v, %v", a, err)
	}
}
