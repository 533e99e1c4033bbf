package tape_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
)

const (
	plantedMail   = "alice.smith+shop@mail.example.com"
	plantedCard   = "4111 1111 1111 1111"
	plantedDigits = "5500005555555559"
	plantedIBAN   = "DE89 3704 0044 0532 0130 00"
	plantedJWT    = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	plantedToken  = "s3cr3t-Token-Value"
	plantedPhrase = "correct horse battery"
	plantedKey    = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
	plantedIssued = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
	plantedPlace  = "Zoe Anywhere"
)

// planted are the secrets that no tape may hold, in any writing.
var planted = []string{
	plantedMail, "alice.smith", plantedCard, "4111111111111111", plantedDigits, plantedIBAN, "DE89370400440532013000",
	plantedJWT, "dBjftJeZ4CVP", plantedToken, plantedPhrase, "battery", "alice.smith%2Bshop%40mail",
	plantedKey, plantedIssued, plantedPlace, base64.StdEncoding.EncodeToString([]byte(plantedMail))[:24], base64.RawURLEncoding.EncodeToString([]byte(`{"password":"` + plantedPhrase))[:30],
}

func redactor() *tape.Redactor {
	return tape.NewRedactor([]byte("key"), []string{"Customer_Note", "$.people[*].name", "$.owner"})
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	fmt.Fprint(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// secretive are exchanges with secrets in every place we know of.
func secretive(t *testing.T) []tape.Exchange {
	get := func(path, query string, header map[string][]string) tape.Exchange {
		return tape.Exchange{Request: tape.Request{Method: "GET", Path: path, Query: query, Header: header}}
	}
	answer := func(media, body string) tape.Exchange {
		return tape.Exchange{Request: tape.Request{Method: "GET", Path: "/"},
			Response: tape.Response{Status: 200, Header: map[string][]string{"Content-Type": {media}}, Body: []byte(body)}}
	}
	coded := answer("application/json", string(zipped(t, `{"email":"`+plantedMail+`"}`)))
	coded.Response.Header["Content-Encoding"] = []string{"gzip"}
	opaque := answer("text/plain", plantedMail)
	opaque.Response.Header["Content-Encoding"] = []string{"br"}
	cutJSON := answer("application/json", `{"a":1,"password":"`+plantedToken)
	cutJSON.Truncated = true
	cutText := answer("text/plain", "mail to "+plantedMail[:20])
	cutText.Truncated = true
	cutNumber := answer("application/json", `{"a":1,"n":`+plantedDigits)
	cutNumber.Truncated = true
	cutForm := tape.Exchange{Truncated: true, Request: tape.Request{Method: "POST", Path: "/", Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte("a=1&b=" + plantedMail)}}
	set := answer("text/html", "")
	set.Response.Header["Set-Cookie"] = []string{"sid=" + plantedToken + "; Path=/; HttpOnly"}
	set.Response.Header["Location"] = []string{"/welcome?token=" + plantedToken + "&m=" + plantedMail}
	return []tape.Exchange{
		get("/", "", map[string][]string{"Authorization": {"Bearer " + plantedToken}, "Cookie": {"a=1; sid=" + plantedToken}, "x-api-key": {plantedToken},
			"Proxy-Authorization": {"Basic " + plantedToken}, "Referer": {"https://x/?token=" + plantedToken}, "X-User": {plantedMail}, "X-Csrf-Token": {plantedToken}}),
		get("/users/alice.smith+shop@mail.example.com/"+plantedDigits, "", nil),
		get("/users/alice.smith%2Bshop%40mail.example.com", "", nil),
		get("/token/"+plantedToken+"1", "", nil),
		get("/", "access_token="+plantedToken+"&who=alice.smith%2Bshop%40mail.example.com&"+plantedDigits, nil),
		answer("application/json", `{"user":{"email":"`+plantedMail+`","customerNote":"`+plantedPhrase+`"},"cards":[{"pan":`+plantedDigits+`},"`+plantedCard+`"],"password":["`+plantedToken+`"],"text":"Authorization: Bearer `+plantedToken+`"}`),
		answer("application/json", `{"`+plantedMail+`":1,"iban":"x","note":"pay `+plantedIBAN+` NOW","jwt":"`+plantedJWT+`"}`),
		answer("text/html", `<p>`+plantedMail+`</p><a href="mailto:`+plantedMail+`">x</a><input type=hidden name="csrf_token" value="`+plantedToken+`"><input value='`+plantedToken+`' name=password><meta name="csrf-token" content="`+plantedToken+`">`),
		answer("text/csv", "id,mail,card\n1,"+plantedMail+","+plantedCard+"\n2,x,2024 "+plantedDigits+"\n"),
		answer("application/xml", "<user><password>"+plantedPhrase+"</password><iban nr='1'>"+plantedIBAN+"</iban></user>"),
		answer("text/plain", "token="+plantedToken+"\npassword: \""+plantedPhrase+"\"\njwt "+plantedJWT),
		answer("application/octet-stream", "\xff\x00"+plantedMail+"\x00"),
		answer("application/json", `not JSON {"password": "`+plantedPhrase+`"`),
		answer("application/json", `{"a":1} {"password": "`+plantedPhrase+`"}`),
		{Request: tape.Request{Method: "POST", Path: "/login", Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte("user=bob&password=" + plantedToken + "&m=" + plantedMail)}},
		{Request: tape.Request{Method: "POST", Path: "/login", Header: map[string][]string{"Content-Type": {"multipart/form-data; boundary=b"}}, Body: []byte("--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n" + plantedPhrase + "\r\n--b--")}},
		{Request: tape.Request{Method: "POST", Path: "/login", Body: []byte(` {"pw":"` + plantedToken + `"}`)}},
		{Request: tape.Request{Method: "POST", Path: "/keys", Header: map[string][]string{"Content-Type": {"multipart/form-data; boundary=b"}}, Body: []byte("--b\r\nContent-Disposition: form-data; name=\"private_key\"; filename=\"k\"\r\nContent-Type: text/plain\r\n\r\nfirst line\r\n" + plantedKey + "\r\n--b\r\nContent-Disposition: form-data; name=\"about\"\r\n\r\n" + plantedMail + "\r\n--b--")}},
		answer("text/plain", "-----BEGIN PRIVATE KEY-----\n"+plantedKey+"\n-----END PRIVATE KEY-----\n"+plantedIssued),
		answer("application/xml", "<u><password><![CDATA["+plantedPhrase+"]]></password><login token='"+plantedToken+"'/></u>"),
		answer("application/json", `{"people":[{"name":"`+plantedPlace+`","age":3}],"owner":{"first":["`+plantedPlace+`"]}}`),
		answer("application/json", `{"blob":"`+base64.StdEncoding.EncodeToString([]byte(plantedMail))+`","state":"`+base64.RawURLEncoding.EncodeToString([]byte(`{"password":"`+plantedPhrase+`"}`))+`"}`),
		coded, opaque, cutJSON, cutText, cutNumber, cutForm, set,
	}
}

func TestPlantedSecretsNeverReachTheTape(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape.ndjson")
	r, err := tape.NewRecorder(path, redactor(), tape.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	all := secretive(t)
	for _, e := range all {
		if !r.Offer(e) {
			t.Fatal("an exchange was dropped")
		}
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	kept, damaged, err := tape.Load(path)
	if err != nil || damaged != 0 || len(kept) != len(all) {
		t.Fatalf("%d exchanges, %d damaged, %v; want %d", len(kept), damaged, err, len(all))
	}
	for n, e := range kept {
		// Bodies are looked at decoded: base64 must not hide anything.
		text := fmt.Sprintf("%+v %s %s", e, e.Request.Body, e.Response.Body)
		for _, secret := range planted {
			if strings.Contains(text, secret) {
				t.Errorf("exchange %d holds %q:\n%s", n, secret, text)
			}
		}
		if len(e.Redacted) == 0 && !e.Truncated {
			t.Errorf("exchange %d lists nothing as redacted: %s", n, text)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range planted {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the file holds %q", secret)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v), want 0600", info.Mode(), err)
	}
}

// TestPseudonymsKeepEquality: what belonged together still does.
func TestPseudonymsKeepEquality(t *testing.T) {
	e := tape.Exchange{
		Request:  tape.Request{Method: "GET", Path: "/u/" + plantedMail, Query: "mail=alice.smith%2Bshop%40mail.example.com"},
		Response: tape.Response{Status: 200, Body: []byte(`{"email": "` + plantedMail + `", "n": 1.50,` + "\n" + ` "other": "bob@mail.example.com"}`)},
	}
	got := redactor().Redact(e)
	name := strings.TrimPrefix(got.Request.Path, "/u/")
	if !strings.HasSuffix(name, "@example.invalid") || !strings.HasPrefix(name, "redacted-") {
		t.Errorf("the pseudonym is %q", name)
	}
	if want := `{"email": "` + name + `", "n": 1.50,` + "\n" + ` "other": "`; !strings.HasPrefix(string(got.Response.Body), want) {
		t.Errorf("the body is %s, want it to begin with %s", got.Response.Body, want)
	}
	if !strings.Contains(got.Request.Query, strings.ReplaceAll(name, "@", "%40")) {
		t.Errorf("the query is %s", got.Request.Query)
	}
	if diff := cmp.Diff([]string{"request.path", "request.query.mail", "response.body.email", "response.body.other"}, got.Redacted); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(got, redactor().Redact(got)); diff != "" {
		t.Errorf("redacting again changes it\n%s", diff)
	}
	if other := tape.NewRedactor([]byte("another"), nil).Redact(e); other.Request.Path == got.Request.Path {
		t.Error("another key gives the same pseudonym")
	}
}

// TestCardsAreFoundAmongOtherDigits, several in one run.
func TestCardsAreFoundAmongOtherDigits(t *testing.T) {
	body := strings.Repeat("2024 "+plantedCard+" 12-"+plantedDigits+" ", 100)
	got := redactor().Redact(tape.Exchange{Response: tape.Response{Body: []byte(body)}})
	if text := string(got.Response.Body); strings.Contains(text, "1111") || strings.Contains(text, plantedDigits) || strings.Count(text, "redacted-") != 200 {
		t.Errorf("it becomes %s", text[:200])
	}
}

// TestWhatIsNoSecretStaysAsItIs, byte for byte.
func TestWhatIsNoSecretStaysAsItIs(t *testing.T) {
	for _, body := range []string{
		`{"id":1735689600000,"no":"INV-000001","amount":12.30,"at":"2026-01-01 10:00:00","ratio":0.4111111111111111,"uuid":"4f1c2b8e-1111-4222-8333-944455556666","x":[true,null,""]}`,
		`plain text with 4111111111111112, which is no card`,
	} {
		e := tape.Exchange{Request: tape.Request{Method: "GET", Path: "/a%20b/1735689600000", Query: "page=1&q=a+b"}, Response: tape.Response{Status: 200, Body: []byte(body)}}
		got := redactor().Redact(e)
		if string(got.Response.Body) != body || got.Request.Path != e.Request.Path || got.Request.Query != e.Request.Query || len(got.Redacted) != 0 {
			t.Errorf("changed to %+v %s", got, got.Response.Body)
		}
	}
}

func TestRedactedNumbersStayNumbers(t *testing.T) {
	got := redactor().Redact(tape.Exchange{Response: tape.Response{Status: 200, Body: []byte(`{"card":123456,"token":7}`)}})
	var v map[string]json.Number
	if err := json.Unmarshal(got.Response.Body, &v); err != nil || v["card"] == "123456" || len(v["card"]) != 6 {
		t.Errorf("%s: %v", got.Response.Body, err)
	}
}

func TestOfferNeverBlocksAndDropsAreCounted(t *testing.T) {
	r, err := tape.NewRecorder(filepath.Join(t.TempDir(), "t"), redactor(), tape.RecorderOptions{Queue: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Offer(tape.Exchange{}) {
		t.Error("a recorder that is not running took an exchange")
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if r.Start() == nil {
		t.Error("started twice")
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				r.Offer(tape.Exchange{Response: tape.Response{Status: 200, Body: []byte("x")}})
			}
		})
	}
	wait.Wait()
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("the second stop fails: %v", err)
	}
	if s := r.Stats(); s.Written+s.Dropped != 1601 || s.Failed != 0 || s.Written == 0 {
		t.Errorf("%+v do not add up to 1601", s)
	}
	if r.Offer(tape.Exchange{}) {
		t.Error("a stopped recorder took an exchange")
	}
}

func TestBodiesAreCappedAndMarked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	r, err := tape.NewRecorder(path, redactor(), tape.RecorderOptions{MaxBody: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.Offer(tape.Exchange{Response: tape.Response{Status: 200, Body: []byte("one two three four")}})
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	kept, _, err := tape.Load(path)
	if err != nil || len(kept) != 1 || !kept[0].Truncated || string(kept[0].Response.Body) != "one two " {
		t.Errorf("%+v %v", kept, err)
	}
}

func TestATapeSurvivesACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	if err := os.WriteFile(path, []byte(`{"request":{"method":"GET","path":"/1"},"response":{"status":200}}`+"\n"+`{"request":{"met`), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := tape.NewRecorder(path, redactor(), tape.RecorderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.Offer(tape.Exchange{Request: tape.Request{Method: "GET", Path: "/2"}})
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	kept, damaged, err := tape.Load(path)
	if err != nil || len(kept) != 2 || damaged != 1 || kept[1].Request.Path != "/2" {
		t.Errorf("%+v, %d damaged, %v", kept, damaged, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("an existing file stays readable by others: %v %v", info.Mode(), err)
	}
}

func TestRecordingWithoutARedactorIsRefused(t *testing.T) {
	if _, err := tape.NewRecorder("x", nil, tape.RecorderOptions{}); err == nil {
		t.Error("accepted")
	}
}

// recorded makes an exchange of GET /invoices/{id}.
func recorded(id int, body string) tape.Exchange {
	return redactor().Redact(tape.Exchange{Route: "GET /invoices/{id}",
		Request: tape.Request{Method: "GET", Path: fmt.Sprintf("/invoices/%d", id), Query: "a=1",
			Header: map[string][]string{"Accept": {"application/json"}, "Authorization": {"Bearer abcdefgh"}, "User-Agent": {"x"}}},
		Response: tape.Response{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}, "Etag": {fmt.Sprintf(`"%d"`, id)}, "Set-Cookie": {"s=1"}}, Body: []byte(body)}})
}

func TestDistillMakesOneInteractionOfEachSortOfAnswer(t *testing.T) {
	missing := recorded(9, `{"error":"invoice 9 not found"}`)
	missing.Response.Status = 404
	broken := recorded(3, `{}`)
	broken.Response.Status = 500
	cut := recorded(4, `{`)
	cut.Truncated = true
	d := tape.Distill([]tape.Exchange{
		recorded(1, `{"id":1,"created":"2026-01-01 10:00:00","st":1,"mail":"a@b.example","lines":[{"q":1,"ref":null}]}`), missing, broken, cut,
		recorded(2, `{"id":2,"created":"2026-01-02 10:00:00","st":1,"mail":"c@d.example","lines":[{"q":1,"ref":7},{"q":2,"ref":8}]}`),
	}, tape.Options{Consumer: "web", Provider: "shop"})
	if d.Weight != 3 || d.Covered != 3 || d.Skipped != (tape.Skipped{Truncated: 1, Failed: 1}) {
		t.Errorf("it was made of %+v", d)
	}
	c := d.Contract
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(c.Interactions) != 2 {
		t.Fatalf("%d interactions, want 2: %+v", len(c.Interactions), c.Interactions)
	}
	i := c.Interactions[0]
	if i.Weight != 2 || i.Request.Path != "/invoices/1" || i.Source != contract.Recorded || i.Route != "GET /invoices/{id}" || i.Pending {
		t.Errorf("%+v", i)
	}
	if diff := cmp.Diff(map[string][]string{"Accept": {"application/json"}}, i.Request.Header); diff != "" {
		t.Errorf("request headers (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"Content-Type": {"application/json"}}, i.Response.Header); diff != "" {
		t.Errorf("response headers (-want +got)\n%s", diff)
	}
	var got []string
	for _, r := range i.Response.Rules.Body() {
		got = append(got, r.Path.String()+": "+r.List.String())
	}
	want := []string{"$.lines[*].ref: nullable", "$.lines[*].q: number", "$.created: datetime", "$.id: integer", "$.lines: type", "$.mail: type"}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("no rule %s in %q", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("rules are %q, want %q", got, want)
	}
	// The real answers, unredacted, honour what was distilled from the redacted.
	for _, body := range []string{
		`{"id":1,"created":"2026-01-01 10:00:00","st":1,"mail":"a@b.example","lines":[{"q":1,"ref":null}]}`,
		`{"id":2,"created":"2026-01-02 10:00:00","st":1,"mail":"c@d.example","lines":[{"q":1,"ref":7},{"q":2,"ref":8}]}`,
	} {
		real := compare.Message{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(body)}
		expected := compare.Message{Status: i.Response.Status, Header: i.Response.Header, Body: i.Response.Body}
		if d := compare.Responses(expected, real, i.Response.Rules, compare.Options{}); d != nil {
			t.Errorf("%s does not honour the contract: %v", body, d)
		}
	}
}

func TestDistilledTextFreesWhatWasRedacted(t *testing.T) {
	page := func(mail, total string) compare.Message {
		return compare.Message{Status: 200, Header: map[string][]string{"Content-Type": {"text/html"}}, Body: []byte("<p>" + mail + "</p>\n<b>" + total + "</b>")}
	}
	real := page("a@b.example", "12.30")
	e := redactor().Redact(tape.Exchange{Request: tape.Request{Method: "GET", Path: "/p"}, Response: tape.Response{Status: 200, Header: real.Header, Body: real.Body}})
	i := tape.Distill([]tape.Exchange{e}, tape.Options{Consumer: "web", Provider: "shop"}).Contract.Interactions[0]
	expected := compare.Message{Status: 200, Header: i.Response.Header, Body: i.Response.Body}
	if d := compare.Responses(expected, real, i.Response.Rules, compare.Options{}); d != nil {
		t.Errorf("the real page does not honour the contract: %v", d)
	}
	if d := compare.Responses(expected, page("a@b.example", "99.99"), i.Response.Rules, compare.Options{}); d == nil {
		t.Error("another total honours the contract")
	}
}

func TestRequestsThatCannotBeRepeatedArePending(t *testing.T) {
	e := redactor().Redact(tape.Exchange{Request: tape.Request{Method: "GET", Path: "/users/" + plantedMail}, Response: tape.Response{Status: 204}})
	if i := tape.Distill([]tape.Exchange{e}, tape.Options{Consumer: "web", Provider: "shop"}).Contract.Interactions[0]; !i.Pending {
		t.Error("not pending")
	}
}

func TestWhatARouteAsksForIsRepeated(t *testing.T) {
	for _, row := range []struct {
		asks    []string
		header  map[string][]string
		want    map[string][]string
		pending bool
	}{
		{[]string{"header:x-version=2", "query:kind=a"}, map[string][]string{"X-Version": {"2"}, "X-Other": {"3"}}, map[string][]string{"X-Version": {"2"}}, false},
		{[]string{"header:X-Version"}, map[string][]string{"X-Version": {"7"}}, map[string][]string{"X-Version": {"7"}}, false},
		{[]string{"cookie:beta=on", "cookie:theme=dark"}, map[string][]string{"Cookie": {"theme=dark; session=7; beta=on"}}, map[string][]string{"Cookie": {"beta=on; theme=dark"}}, false},
		{[]string{"cookie:session"}, map[string][]string{"Cookie": {"session=7"}}, map[string][]string{}, true},
		{[]string{"header:Authorization"}, map[string][]string{"Authorization": {"Bearer abcdefgh"}}, map[string][]string{}, true},
	} {
		e := redactor().Redact(tape.Exchange{Route: "GET /p", Asks: row.asks, Request: tape.Request{Method: "GET", Path: "/p", Query: "kind=a", Header: row.header}, Response: tape.Response{Status: 204}})
		i := tape.Distill([]tape.Exchange{e}, tape.Options{Consumer: "web", Provider: "shop"}).Contract.Interactions[0]
		if diff := cmp.Diff(row.want, i.Request.Header); diff != "" || i.Pending != row.pending {
			t.Errorf("%q: pending %v: %s", row.asks, i.Pending, diff)
		}
	}
}

func TestDistillingIsRepeatable(t *testing.T) {
	exchanges := []tape.Exchange{recorded(1, `{"a":1}`), recorded(2, `{"b":1}`), recorded(3, `{"c":[]}`)}
	o := tape.Options{Consumer: "w", Provider: "s"}
	if a, b := tape.Distill(exchanges, o).Contract, tape.Distill(exchanges, o).Contract; a.Digest() != b.Digest() {
		t.Error("digests differ from run to run")
	}
}

// FuzzRedactedJSONStaysJSON and a second redaction finds nothing new.
func FuzzRedactedJSONStaysJSON(f *testing.F) {
	f.Add(`{"email":"a@b.example","n":[1,{"token":null,"pw":-1.5e3}],"a@b.example":""}`)
	f.Add(`[" 4111111111111111 ",4111111111111111,"Bearer abcdefgh"]`)
	f.Fuzz(func(t *testing.T, body string) {
		got := redactor().Redact(tape.Exchange{Response: tape.Response{Body: []byte(body), Header: map[string][]string{"Content-Type": {"application/json"}}}})
		if json.Valid([]byte(body)) && !json.Valid(got.Response.Body) {
			t.Errorf("%q becomes %q", body, got.Response.Body)
		}
		redactor().Redact(tape.Exchange{Truncated: true, Request: tape.Request{Path: body, Query: body, Body: []byte(body)}})
	})
}
