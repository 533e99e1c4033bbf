package contract_test

import (
	"strings"
	"testing"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

const numbered = `{"consumer":{"name":"a"},"provider":{"name":"b"},"interactions":[
 {"type":"Synchronous/HTTP","description":"made","request":{"method":"POST","path":"/invoices"},
  "response":{"status":201,"headers":{"Location":["/invoices/7"]},"body":{"content":{"id":7,"no":"INV-1","customer":3}}},
  "comments":{"strangler":{"route":"POST /invoices","matchingRules":{"body":{"$.no":{"matchers":[{"match":"id","scope":"number"}]},"$.customer":{"matchers":[{"match":"type"}]}}},
   "chain":{"captures":[{"name":"one","from":"$.body.id"}],"returns":[{"name":"one","in":"$.header.Location"}]}}}},
 {"type":"Synchronous/HTTP","description":"made with a note","request":{"method":"POST","path":"/invoices"},
  "response":{"status":201,"body":{"content":{"id":8,"no":"INV-2","note":"x"}}},
  "comments":{"strangler":{"route":"POST /invoices","chain":{"captures":[{"name":"two","from":"$.body.id"},{"name":"no","from":"$.body.no"}]}}}},
 {"type":"Synchronous/HTTP","description":"paid","request":{"method":"POST","path":"/invoices/8/payments","headers":{"Content-Type":["application/json"]},"body":{"content":{"by":"INV-2"}}},
  "response":{"status":201,"body":{"content":{"invoice":8}}},
  "comments":{"strangler":{"route":"POST /invoices/{id}/payments","chain":{"uses":[{"name":"two","in":"$.path[1]"},{"name":"no","in":"$.body.by"}],"returns":[{"name":"two","in":"$.body.invoice"}]}}}}
]}`

func TestAContractSaysWhereIdentifiersAre(t *testing.T) {
	c, err := contract.Read(strings.NewReader(numbered))
	if err != nil {
		t.Fatal(err)
	}
	all := c.Identifiers()
	scope := func(rules match.Rules, path string) string {
		t.Helper()
		p, err := match.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		m, ok := rules.For(p).Get(match.ID)
		if !ok {
			return "none"
		}
		return m.Scope
	}
	made := all["POST /invoices"]
	for _, w := range []struct {
		rules      match.Rules
		path, want string
	}{
		{made.Named[201], "$.no", "number"},
		{made.Named[201], "$.id", "none"},
		{made.Named[201], "$.customer", "none"},
		{made.Made[201], "$.no", "number"},
		{made.Made[201], "$.id", "chain one"},
		{all["POST /invoices/{id}/payments"].Made[201], "$.invoice", "chain one"},
		{all["POST /invoices/{id}/payments"].Named[201], "$.invoice", "none"},
	} {
		if got := scope(w.rules, w.path); got != w.want {
			t.Errorf("%s is numbered by %q, want %q", w.path, got, w.want)
		}
	}
	location := match.Found{List: made.Made[201].Header("Location")}
	m, _ := location.Get(match.ID)
	for address, want := range map[string]string{"/invoices/7": "7", "http://shop.example/invoices/7/?x=/9": "7", "7": "7"} {
		if got, ok := m.Identifier(match.Text(address)); !ok || got != want || m.Scope != "chain one" {
			t.Errorf("%s: %q of %q", address, got, m.Scope)
		}
	}
	q := contract.Request{Path: "/invoices/8/payments", Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(`{"by":"INV-2"}`)}
	uses := all["POST /invoices/{id}/payments"].Uses
	if len(uses) != 2 || uses[0].Name != "chain one" || uses[1].Name != "number" {
		t.Fatalf("%+v", uses)
	}
	if at, ok := uses[0].Asks(q); !ok || at != "8" {
		t.Errorf("the request is about %q", at)
	}
	if at, ok := uses[1].Asks(q); !ok || at != "INV-2" {
		t.Errorf("and about %q", at)
	}
}

func TestARequestSaysWhatItHasInAPlace(t *testing.T) {
	q := contract.Request{
		Path: "/orders/a%2Fb/lines", Query: map[string][]string{"id": {"7", "8"}},
		Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}, Body: []byte("n=7&m="),
	}
	for place, want := range map[string]string{"$.path[1]": "a/b", "$.query.id[1]": "8", "$.body.n": "7", "$.body.m": ""} {
		if got, ok := (contract.Use{In: place}).Asks(q); !ok || got != want {
			t.Errorf("%s: %q, %v", place, got, ok)
		}
	}
	for _, place := range []string{"$.path[9]", "$.query.id[2]", "$.query.no[0]", "$.body.x", "$.nothing"} {
		if got, ok := (contract.Use{In: place}).Asks(q); ok {
			t.Errorf("%s: %q", place, got)
		}
	}
}
