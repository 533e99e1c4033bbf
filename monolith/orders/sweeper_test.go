package orders

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"stranglerfig/monolith/storage"
)

// flaky is a billing that refuses some orders and notes whom it was asked for.
type flaky struct {
	refuses map[int64]bool
	asked   []int64
}

func (f *flaky) Issue(_ context.Context, issue Issue) (int64, error) {
	f.asked = append(f.asked, issue.OrderID)
	if f.refuses[issue.OrderID] {
		return 0, errors.New("refused")
	}
	return issue.OrderID + 1000, nil
}

func (*flaky) Close() {}

func TestSweeperInvoicesWhatIsMissingAndIsNotHeldUpByOneOrder(t *testing.T) {
	database := "sqlite:" + filepath.Join(t.TempDir(), "shop.db")
	db, err := storage.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { storage.Close(db) })
	for _, statement := range []string{
		"INSERT INTO customers (id, email, name, pw, created) VALUES (1, 'a@example.com', 'Ada', '', '')",
		`INSERT INTO orders (id, customer_id, total, st, invoice_id, created) VALUES
			(3, 1, 5, 0, NULL, ''), (4, 1, 5, 0, 9, ''), (5, 1, 5, 0, NULL, ''), (6, 1, 5, 3, NULL, ''), (7, 1, 5, 0, NULL, '')`,
	} {
		if err := db.Exec(statement).Error; err != nil {
			t.Fatal(err)
		}
	}
	billing := &flaky{refuses: map[int64]bool{3: true}}
	s := New(db, billing, slog.New(slog.NewJSONHandler(io.Discard, nil)), nil)

	after := s.sweepOnce(t.Context(), 0)
	after = s.sweepOnce(t.Context(), after)
	billing.refuses = nil
	s.sweepOnce(t.Context(), after)

	if want := []int64{3, 5, 7, 3}; !slices.Equal(billing.asked, want) {
		t.Errorf("asked for %v, want %v", billing.asked, want)
	}
	var ids []int64
	if err := db.Raw("SELECT invoice_id FROM orders WHERE id IN (3, 5, 7) ORDER BY id").Scan(&ids).Error; err != nil {
		t.Fatal(err)
	}
	if want := []int64{1003, 1005, 1007}; !slices.Equal(ids, want) {
		t.Errorf("invoices %v, want %v", ids, want)
	}
}
