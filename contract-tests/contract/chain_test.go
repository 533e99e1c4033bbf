package contract_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/contract"
)

// linked is a contract of interactions with these chains, named a, b, c ….
func linked(chains ...contract.Chain) contract.Contract {
	c := contract.Contract{Consumer: "web", Provider: "shop"}
	for n, chain := range chains {
		c.Interactions = append(c.Interactions, contract.Interaction{
			Key: string(rune('a' + n)), Request: contract.Request{Method: "GET", Path: "/a/1"}, Response: contract.Response{Status: 200}, Chain: chain,
		})
	}
	return c
}

func captures(names ...string) (all []contract.Capture) {
	for _, name := range names {
		all = append(all, contract.Capture{Name: name, From: "$.body.id"})
	}
	return all
}

func uses(names ...string) (all []contract.Use) {
	for _, name := range names {
		all = append(all, contract.Use{Name: name, In: "$.path[1]"})
	}
	return all
}

func TestWhatIsUsedIsCapturedBefore(t *testing.T) {
	c := linked(
		contract.Chain{Uses: uses("second")}, contract.Chain{}, contract.Chain{Captures: captures("second"), Uses: uses("first")},
		contract.Chain{Captures: captures("first")}, contract.Chain{Captures: captures("other")}, contract.Chain{Uses: uses("other")},
	)
	order, err := c.Order()
	if d := cmp.Diff([]int{3, 2, 0, 1, 4, 5}, order); d != "" || err != nil {
		t.Errorf("%v: %s", err, d)
	}
	groups, err := c.Chains()
	if d := cmp.Diff([][]int{{3, 2, 0}, {1}, {4, 5}}, groups); d != "" || err != nil {
		t.Errorf("%v: %s", err, d)
	}
}

func TestChainsThatCannotBePlayedAreRefused(t *testing.T) {
	for name, x := range map[string]struct {
		c    contract.Contract
		want string
	}{
		"a circle":           {linked(contract.Chain{Captures: captures("x"), Uses: uses("y")}, contract.Chain{Captures: captures("y"), Uses: uses("x")}), "the chain is cyclic: a → b → a"},
		"one that bites":     {linked(contract.Chain{Captures: captures("x"), Uses: uses("x")}), "the chain is cyclic: a → a"},
		"nobody captures it": {linked(contract.Chain{Uses: uses("x")}), `interaction a uses "x", which no interaction captures`},
		"two capture it":     {linked(contract.Chain{Captures: captures("x")}, contract.Chain{Captures: captures("x")}), `interaction b: comments.strangler.chain captures "x", as interaction a does`},
		"no such place":      {linked(contract.Chain{Captures: []contract.Capture{{Name: "x", From: "$.status"}}}), `captures "x": "$.status" is no place (accepted: $.body…, $.header…)`},
		"a wild place":       {linked(contract.Chain{Captures: captures("x"), Uses: []contract.Use{{Name: "x", In: "$.body[*]"}}}), `"$.body[*]" is no place`},
		"no name":            {linked(contract.Chain{Captures: captures("")}), "has no name"},
	} {
		var b bytes.Buffer
		if err := x.c.Write(&b); err != nil {
			t.Fatal(err)
		}
		for how, err := range map[string]error{"validated": x.c.Validate(), "read": func() error { _, err := contract.Read(&b); return err }()} {
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s, %s: %v, want %q", name, how, err, x.want)
			}
		}
	}
}

func TestChainsReadBackAsTheyAreWritten(t *testing.T) {
	c := linked(contract.Chain{Captures: captures("x")}, contract.Chain{Uses: uses("x"), Returns: []contract.Use{{Name: "x", In: "$.header.Location"}}})
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	back, err := contract.Read(&b)
	if err != nil || back.Digest() != c.Digest() || cmp.Diff(c.Interactions[1].Chain, back.Interactions[1].Chain) != "" {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestACapturedValueIsPutWhereItBelongs(t *testing.T) {
	form := contract.Request{Path: "/f", Header: map[string][]string{"content-type": {"application/x-www-form-urlencoded; charset=utf-8"}}, Body: []byte("a=1&id=2")}
	q := contract.Request{
		Path: "/orders/7/lines", Query: map[string][]string{"id": {"7", "8"}},
		Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(`{"n":7,"lines":[{"id":"7"}]}`),
	}
	for in, want := range map[string]string{
		"$.path[1]": "/orders/a%2Fb/lines", "$.query.id[1]": "a/b", "$.body.lines[0].id": `{"lines":[{"id":"a/b"}],"n":7}`, "$.body.n": `{"lines":[{"id":"7"}],"n":"a/b"}`,
	} {
		out, err := contract.Use{Name: "x", In: in}.Put(q, "a/b")
		if err != nil || out.Path != want && string(out.Body) != want && out.Query["id"][1] != want {
			t.Errorf("%s: %+v, %v", in, out, err)
		}
	}
	if out, err := (contract.Use{In: "$.body.n"}).Put(q, "99999999999999999999"); err != nil || string(out.Body) != `{"lines":[{"id":"7"}],"n":99999999999999999999}` {
		t.Errorf("a number: %s, %v", out.Body, err)
	}
	if out, err := (contract.Use{In: "$.body.id"}).Put(form, "a b"); err != nil || string(out.Body) != "a=1&id=a+b" {
		t.Errorf("a form: %s, %v", out.Body, err)
	}
	for _, in := range []string{"$.path[3]", "$.query.no[0]", "$.body.no", "$.body.lines", "$.body.lines[4].id"} {
		if _, err := (contract.Use{In: in}).Put(q, "1"); err == nil {
			t.Errorf("%s: put nowhere without a word", in)
		}
	}
	if q.Query["id"][1] != "8" || string(q.Body) != `{"n":7,"lines":[{"id":"7"}]}` {
		t.Error("the example itself was changed")
	}
}

func TestWhatIsCapturedIsOneValue(t *testing.T) {
	header, body := map[string][]string{"location": {"http://shop.example/orders/a%2Fb/?x=1"}}, []byte(`{"id":12345678901234567890,"list":[{"no":"INV-1"}],"none":null}`)
	for from, want := range map[string]string{"$.header.Location": "a/b", "$.body.id": "12345678901234567890", "$.body.list[0].no": "INV-1"} {
		if got, ok := (contract.Capture{From: from}).Take(header, body); !ok || got != want {
			t.Errorf("%s: %q, %v", from, got, ok)
		}
	}
	for _, from := range []string{"$.body.none", "$.body.list", "$.body.list[1].no", "$.body.no", "$.header.Etag"} {
		if got, ok := (contract.Capture{From: from}).Take(header, body); ok {
			t.Errorf("%s: %q", from, got)
		}
	}
}
