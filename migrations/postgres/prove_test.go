package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
)

// items is the index of the table in which rows are proven here.
const items = 0

// scanned returns all rows of items.
func (s *side) scanned() []change.Row {
	s.Helper()
	rows, err := s.db.Scan(s.Context(), items, nil, 1000)
	must(s.T, err)
	return rows
}

// TestAProofLeavesOutWhatAWriterHasLocked and waits neither for him nor has him
// wait. Where there is nothing else, it waits until there is.
func TestAProofLeavesOutWhatAWriterHasLocked(t *testing.T) {
	s := fresh(t, canonical, changetest.Tables()...)
	exec(t, s.app, "INSERT INTO items (code, qty) SELECT 'c' || n, n FROM generate_series(1, 5) AS n")
	must(t, s.db.Prepare(t.Context(), change.Leading))
	rows := s.scanned()
	writer, err := s.app.BeginTx(t.Context(), nil)
	must(t, err)
	defer writer.Rollback()
	_, err = writer.Exec("UPDATE items SET qty = 0 WHERE code = 'c4'")
	must(t, err)
	if n, err := s.db.Prove(t.Context(), items, rows); n != 4 || err != nil {
		t.Errorf("of 5 rows, one of which is being written to, %d are proven: %v", n, err)
	}
	alone := slices.DeleteFunc(rows, func(row change.Row) bool { return row[1].String() != "c4" })
	if len(alone) != 1 {
		t.Fatalf("%v", rows)
	}
	brief, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if n, err := s.db.Prove(brief, items, alone); n != 0 || !errors.Is(err, change.ErrFenceTimeout) || !strings.Contains(err.Error(), "held by process") {
		t.Errorf("the only row is being written to, and %d are proven: %v", n, err)
	}
	proven := make(chan error, 1)
	go func() {
		n, err := s.db.Prove(t.Context(), items, alone)
		if n != 1 {
			err = errors.Join(err, errors.New("it is not proven"))
		}
		proven <- err
	}()
	_, err = writer.Exec("UPDATE items SET qty = 0 WHERE code = 'c1'")
	must(t, err)
	select {
	case err := <-proven:
		t.Errorf("a row that is being written to is proven: %v", err)
	default:
	}
	must(t, writer.Commit())
	must(t, <-proven)
	if sum := s.number("SELECT sum(qty) FROM items"); sum != 10 {
		t.Errorf("the sum is %d", sum)
	}
}

// TestProvingTurnsNoWriterAway of those who take the same rows in another order.
func TestProvingTurnsNoWriterAway(t *testing.T) {
	s := fresh(t, canonical, changetest.Tables()...)
	const rows = 50
	exec(t, s.app, "INSERT INTO items (code, qty) SELECT 'c' || n, 0 FROM generate_series(1, 50) AS n")
	must(t, s.db.Prepare(t.Context(), change.Leading))
	done, _ := s.busy(4, func(ctx context.Context, tx pgx.Tx, n int) error {
		for id := rows - n; id > 0; id -= 4 { // rows of his own, from the last one on
			if _, err := tx.Exec(ctx, "UPDATE items SET qty = qty + 1 WHERE code = 'c' || $1::int", id); err != nil {
				return err
			}
		}
		return nil
	})
	all := s.scanned()
	for range 100 {
		if n, err := s.db.Prove(t.Context(), items, all); n == 0 || err != nil {
			t.Fatalf("%d rows are proven: %v", n, err)
		}
	}
	for before := done.Load(); done.Load() < before+8 && !t.Failed(); {
		if n, err := s.db.Prove(t.Context(), items, all); n == 0 || err != nil {
			t.Fatalf("%d rows are proven: %v", n, err)
		}
	}
}
