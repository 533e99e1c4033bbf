package seed_test

import (
	"path/filepath"
	"slices"
	"testing"

	"gorm.io/gorm"

	"stranglerfig/monolith/seed"
	"stranglerfig/monolith/storage"
)

func TestTheSameSeedMakesTheSameShop(t *testing.T) {
	first, second, other := filled(t, 1), filled(t, 1), filled(t, 2)
	for _, query := range []string{
		"SELECT id || no || customer_id || amount || st || note || created || updated FROM inv ORDER BY id",
		"SELECT id || inv_id || amount || ref || created FROM inv_pay ORDER BY id",
		"SELECT k || fp || status || body || created FROM inv_idem ORDER BY k",
		"SELECT id || name || price || stock FROM products ORDER BY id",
	} {
		if !slices.Equal(texts(t, first, query), texts(t, second, query)) {
			t.Errorf("differs: %s", query)
		}
	}
	amounts := "SELECT CAST(amount AS TEXT) FROM inv ORDER BY id"
	if slices.Equal(texts(t, first, amounts), texts(t, other, amounts)) {
		t.Error("another number made the same invoices")
	}
}

func TestInvoicesAddUp(t *testing.T) {
	db := filled(t, 3)
	for promise, query := range map[string]string{
		"an order's total is the sum of its items": `SELECT orders.id FROM orders JOIN order_items ON order_id = orders.id
			GROUP BY orders.id HAVING ROUND(SUM(qty * price) * 100) <> ROUND(total * 100)`,
		"an invoice is paid exactly when nothing is open": `SELECT inv.id FROM inv LEFT JOIN inv_pay ON inv_id = inv.id
			GROUP BY inv.id HAVING (inv.st = 2) <> (COALESCE(ROUND(SUM(inv_pay.amount) * 100), 0) = ROUND(inv.amount * 100))`,
	} {
		if broken := texts(t, db, query); len(broken) > 0 {
			t.Errorf("not so: %s: %v", promise, broken)
		}
	}
}

func TestAFilledShopIsNotFilledAgain(t *testing.T) {
	database := "sqlite:" + filepath.Join(t.TempDir(), "shop.db")
	if _, err := seed.Fill(t.Context(), database, 5, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := seed.Fill(t.Context(), database, 5, 1); err == nil {
		t.Error("filled twice")
	}
}

func filled(t *testing.T, number uint64) *gorm.DB {
	t.Helper()
	database := "sqlite:" + filepath.Join(t.TempDir(), "shop.db")
	if _, err := seed.Fill(t.Context(), database, 200, number); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { storage.Close(db) })
	return db
}

func texts(t *testing.T, db *gorm.DB, query string) []string {
	t.Helper()
	var list []string
	if err := db.Raw(query).Scan(&list).Error; err != nil {
		t.Fatal(err)
	}
	return list
}
