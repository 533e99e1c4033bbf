package invoices

import (
	"context"

	"gorm.io/gorm"

	"stranglerfig/extracted/billing/clock"
	"stranglerfig/extracted/billing/money"
	"stranglerfig/extracted/billing/storage"
	"stranglerfig/extracted/billing/web"
)

// Wanted is an invoice that is to exist exactly like this, for contract tests.
type Wanted struct {
	ID         int64
	CustomerID int64
	Amount     money.Cents
	State      State
	Created    string      // Berlin text
	Paid       money.Cents // one payment if greater than 0
}

// Establish makes the wanted invoice exist, whatever was there before.
func (s *Service) Establish(ctx context.Context, w Wanted) error {
	created, err := clock.Stored(w.Created)
	if err != nil {
		return web.Invalid("created", "must be a time like 2026-03-01 10:00:00")
	}
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := remove(tx, w.ID); err != nil {
			return err
		}
		row := invoice{ID: w.ID, Number: number(w.ID), CustomerID: w.CustomerID, AmountCents: w.Amount,
			Status: w.State.String(), IssuedAt: created, UpdatedAt: created}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		if w.Paid > 0 {
			paid := payment{ID: w.ID, InvoiceID: w.ID, AmountCents: w.Paid, Reference: "state", PaidAt: created}
			if err := tx.Create(&paid).Error; err != nil {
				return err
			}
		}
		return storage.SkipIDs(tx, "invoices", "payments")
	})
}

// Remove makes sure that there is no invoice with this id.
func (s *Service) Remove(ctx context.Context, id int64) error {
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return remove(tx, id) })
}

func remove(tx *gorm.DB, id int64) error {
	if err := tx.Where("invoice_id = ? OR id = ?", id, id).Delete(&payment{}).Error; err != nil {
		return err
	}
	return tx.Where("id = ?", id).Delete(&invoice{}).Error
}

// Forget makes sure that an idempotency key is unused.
func (s *Service) Forget(ctx context.Context, k string) error {
	return s.db.WithContext(ctx).Where("key = ?", k).Delete(&key{}).Error
}
