// Package evidence gathers what justified a cutover and writes it as one file:
// the ledger's entries with their hashes, what every gate said, on which
// contract, config and builds, the contract itself, what was verified, shadowed
// and rehearsed, and the waivers.
//
// Start at [Collect]; [Pack.Write] writes the file.
package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
)

// Source is where a pack is gathered from.
type Source struct {
	Ledger     *ledger.Ledger
	Capability string
	// Kept returns where the contract of a digest was kept, see
	// control.KeptContract.
	Kept  func(digest string) string
	Clean Cleaner
	Now   time.Time
}

// Pack is everything that justified one cutover.
type Pack struct {
	Capability string
	Made       time.Time
	Chain      int64  // entries of the whole ledger, all of which hold
	Head       string // hash of the last one

	Admission ledger.Entry // what admitted the cutover
	Admitted  api.Admitted
	Outcome   []ledger.Entry // what became of it, up to the next admission

	Checks    []Check        // the evidence on file then, the latest first
	Waivers   []ledger.Entry // made use of until then
	Entries   []ledger.Entry // of the capability, up to the outcome
	Verified  *Details       // the report of the contract that counted
	Rehearsed *Rehearsal
	Contract  *contract.Contract
	Missing   []string // what could not be gathered, and why
}

// Check is one piece of evidence, with whether it counted.
type Check struct {
	ledger.Evidence
	Void string // what had changed by the cutover, "" where it counted or was superseded
	Last bool   // the last of its kind and route, of contracts the one that counted
}

// ErrNoCutover is returned where no cutover of the capability was admitted.
var ErrNoCutover = errors.New("no cutover was admitted yet")

// Collect gathers the pack of a capability's latest cutover. It refuses a
// ledger whose chain is broken: what was tampered with proves nothing.
func Collect(ctx context.Context, s Source) (*Pack, error) {
	last, err := s.Ledger.VerifySince(ctx, "")
	if err != nil {
		return nil, err
	}
	entries, err := s.Ledger.Entries(ctx, ledger.Filter{Capability: s.Capability})
	if err != nil {
		return nil, err
	}
	at := -1
	for n, e := range entries {
		if e.Kind == control.AdmissionKind {
			at = n
		}
	}
	if at < 0 {
		return nil, fmt.Errorf("%s: %w", s.Capability, ErrNoCutover)
	}
	p := &Pack{Capability: s.Capability, Made: s.Now, Chain: last.Seq, Head: last.Hash, Admission: entries[at]}
	if err := json.Unmarshal(entries[at].Detail, &p.Admitted); err != nil {
		return nil, fmt.Errorf("read ledger entry %d: %w", entries[at].Seq, err)
	}
	p.Entries, p.Outcome = history(entries, at)
	for _, e := range entries[:at] {
		if e.Kind == "waiver" {
			p.Waivers = append(p.Waivers, e)
		}
	}
	if err := p.checks(entries[:at]); err != nil {
		return nil, err
	}
	p.details()
	p.readContract(s.Kept)
	p.clean(s.Clean)
	return p, nil
}

// history is everything up to the end of the switch that was admitted, and the
// part of it that is the switch. A later rollback is no part of what justified
// it.
func history(entries []ledger.Entry, at int) (all, outcome []ledger.Entry) {
	for n := at + 1; n < len(entries); n++ {
		if entries[n].Kind == "rollback-intent" {
			return entries[:n], outcome
		}
		outcome = append(outcome, entries[n])
		if entries[n].Kind == "cutover" {
			return entries[:n+1], outcome
		}
	}
	return entries, outcome
}

// Rehearsal is how a rehearsal went, and where a pair is declared, what both sides
// of it wrote before.
type Rehearsal struct {
	engine.SwitchResult
	Effects *api.Effects `json:"effects,omitempty"`
}

// checks reads the evidence among entries, the latest first.
func (p *Pack) checks(entries []ledger.Entry) error {
	subject := ledger.Subject{
		Contract: p.Admitted.Contract, Config: p.Admitted.Config, MonolithBuild: p.Admitted.MonolithBuild, ServiceBuild: p.Admitted.ServiceBuild,
	}
	seen := map[string]bool{}
	for n := len(entries) - 1; n >= 0; n-- {
		e, ok, err := ledger.ReadEvidence(entries[n])
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		now := subject
		now.Identifiers = e.Subject.Identifiers // no check of a cutover's goes by them
		if e.Kind != "contract" {
			now.Contract = "" // which only the contract's own evidence is about
		}
		about := e.Kind + " " + e.Subject.Route
		p.Checks = append(p.Checks, Check{Evidence: e, Void: e.Subject.Changed(now), Last: !seen[about] && e.Kind != "contract"})
		seen[about] = true
	}
	p.contractThatCounted(subject)
	return nil
}

// contractThatCounted marks the verification that the contract's gate went by,
// which later ones that could not judge did not displace; where none counted,
// the latest.
func (p *Pack) contractThatCounted(subject ledger.Subject) {
	var verified []ledger.Evidence
	var at []int
	for n, c := range p.Checks {
		if c.Kind == "contract" {
			verified, at = append(verified, c.Evidence), append(at, n)
		}
	}
	if len(at) == 0 {
		return
	}
	counted := max(0, control.Counting(verified, subject, true, func(time.Time) bool { return true }))
	p.Checks[at[counted]].Last = true
}

// details reads the reports of the checks that counted.
func (p *Pack) details() {
	for _, c := range p.Checks {
		if !c.Last || len(c.Details) == 0 {
			continue
		}
		switch c.Kind {
		case "contract":
			var d Details
			if json.Unmarshal(c.Details, &d) == nil && len(d.Report.Interactions) > 0 {
				p.Verified = &d
			}
		case "rehearsal":
			var r Rehearsal
			if json.Unmarshal(c.Details, &r) == nil {
				p.Rehearsed = &r
			}
		}
	}
	if p.Verified == nil {
		p.Missing = append(p.Missing, "no report of a contract's verification is on file")
	}
	if p.Rehearsed == nil {
		p.Missing = append(p.Missing, "no rehearsal is on file")
	}
}

// readContract reads the contract that the cutover was admitted by.
func (p *Pack) readContract(kept func(digest string) string) {
	if p.Admitted.Contract == "" {
		p.Missing = append(p.Missing, "no contract was declared")
		return
	}
	path := kept(p.Admitted.Contract)
	digest, err := control.ContractDigest(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Missing = append(p.Missing, "the contract's copy is gone from the state's folder")
		return
	case err != nil:
		p.Missing = append(p.Missing, err.Error())
		return
	case digest != p.Admitted.Contract:
		p.Missing = append(p.Missing, "the contract's copy was changed after the cutover, so it is not shown")
		return
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		p.Missing = append(p.Missing, err.Error())
		return
	}
	c, err := contract.Read(strings.NewReader(string(raw)))
	if err != nil {
		p.Missing = append(p.Missing, "the contract cannot be read: "+err.Error())
		return
	}
	p.Contract = &c
}
