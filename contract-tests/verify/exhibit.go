package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
)

// Exhibit is a message as a report shows it. It is as it came: redact it before
// it is stored.
type Exhibit struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header,omitempty"`
	Body   string              `json:"body,omitempty"` // a text, or what is known of bytes
	Free   bool                `json:"free,omitempty"` // the contract says nothing about the body
	Cut    int                 `json:"cut,omitempty"`  // bytes that were left off the body's end
}

// exhibited bounds the body of an exhibit, in bytes.
const exhibited = 64 << 10

// exhibit keeps what the report needs to show why an interaction is no
// evidence: the example, and what each target answered.
func (i *Interaction) exhibit(expected contract.Response) {
	if i.Verdict == Evidence || i.Verdict == NotExercised {
		return
	}
	i.Example = show(compare.Message{Status: expected.Status, Header: expected.Header, Body: expected.Body})
	i.Example.Free = expected.Body == nil
	for n, r := range i.Results {
		if r.Status != 0 {
			i.Results[n].Answer = show(r.answer)
		}
	}
}

func show(m compare.Message) *Exhibit {
	e := &Exhibit{Status: m.Status, Header: maps.Clone(m.Header)}
	body, err := compare.Plain(m)
	switch {
	case err != nil:
		e.Body = err.Error()
	case !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0:
		e.Body = fmt.Sprintf("%d bytes, sha256 %.16x", len(body), sha256.Sum256(body))
	case len(body) > exhibited:
		e.Body = strings.ToValidUTF8(string(body[:exhibited]), "")
		e.Cut = len(body) - len(e.Body)
	default:
		e.Body = string(body)
	}
	return e
}

// Brief is the report without what the targets answered.
func (r Report) Brief() Report {
	interactions := make([]Interaction, len(r.Interactions))
	for n, i := range r.Interactions {
		i.Example = nil
		results := make([]Result, len(i.Results))
		for k, result := range i.Results {
			result.Answer = nil
			results[k] = result
		}
		i.Results = results
		interactions[n] = i
	}
	r.Interactions = interactions
	return r
}
