package contract_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

func exported(t *testing.T, c contract.Contract, version int) (string, []string) {
	t.Helper()
	var b bytes.Buffer
	lost, err := c.Export(&b, version)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), lost
}

// TestWhatPactHasNoWordForBecomesTheNearestAndIsListed exports one rule at a
// time.
func TestWhatPactHasNoWordForBecomesTheNearestAndIsListed(t *testing.T) {
	const same = "-"
	for _, c := range []struct{ ours, v4, v3, lost4, lost3 string }{
		{`{"match":"type","min":1}`, same, same, "", ""},
		{`{"match":"regex","regex":"a+"}`, same, same, "", ""},
		{`{"match":"unordered"}`, `{"match":"type","min":2,"max":2}`, `{"match":"type","min":2,"max":2}`, "unordered: as many", "unordered: as many"},
		{`{"match":"tolerance","tolerance":0.5}`, `{"match":"number"}`, `{"match":"number"}`, "tolerance: any number", "tolerance: any number"},
		{`{"match":"oneOfFormats","formats":["date"]}`, `{"match":"regex","regex":"^(?:\\d{4}-\\d{2}-\\d{2})$"}`, `{"match":"regex","regex":"^(?:\\d{4}-\\d{2}-\\d{2})$"}`, "", ""},
		{`{"match":"oneOfFormats","formats":["jwt"]}`, `{"match":"type"}`, `{"match":"type"}`, "oneOfFormats: any value", "oneOfFormats: any value"},
		{`{"match":"notEmpty"}`, same, `{"match":"type"}`, "", "notEmpty: any value of the example's type"},
		{`{"match":"semver"}`, same, `{"match":"regex","regex":"\\d+\\.\\d+\\.\\d+(?:-[0-9A-Za-z.-]+)?(?:\\+[0-9A-Za-z.-]+)?"}`, "", ""},
		{`{"match":"eachKey","rules":[{"match":"regex","regex":"a+"}]}`, same, `{"match":"values"}`, "", "eachKey: members of any name"},
		{`{"match":"id"}`, `{"match":"type"}`, `{"match":"type"}`, "id: any value", "id: any value"},
		{`{"match":"moment","tolerance":1}`, `{"match":"type"}`, `{"match":"type"}`, "moment: any value", "moment: any value"},
		{`{"match":"absent"}`, ``, ``, "absent: nothing", "absent: nothing"},
	} {
		t.Run(c.ours, func(t *testing.T) {
			for version, want := range map[int]string{4: c.v4, 3: c.v3} {
				if want == same {
					want = c.ours
				}
				i := contract.Interaction{Key: "k", Request: contract.Request{Method: "GET", Path: "/"},
					Response: contract.Response{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(`{"a":["x","y"]}`)}}
				if err := json.Unmarshal([]byte(`{"body":{"$.a":{"matchers":[`+c.ours+`]}}}`), &i.Response.Rules); err != nil {
					t.Fatal(err)
				}
				text, lost := exported(t, contract.Contract{Consumer: "c", Provider: "p", Interactions: []contract.Interaction{i}}, version)
				var file struct {
					Interactions []struct {
						Response struct {
							MatchingRules struct {
								Body map[string]struct{ Matchers []json.RawMessage }
							}
						}
					}
				}
				if err := json.Unmarshal([]byte(text), &file); err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, m := range file.Interactions[0].Response.MatchingRules.Body["$.a"].Matchers {
					var b bytes.Buffer
					if err := json.Compact(&b, m); err != nil {
						t.Fatal(err)
					}
					got += b.String()
				}
				if got != want {
					t.Errorf("version %d has %s, want %s", version, got, want)
				}
				wantLost := map[int]string{4: c.lost4, 3: c.lost3}[version]
				if wantLost == "" && len(lost) > 0 || wantLost != "" && (len(lost) != 1 || !strings.HasPrefix(lost[0], "interaction k: response.body $.a: "+wantLost)) {
					t.Errorf("version %d: lost %q, want %q", version, lost, wantLost)
				}
			}
		})
	}
}

func TestNullableIsNullOrTheOther(t *testing.T) {
	text, lost := exported(t, example(t), 4)
	if len(lost) != 0 || !strings.Contains(text, `"combine": "OR"`) || !strings.Contains(text, `"match": "null"`) {
		t.Errorf("lost %q\n%s", lost, text)
	}
}

// TestAnExportedContractReadsBackAsItWas as far as the version has words for
// it.
func TestAnExportedContractReadsBackAsItWas(t *testing.T) {
	c := example(t)
	for n := range c.Interactions {
		c.Interactions[n].Response.Rules, _ = c.Interactions[n].Response.Rules.Split()
	}
	four, lost := exported(t, c, 4)
	if diff := cmp.Diff(c, read(t, four), alike); diff != "" || len(lost) > 0 {
		t.Errorf("version 4 (-was +is)\n%s, lost %q", diff, lost)
	}
	three, lost := exported(t, c, 3)
	for n, want := range []string{"json: response.status: statusCode", "json: version 3 knows no pending", "binary: response.body", "broken JSON: response.body"} {
		if len(lost) != 4 || !strings.HasPrefix(lost[n], "interaction "+want) {
			t.Errorf("lost %q, want %q", lost, want)
		}
	}
	back := read(t, three)
	for n, i := range back.Interactions {
		was := c.Interactions[n]
		i.Key, was.Key = "", ""
		was.Pending, was.Route, was.Source, was.Weight, was.Redacted = false, "", "", 0, nil
		was.Response.Rules = match.Rules{}
		i.Response.Rules = match.Rules{}
		if was.Description == "binary" || was.Description == "broken JSON" {
			was.Response.Body = nil
		}
		if diff := cmp.Diff(was, i, alike); diff != "" {
			t.Errorf("version 3 of %s (-was +is)\n%s", was.Description, diff)
		}
	}
	if again, _ := exported(t, back, 3); again != three {
		t.Error("exported twice, version 3 differs")
	}
}

func TestOnlyTwoVersionsAreWritten(t *testing.T) {
	for _, version := range []int{0, 1, 2, 5} {
		if _, err := example(t).Export(&bytes.Buffer{}, version); err == nil || !strings.Contains(err.Error(), "accepted: 3, 4") {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if _, err := (contract.Contract{}).Export(&bytes.Buffer{}, 3); err == nil {
		t.Error("a contract that is not valid is exported")
	}
}
