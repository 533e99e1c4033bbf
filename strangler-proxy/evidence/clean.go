package evidence

import (
	"encoding/json"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control/api"
)

// clean takes secrets out of everything that is shown. What was recorded is
// clean already; what people wrote by hand, and what older versions kept, may
// not be.
func (p *Pack) clean(c Cleaner) {
	p.Admission = cleanEntry(p.Admission, c)
	p.Entries = cleanEntries(p.Entries, c)
	p.Outcome = cleanEntries(p.Outcome, c)
	p.Waivers = cleanEntries(p.Waivers, c)
	for n := range p.Admitted.Findings {
		f := &p.Admitted.Findings[n]
		f.Text, f.Command = c.Text(f.Text), c.Text(f.Command)
	}
	p.Admitted.Problem = c.Text(p.Admitted.Problem)
	p.Admitted.MonolithBuild, p.Admitted.ServiceBuild = c.Text(p.Admitted.MonolithBuild), c.Text(p.Admitted.ServiceBuild)
	for n := range p.Admitted.Shadow {
		cleanShadow(&p.Admitted.Shadow[n], c)
	}
	for n := range p.Checks {
		e := &p.Checks[n].Evidence
		e.Summary, e.Details = c.Text(e.Summary), cleanJSON(e.Details, c)
		e.Subject.MonolithBuild, e.Subject.ServiceBuild = c.Text(e.Subject.MonolithBuild), c.Text(e.Subject.ServiceBuild)
	}
	if p.Verified != nil {
		// What was filed is clean; what an older version filed need not be.
		if raw, err := ContractDetails(p.Verified.Report, c); err == nil {
			_ = json.Unmarshal(raw, p.Verified) // it was marshalled just now
		}
	}
	if p.Contract != nil {
		for n := range p.Contract.Interactions {
			cleanInteraction(&p.Contract.Interactions[n], c)
		}
	}
}

func cleanEntries(all []ledger.Entry, c Cleaner) []ledger.Entry {
	out := make([]ledger.Entry, len(all))
	for n, e := range all {
		out[n] = cleanEntry(e, c)
	}
	return out
}

func cleanEntry(e ledger.Entry, c Cleaner) ledger.Entry {
	e.Text, e.Detail = c.Text(e.Text), cleanJSON(e.Detail, c)
	return e
}

// cleanJSON cleans a document: what stands under a secret's name, texts in
// texts, and the values of differences by the place they name.
func cleanJSON(raw json.RawMessage, c Cleaner) json.RawMessage {
	if len(raw) == 0 {
		return raw
	}
	v, err := match.Decode(raw)
	if err != nil {
		return json.RawMessage(c.Text(string(raw)))
	}
	clean, err := json.Marshal(cleanValue("", v, c))
	if err != nil {
		return nil // what cannot be cleaned is not shown
	}
	return json.RawMessage(c.Text(string(clean)))
}

func cleanValue(name string, v any, c Cleaner) any {
	switch v := v.(type) {
	case string:
		return quoted(v, name, c)
	case []any:
		for n := range v {
			v[n] = cleanValue(name, v[n], c)
		}
	case map[string]any:
		place, _ := v["path"].(string)
		for key, value := range v {
			under := key
			if key == "expected" || key == "actual" {
				under = placeName(place)
			}
			v[key] = cleanValue(under, value, c)
		}
	}
	return v
}

func cleanShadow(s *api.Shadow, c Cleaner) {
	for n := range s.Differences {
		d := &s.Differences[n]
		name := placeName(d.Path)
		d.Example, d.Path = c.Text(d.Example), c.Text(d.Path)
		d.Expected, d.Actual = quoted(d.Expected, name, c), quoted(d.Actual, name, c)
	}
}

func cleanInteraction(i *contract.Interaction, c Cleaner) {
	i.Description = c.Text(i.Description)
	i.Request.Path = c.Text(i.Request.Path)
	i.Request.Query = cleanFields(i.Request.Query, c)
	i.Request.Header = cleanFields(i.Request.Header, c)
	i.Request.Body = cleanBody(i.Request.Body, c)
	i.Response.Header = cleanFields(i.Response.Header, c)
	i.Response.Body = cleanBody(i.Response.Body, c)
	for n, s := range i.States {
		if raw, err := json.Marshal(s.Params); err == nil {
			var params map[string]any
			if json.Unmarshal([]byte(c.Text(string(raw))), &params) == nil {
				i.States[n].Params = params
			}
		}
	}
}

func cleanFields(fields map[string][]string, c Cleaner) map[string][]string {
	out := map[string][]string{}
	for name, values := range fields {
		for _, value := range values {
			out[name] = append(out[name], c.Value(name, value))
		}
	}
	return out
}

func cleanBody(body []byte, c Cleaner) []byte {
	if len(body) == 0 {
		return body
	}
	return []byte(c.Text(string(body)))
}
