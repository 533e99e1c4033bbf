package engine

import (
	"context"
	"fmt"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/verify"
)

// partial is a whole verification that was interrupted: the rows before a point
// were equal. Rows that were touched since it began are for the verification of
// touched keys, as they are after one that ended.
type partial struct {
	Owner   change.Side     `json:"owner"`
	Epoch   uint64          `json:"epoch"`
	Table   int             `json:"table"`
	After   string          `json:"after"` // encoded key
	Hashed  bool            `json:"hashed"`
	Rows    int64           `json:"rows"`
	OwnerAt change.Position `json:"owner_at"`
}

// partialEvery is how often a point is recorded.
const partialEvery = 2 * time.Second

// interrupted returns the point at which an earlier verification of the same
// owner was interrupted. Anything else begins anew.
func (m *move) interrupted(anew bool) (verify.Point, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.partial
	if p == nil || anew || p.Owner != m.state.Owner || p.Epoch != m.state.Epoch {
		m.partial = nil
		return verify.Point{}, nil
	}
	after, err := mapping.DecodeKey(p.After)
	if err != nil {
		return verify.Point{}, fmt.Errorf("read where the verification was interrupted: %w", err)
	}
	if len(after) == 0 {
		after = nil
	}
	return verify.Point{Table: p.Table, After: after, Hashed: p.Hashed, Rows: p.Rows, OwnerAt: p.OwnerAt}, nil
}

// reached returns what records points now and then.
func (m *move) reached(ctx context.Context) func(verify.Point) {
	var last time.Time
	return func(p verify.Point) {
		m.mu.Lock()
		m.partial = &partial{Owner: m.state.Owner, Epoch: m.state.Epoch, Table: p.Table, After: mapping.EncodeKey(p.After), Hashed: p.Hashed, Rows: p.Rows, OwnerAt: p.OwnerAt}
		m.mu.Unlock()
		if m.e.o.Now().Sub(last) < partialEvery {
			return
		}
		last = m.e.o.Now()
		if err := m.remember(ctx); err != nil {
			m.e.o.Log.Warn("how far the verification has come could not be recorded", "capability", m.spec.Capability, "error", err)
		}
	}
}
