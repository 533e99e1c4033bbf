package billing

import (
	"context"

	"gorm.io/gorm"

	"stranglerfig/monolith/money"
	"stranglerfig/monolith/storage"
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
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := remove(tx, w.ID); err != nil {
			return err
		}
		invoice := Invoice{ID: w.ID, No: Number(w.ID), CustomerID: w.CustomerID, Amount: w.Amount,
			St: w.State, Created: w.Created, Updated: w.Created}
		if err := tx.Create(&invoice).Error; err != nil {
			return err
		}
		if w.Paid > 0 {
			payment := Payment{ID: w.ID, InvoiceID: w.ID, Amount: w.Paid, Ref: "state", Created: w.Created}
			if err := tx.Create(&payment).Error; err != nil {
				return err
			}
		}
		return storage.SkipIDs(tx, "inv", "inv_pay")
	})
}

// Remove makes sure that there is no invoice with this id.
func (s *Service) Remove(ctx context.Context, id int64) error {
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return remove(tx, id) })
}

func remove(tx *gorm.DB, id int64) error {
	if err := tx.Where("inv_id = ? OR id = ?", id, id).Delete(&Payment{}).Error; err != nil {
		return err
	}
	return tx.Where("id = ?", id).Delete(&Invoice{}).Error
}

// Forget makes sure that an idempotency key is unused.
func (s *Service) Forget(ctx context.Context, k string) error {
	return s.db.WithContext(ctx).Where("k = ?", k).Delete(&key{}).Error
}
