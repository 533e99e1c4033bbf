package evidence_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/evidence"
)

const token = "tok3n-0f-a-cl1ent"

// everywhere has secrets in every place of requests and answers.
func everywhere() []tape.Exchange {
	var zip bytes.Buffer
	w := gzip.NewWriter(&zip)
	io.WriteString(w, `{"email":"ada@shop.example","password":"hunter2"}`)
	w.Close()
	document := func(media, body string, more ...string) tape.Exchange {
		e := tape.Exchange{Request: tape.Request{Method: "GET", Path: "/me", Header: map[string][]string{"Accept": {media}}}, Response: tape.Response{Status: 200, Header: map[string][]string{"Content-Type": {media}}, Body: []byte(body)}}
		for n := 0; n+1 < len(more); n += 2 {
			e.Response.Header[more[n]] = []string{more[n+1]}
		}
		return e
	}
	sent := func(media, body string) tape.Exchange {
		return tape.Exchange{Request: tape.Request{Method: "POST", Path: "/login", Header: map[string][]string{"Content-Type": {media}}, Body: []byte(body)}, Response: tape.Response{Status: 204}}
	}
	return []tape.Exchange{
		{Request: tape.Request{Method: "GET", Path: "/users/ada@shop.example/token/" + token + "1", Query: "api_key=" + token + "&card=4111+1111+1111+1111", Header: map[string][]string{
			"Authorization": {"Bearer " + token}, "Cookie": {"session=" + token}, "X-Api-Key": {token}, "Referer": {"http://x/?token=" + token}}}, Response: tape.Response{Status: 204, Header: map[string][]string{"Set-Cookie": {"sid=" + token}, "Location": {"/?token=" + token}}}},
		document("application/json", `{"user":{"mail":"ada@shop.example","password":"hunter2","customer_name":"Zoe Customer"},"card":"4111 1111 1111 1111","t":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"}`),
		document("application/json", zip.String(), "Content-Encoding", "gzip"),
		document("application/json", `{"blob":"`+base64.StdEncoding.EncodeToString([]byte(`{"password":"hunter2","mail":"ada@shop.example"}`))+`"}`),
		document("text/html", `<p>ada@shop.example</p><input name="password" value="hunter2"><a href="/?token=`+token+`">x</a>`),
		document("application/xml", `<u><password>hunter2</password><customer_name><![CDATA[Zoe Customer]]></customer_name><card nr="4111 1111 1111 1111"/></u>`),
		document("text/csv", "id,mail\n1,ada@shop.example\n"),
		sent("application/x-www-form-urlencoded", "email=ada%40shop.example&password=hunter2&note=4111+1111+1111+1111"),
		sent("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n--b\r\nContent-Disposition: form-data; name=\"customer_name\"\r\n\r\nZoe Customer\r\n--b--"),
		sent("application/json", `{"login":{"token":"`+token+`"}}`),
	}
}

// TestPlantedSecretsAreInNoFileThatIsKept searches all that recording,
// distilling, verifying, a cutover and packing leave on the disk.
func TestPlantedSecretsAreInNoFileThatIsKept(t *testing.T) {
	s := newState(t)
	recorder := must[*tape.Recorder](t)(tape.NewRecorder(filepath.Join(s.dir, "tape.ndjson"), s.clean, tape.RecorderOptions{}))
	if err := recorder.Start(); err != nil {
		t.Fatal(err)
	}
	all := everywhere()
	for n := range all {
		all[n].Route = all[n].Request.Method + " /" + string(rune('a'+n))
		if !recorder.Offer(all[n]) {
			t.Fatal("an exchange was dropped")
		}
	}
	if err := recorder.Stop(); err != nil {
		t.Fatal(err)
	}
	exchanges, _, err := tape.Load(filepath.Join(s.dir, "tape.ndjson"))
	if err != nil || len(exchanges) != len(all) {
		t.Fatalf("%d exchanges, %v", len(exchanges), err)
	}
	c := tape.Distill(exchanges, tape.Options{Consumer: "clients", Provider: "billing"}).Contract
	s.kept = filepath.Join(s.dir, "billing.pact.json")
	if err := c.Save(s.kept); err != nil {
		t.Fatal(err)
	}
	// Sides that give the secrets away, each another way, so that every answer
	// is a difference that quotes some.
	side := func(name, answer string) verify.Target {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Accept"))
			w.Header().Set("Location", "/?token="+token)
			io.WriteString(w, answer)
		}))
		t.Cleanup(server.Close)
		return verify.Target{Name: name, BaseURL: server.URL}
	}
	report, err := verify.Run(t.Context(), verify.Options{Contract: c, Unsafe: true, Targets: []verify.Target{
		side("monolith", `{"user":{"mail":["ada@shop.example"],"password":7},"card":"4111 1111 1111 1111","customer_name":"Zoe Customer"}`),
		side("service", `{"user":{"mail":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl","password":"hunter2","token":"`+token+`"}}`),
	}})
	if err != nil || report.Failed == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	details := must[json.RawMessage](t)(evidence.ContractDetails(report, s.clean))
	digest := must[string](t)(control.ContractDigest(s.kept))
	s.evidence("contract", ledger.Subject{Contract: digest}, details)
	s.add(control.AdmissionKind, "cutover admitted", api.Admitted{Contract: digest})
	if err := os.WriteFile(filepath.Join(s.dir, "pack.html"), []byte(s.page()), 0o600); err != nil {
		t.Fatal(err)
	}
	searched := 0
	for _, file := range must[[]os.DirEntry](t)(os.ReadDir(s.dir)) {
		raw := must[[]byte](t)(os.ReadFile(filepath.Join(s.dir, file.Name())))
		searched++
		for _, secret := range append(planted, token, "4111+1111", "4111111111111111", "ada%40shop", base64.StdEncoding.EncodeToString([]byte(`{"password":"hunter2`))[:24]) {
			if strings.Contains(string(raw), secret) {
				t.Errorf("%s holds %q", file.Name(), secret)
			}
		}
	}
	if searched < 4 {
		t.Errorf("only %d files were searched", searched)
	}
}
