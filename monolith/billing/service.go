package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"stranglerfig/monolith/clock"
	"stranglerfig/monolith/money"
	"stranglerfig/monolith/storage"
	"stranglerfig/monolith/web"
)

// Service keeps the rules of invoices. Every change honours an idempotency
// key: the answer is stored in the transaction that makes the change.
type Service struct {
	db *gorm.DB
}

// New works on the shop's database.
func New(db *gorm.DB) *Service { return &Service{db: db} }

// Create issues an invoice.
func (s *Service) Create(ctx context.Context, keyed web.Keyed, n NewInvoice) (web.Answer, error) {
	return s.once(ctx, keyed, func(tx *gorm.DB) (int, any, error) {
		name, known, err := customerName(tx, n.CustomerID)
		if err != nil {
			return 0, nil, err
		}
		if !known {
			return 0, nil, web.Invalid("customer_id", "does not exist")
		}
		now := clock.Now()
		invoice := Invoice{CustomerID: n.CustomerID, OrderID: n.OrderID, Amount: n.Amount,
			St: Issued, Note: n.Note, Created: now, Updated: now}
		// The number is made of the id, which only the insert reveals.
		if err := tx.Omit("No").Create(&invoice).Error; err != nil {
			return 0, nil, err
		}
		invoice.No, invoice.Customer = Number(invoice.ID), name
		err = tx.Model(&Invoice{}).Where("id = ?", invoice.ID).Update("no", invoice.No).Error
		return http.StatusCreated, invoice, err
	})
}

// Number is the number printed on the invoice with this id.
func Number(id int64) string { return fmt.Sprintf("INV-%06d", id) }

// Pay records a payment; the last open cent makes the invoice paid.
func (s *Service) Pay(ctx context.Context, keyed web.Keyed, n NewPayment) (web.Answer, error) {
	return s.once(ctx, keyed, func(tx *gorm.DB) (int, any, error) {
		invoice, err := lock(tx, n.InvoiceID)
		if err != nil {
			return 0, nil, err
		}
		open, err := openAmount(tx, invoice)
		if err != nil {
			return 0, nil, err
		}
		if err := payable(invoice, open, n.Amount); err != nil {
			return 0, nil, err
		}
		payment := Payment{InvoiceID: n.InvoiceID, Amount: n.Amount, Ref: n.Ref, Created: clock.Now()}
		if err := tx.Create(&payment).Error; err != nil {
			return 0, nil, err
		}
		if n.Amount == open {
			err = setState(tx, invoice.ID, Paid, payment.Created)
		}
		return http.StatusCreated, payment, err
	})
}

func payable(invoice Invoice, open, amount money.Cents) error {
	if invoice.St == Draft || invoice.St == Void {
		return web.Conflict("invoice %d is %s", invoice.ID, invoice.St)
	}
	if amount > open {
		return web.Invalid("amount", "exceeds the open amount "+open.String())
	}
	return nil
}

// Void cancels an invoice that is not paid.
func (s *Service) Void(ctx context.Context, keyed web.Keyed, id int64) (web.Answer, error) {
	return s.once(ctx, keyed, func(tx *gorm.DB) (int, any, error) {
		invoice, err := lock(tx, id)
		if err != nil {
			return 0, nil, err
		}
		if invoice.St == Paid {
			return 0, nil, web.Conflict("invoice %d is %s", id, invoice.St)
		}
		if invoice.St != Void {
			invoice.St, invoice.Updated = Void, clock.Now()
			if err := setState(tx, id, invoice.St, invoice.Updated); err != nil {
				return 0, nil, err
			}
		}
		invoice.Customer, _, err = customerName(tx, invoice.CustomerID)
		return http.StatusOK, invoice, err
	})
}

// lock reads an invoice so that nobody else changes it in the meantime.
// SQLite's transactions exclude other writers anyway.
func lock(tx *gorm.DB, id int64) (Invoice, error) {
	var invoice Invoice
	err := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
		Omit("Customer").Where("id = ?", id).Take(&invoice).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return invoice, web.NotFound("invoice", fmt.Sprint(id))
	}
	return invoice, err
}

func setState(tx *gorm.DB, id int64, st State, updated string) error {
	return tx.Model(&Invoice{}).Where("id = ?", id).
		Updates(map[string]any{"st": st, "updated": updated}).Error
}

func openAmount(tx *gorm.DB, invoice Invoice) (money.Cents, error) {
	var payments []Payment
	err := tx.Where("inv_id = ?", invoice.ID).Find(&payments).Error
	return invoice.Amount - sum(payments), err
}

func customerName(tx *gorm.DB, id int64) (name string, known bool, err error) {
	var names []string
	if err := tx.Table("customers").Where("id = ?", id).Pluck("name", &names).Error; err != nil || len(names) == 0 {
		return "", false, err
	}
	return names[0], true, nil
}

// change makes a change within tx and says how to answer it.
type change func(tx *gorm.DB) (status int, body any, err error)

// once makes a change unless its key was used before, in which case the
// stored answer is given again. Only changes that succeed are stored.
func (s *Service) once(ctx context.Context, keyed web.Keyed, make change) (web.Answer, error) {
	answer, err := s.attempt(ctx, keyed, make)
	if keyed.Key != "" && storage.Duplicate(err) {
		// A request with the same key came first by a hair: replay its answer.
		return s.attempt(ctx, keyed, make)
	}
	return answer, err
}

func (s *Service) attempt(ctx context.Context, keyed web.Keyed, make change) (web.Answer, error) {
	var answer web.Answer
	err := s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		stored, err := replay(tx, keyed)
		if err != nil || stored != nil {
			if stored != nil {
				answer = *stored
			}
			return err
		}
		status, body, err := make(tx)
		if err != nil {
			return err
		}
		answer.Status = status
		if answer.Body, err = json.Marshal(body); err != nil {
			return err
		}
		return remember(tx, keyed, answer)
	})
	return answer, err
}

// replay is the answer stored under the key, nil when there is none.
func replay(tx *gorm.DB, keyed web.Keyed) (*web.Answer, error) {
	if keyed.Key == "" {
		return nil, nil
	}
	var found []key
	if err := tx.Where("k = ?", keyed.Key).Find(&found).Error; err != nil || len(found) == 0 {
		return nil, err
	}
	if found[0].FP != keyed.Fingerprint {
		return nil, web.ErrKeyReused()
	}
	return &web.Answer{Status: found[0].Status, Body: []byte(found[0].Body), Replayed: true}, nil
}

func remember(tx *gorm.DB, keyed web.Keyed, answer web.Answer) error {
	if keyed.Key == "" {
		return nil
	}
	return tx.Create(&key{K: keyed.Key, FP: keyed.Fingerprint, Status: answer.Status,
		Body: string(answer.Body), Created: clock.Now()}).Error
}
