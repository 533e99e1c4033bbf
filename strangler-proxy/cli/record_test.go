package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
)

// taped writes a tape of reads of an invoice, most of which there is.
func taped(t *testing.T, path string) {
	t.Helper()
	r, err := tape.NewRecorder(path, tape.NewRedactor([]byte("key"), nil), tape.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		e := tape.Exchange{
			Capability: "billing", Route: "GET /invoices/{id}", Request: tape.Request{Method: "GET", Path: fmt.Sprintf("/invoices/%d", n)},
			Response: tape.Response{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(fmt.Sprintf(`{"id":%d}`, n))},
		}
		if n == 19 {
			e.Response.Status, e.Response.Body = 404, []byte(`{"error":"no invoice"}`)
		}
		r.Offer(e)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestDistillMakesAContractOfTapesAndSaysWhatItLeavesOut(t *testing.T) {
	t.Chdir(t.TempDir())
	taped(t, "one.ndjson")
	said := strangler(t, "contract", "distill", "one.ndjson", "--out", "billing.pact.json", "--cover", "90%")
	for _, want := range []string{"billing.pact.json: 1 interactions from 20 exchanges", "it covers 95.00 % of the traffic", "left out: GET /invoices/{id} answers 404, 1 times, such as GET /invoices/19"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if c, err := contract.Load("billing.pact.json"); err != nil || c.Provider != "billing" || c.Interactions[0].Weight != 19 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, refused := range []struct {
		args string
		says string
	}{
		{"one.ndjson --out billing.pact.json", "billing.pact.json exists already"},
		{"none.ndjson --out other.pact.json", "tapes are in the folder tapes"},
		{"one.ndjson --out other.pact.json --cover 120%", "accepted are shares"},
		{"one.ndjson --out other.pact.json --merge none.json", "repair that file"},
		{"one.ndjson", `required flag(s) "out" not set`},
	} {
		said := strangler(t, append([]string{"contract", "distill"}, strings.Fields(refused.args)...)...)
		if !strings.Contains(said, refused.says) || !strings.Contains(said, "exit code 1\n") {
			t.Errorf("%s: want %q and exit code 1:\n%s", refused.args, refused.says, said)
		}
	}
	if _, err := os.Stat("other.pact.json"); err == nil {
		t.Error("something was written although it was refused")
	}
	if err := os.WriteFile("empty.ndjson", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if said := strangler(t, "contract", "distill", "empty.ndjson", "--out", "other.pact.json"); !strings.Contains(said, "exit code 2\n") {
		t.Errorf("of an empty tape:\n%s", said)
	}
	if err := os.WriteFile("notes.txt", []byte("this is\nno tape\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := strangler(t, "contract", "distill", "notes.txt", "--out", "other.pact.json"); !strings.Contains(said, "notes.txt: no line can be read as an exchange, 2 are damaged") || !strings.Contains(said, "exit code 1\n") {
		t.Errorf("of what is no tape:\n%s", said)
	}
}

func TestDistillingAnewKeepsWhatPeopleWrote(t *testing.T) {
	t.Chdir(t.TempDir())
	taped(t, "one.ndjson")
	strangler(t, "contract", "distill", "one.ndjson", "--out", "first.pact.json")
	c, err := contract.Load("first.pact.json")
	if err != nil {
		t.Fatal(err)
	}
	c.Interactions = append(c.Interactions, contract.Interaction{Key: "mine", Source: contract.Written, Request: contract.Request{Method: "GET", Path: "/x"}, Response: contract.Response{Status: 200}})
	if err := c.Save("edited.pact.json"); err != nil {
		t.Fatal(err)
	}
	said := strangler(t, "contract", "distill", "one.ndjson", "--merge", "edited.pact.json", "--out", "second.pact.json", "--json")
	if second, err := contract.Load("second.pact.json"); err != nil || len(second.Interactions) != 3 || second.Interactions[0].Key != "mine" {
		t.Errorf("%+v, %v\n%s", second, err, said)
	}
}

func TestTapesOfSeveralCapabilitiesAreDistilledForOneOfThem(t *testing.T) {
	t.Chdir(t.TempDir())
	line := func(at int, capability, route, path, body, answer string) string {
		return fmt.Sprintf(`{"at":"2026-07-01T12:00:%02dZ","route":%q,"capability":%q,"request":{"method":"POST","path":%q,"header":{"Cookie":["s=1"]},"body":%q},"response":{"status":201,"body":%q}}`+"\n", at, route, capability, path, body, answer)
	}
	for name, text := range map[string]string{
		"orders.ndjson":  line(1, "orders", "POST /orders", "/orders", `{}`, `{"id":70}`),
		"billing.ndjson": line(2, "billing", "POST /invoices", "/invoices", `{"order_id":70}`, `{"id":900}`),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ args, says, code string }{
		{"billing.ndjson orders.ndjson --out a.json", "the tapes are of billing, orders, and a contract is of one of them\nhint: --capability billing; ", "exit code 1"},
		{"billing.ndjson orders.ndjson --out a.json --capability catalog", "--capability \"catalog\": nothing on the tapes is of it\nhint: on the tapes are: billing, orders", "exit code 1"},
		{"billing.ndjson orders.ndjson --out b.json --capability billing", "not chained: $.body.order_id (order) of POST /invoices answered 201, 1 times: POST /orders of orders made it up, and chains end where a capability does, so it stays as it was recorded", ""},
		{"billing.ndjson --out c.json", "not chained: $.body.order_id (order) of POST /invoices answered 201, 1 times: no answer on the tape made it up, so it stays as it was recorded", ""},
	} {
		said := strangler(t, append([]string{"contract", "distill"}, strings.Fields(row.args)...)...)
		if !strings.Contains(said, row.says) || !strings.Contains(said, row.code) || row.code == "" && strings.Contains(said, "exit code") {
			t.Errorf("want %q and %q:\n%s", row.says, row.code, said)
		}
	}
	if _, err := os.Stat("a.json"); err == nil {
		t.Error("something was written although it was refused")
	}
	if c, err := contract.Load("b.json"); err != nil || c.Provider != "billing" || len(c.Interactions) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
