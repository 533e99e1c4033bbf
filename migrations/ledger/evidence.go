package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Evidence is the dated record of a check, bound to what it was checked on.
type Evidence struct {
	Seq        int64           `json:"seq"`
	Capability string          `json:"capability"`
	Kind       string          `json:"kind"`    // contract, shadow, rehearsal, rollback-rehearsal or chaos
	Verdict    string          `json:"verdict"` // pass, fail or insufficient
	Summary    string          `json:"summary"`
	Details    json.RawMessage `json:"details,omitempty"`
	Subject    Subject         `json:"subject"`
	By         string          `json:"by"`
	At         time.Time       `json:"at"`
	Hash       string          `json:"hash"`
}

// Subject is what a check was made on. Evidence says nothing about another
// contract, config or build.
type Subject struct {
	Contract      string `json:"contract,omitempty"`
	Config        string `json:"config,omitempty"`
	MonolithBuild string `json:"monolith_build,omitempty"`
	ServiceBuild  string `json:"service_build,omitempty"`
	Route         string `json:"route,omitempty"` // where a check is about one route
	// Identifiers are the places that the contract lets differ, where a check
	// goes by them without being about the contract.
	Identifiers string `json:"identifiers,omitempty"`
}

// Changed names the first thing in which what there is now differs from what
// was checked, or "".
func (s Subject) Changed(now Subject) string {
	switch {
	case s.Contract != now.Contract:
		return "the contract"
	case s.Config != now.Config:
		return "the capability's config"
	case s.MonolithBuild != now.MonolithBuild:
		return "the monolith's build"
	case s.ServiceBuild != now.ServiceBuild:
		return "the service's build"
	case s.Identifiers != now.Identifiers:
		return "what the contract calls an identifier"
	}
	return ""
}

// evidenceKind marks journal entries that are evidence.
const evidenceKind = "evidence:"

// AddEvidence journals evidence in the same chain as everything else.
func (l *Ledger) AddEvidence(ctx context.Context, e Evidence) (Evidence, error) {
	e.Seq, e.Hash = 0, ""
	raw, err := json.Marshal(e)
	if err != nil {
		return e, fmt.Errorf("write ledger: %w", err)
	}
	entry, err := l.Append(ctx, Entry{
		At: e.At, Capability: e.Capability, Kind: evidenceKind + e.Kind, Actor: e.By,
		Text: e.Kind + " " + e.Verdict + ": " + e.Summary, Detail: raw,
	})
	if err != nil {
		return e, err
	}
	e.Seq, e.At, e.Hash = entry.Seq, entry.At, entry.Hash
	return e, nil
}

// Evidence returns a capability's evidence of a kind, the latest first. Evidence
// that was changed after it was filed is an error: nothing may rest on it.
func (l *Ledger) Evidence(ctx context.Context, capability, kind string) ([]Evidence, error) {
	entries, err := l.Entries(ctx, Filter{Capability: capability, Kind: evidenceKind + kind})
	if err != nil {
		return nil, err
	}
	all := make([]Evidence, 0, len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Hash != entries[i].sum() {
			return nil, fmt.Errorf("ledger: entry %d was changed after it was written (run: strangler ledger verify)", entries[i].Seq)
		}
		e, _, err := ReadEvidence(entries[i])
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// ReadEvidence reads the evidence that an entry holds; false where it holds
// none.
func ReadEvidence(entry Entry) (Evidence, bool, error) {
	var e Evidence
	if !strings.HasPrefix(entry.Kind, evidenceKind) {
		return e, false, nil
	}
	if err := json.Unmarshal(entry.Detail, &e); err != nil {
		return e, false, fmt.Errorf("read ledger entry %d: %w", entry.Seq, err)
	}
	e.Seq, e.At, e.Hash = entry.Seq, entry.At, entry.Hash
	return e, true, nil
}
