package engine

import (
	"context"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
)

// Status is where a move stands, for people and machines.
type Status struct {
	Capability string            `json:"capability"`
	State      string            `json:"state"`
	Owner      change.Side       `json:"owner"`
	Epoch      uint64            `json:"epoch"`
	Switching  bool              `json:"switching"`
	Tables     []change.Progress `json:"tables,omitempty"`
	Forward    StreamStatus      `json:"forward"`
	Reverse    StreamStatus      `json:"reverse"`
	Verified   time.Time         `json:"verified,omitzero"` // the last clean verification
	Last       *SwitchResult     `json:"last_switch,omitempty"`
	Problem    string            `json:"problem,omitempty"`
	Paused     string            `json:"paused,omitempty"` // why it is
	LogBudget  int64             `json:"log_budget"`       // of each database, in bytes
}

// Live reports whether both streams run.
func (s Status) Live() bool { return s.Forward.Live && s.Reverse.Live }

// Lag is how many log entries of the owner the follower has not applied.
func (s Status) Lag() int64 {
	if s.Owner == change.Service {
		return s.Reverse.Behind
	}
	return s.Forward.Behind
}

// Rest reports whether the move is ready for a switch as far as the machine
// goes; gates come on top.
func (s Status) Rest() bool {
	return s.State == string(cutover.Ready) || s.State == "moved"
}

// Synced returns a moment before which everything written to a side has been
// applied to the other one; zero where nothing follows, or where changes were
// missed that no verification has found yet. It asks no database, so that a proxy
// may call it for each read. The caller names the side because it hears of a flip
// before the engine has settled it.
func (e *Engine) Synced(capability string, from change.Side) time.Time {
	m, err := e.move(capability)
	if err != nil {
		return time.Time{}
	}
	m.mu.Lock()
	s, missed := m.streams[from], m.missed
	m.mu.Unlock()
	if s == nil || missed {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}

// Status returns where a capability's move stands. It asks the databases only
// for the ends of their logs.
func (e *Engine) Status(ctx context.Context, capability string) (Status, error) {
	m, err := e.move(capability)
	if err != nil {
		return Status{}, err
	}
	m.mu.Lock()
	s := Status{
		Capability: capability, State: m.state.Settled(), Owner: m.state.Owner, Epoch: m.state.Epoch,
		Switching: m.state.Phase.Switching(), Verified: m.verified.Time, Last: m.last, Problem: m.problem,
		LogBudget: m.spec.LogBudget,
	}
	if m.state.Phase == cutover.Paused {
		s.Paused = m.state.Why
	}
	s.Forward.Retained, s.Reverse.Retained = m.retained[change.Monolith], m.retained[change.Service]
	for _, t := range m.spec.Plan.Tables {
		if p, ok := m.tables[t.From]; ok {
			s.Tables = append(s.Tables, p)
		}
	}
	forward, reverse := m.streams[change.Monolith], m.streams[change.Service]
	m.mu.Unlock()
	if forward != nil {
		s.Forward = forward.status(ctx, s.Forward.Retained)
		s.Reverse = reverse.status(ctx, s.Reverse.Retained)
	}
	return s, nil
}
