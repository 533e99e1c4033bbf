package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"stranglerfig/migrations/change"
)

// MoveRecord is where a move stands.
type MoveRecord struct {
	Capability string
	State      string
	Owner      change.Side
	Epoch      uint64
	PlanDigest string
	UpdatedAt  time.Time
	Detail     json.RawMessage // the engine's own
}

// SaveMove stores a move's record and the entry that explains it, together.
func (l *Ledger) SaveMove(ctx context.Context, r MoveRecord, e Entry) error {
	return l.transact(ctx, func(tx *sql.Tx) error {
		if _, err := l.append(ctx, tx, e); err != nil {
			return err
		}
		return keepMove(ctx, tx, r)
	})
}

// KeepMove stores a move's record without a journal entry: for what a machine
// has to remember and no person wants to read.
func (l *Ledger) KeepMove(ctx context.Context, r MoveRecord) error {
	return l.transact(ctx, func(tx *sql.Tx) error { return keepMove(ctx, tx, r) })
}

func keepMove(ctx context.Context, tx *sql.Tx, r MoveRecord) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO move (capability, state, owner, epoch, plan_digest, updated_at, detail) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (capability) DO UPDATE SET state = excluded.state, owner = excluded.owner, epoch = excluded.epoch,
		plan_digest = excluded.plan_digest, updated_at = excluded.updated_at, detail = excluded.detail`,
		r.Capability, r.State, string(r.Owner), r.Epoch, r.PlanDigest, r.UpdatedAt.UTC().Format(time.RFC3339Nano), string(r.Detail))
	return err
}

// Move returns a capability's record; false where there is none.
func (l *Ledger) Move(ctx context.Context, capability string) (MoveRecord, bool, error) {
	all, err := l.moves(ctx, "WHERE capability = ?", capability)
	if err != nil || len(all) == 0 {
		return MoveRecord{}, false, err
	}
	return all[0], true, nil
}

// Moves returns the record of every move, by capability.
func (l *Ledger) Moves(ctx context.Context) ([]MoveRecord, error) { return l.moves(ctx, "") }

func (l *Ledger) moves(ctx context.Context, where string, args ...any) (all []MoveRecord, err error) {
	rows, err := l.db.QueryContext(ctx, "SELECT capability, state, owner, epoch, plan_digest, updated_at, detail FROM move "+where+" ORDER BY capability", args...)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r MoveRecord
		var at, detail string
		if err := rows.Scan(&r.Capability, &r.State, &r.Owner, &r.Epoch, &r.PlanDigest, &at, &detail); err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		if detail != "" {
			r.Detail = json.RawMessage(detail)
		}
		if r.UpdatedAt, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return all, nil
}
