package invoices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"stranglerfig/extracted/billing/clock"
	"stranglerfig/extracted/billing/money"
	"stranglerfig/extracted/billing/storage"
	"stranglerfig/extracted/billing/web"
)

// Customers knows the names of customers, which billing does not own. Ids
// nobody has are left out.
type Customers interface {
	Names(ctx context.Context, ids []int64) (map[int64]string, error)
	// Ask does not believe what was known before: money is charged to
	// customers who exist now.
	Ask(ctx context.Context, id int64) (name string, known bool, err error)
}

// Service keeps the rules of invoices. Every change honours an idempotency
// key: the answer is stored in the transaction that makes the change.
// Customers are asked before the transaction, never within.
type Service struct {
	db        *gorm.DB
	customers Customers
}

// New works on the service's database.
func New(db *gorm.DB, customers Customers) *Service {
	return &Service{db: db, customers: customers}
}

// Create issues an invoice.
func (s *Service) Create(ctx context.Context, keyed web.Keyed, n NewInvoice) (web.Answer, error) {
	if stored, err := replay(s.db.WithContext(ctx), keyed); err != nil || stored != nil {
		return given(stored), err
	}
	name, known, err := s.customers.Ask(ctx, n.CustomerID)
	if err != nil {
		return web.Answer{}, err
	}
	return s.once(ctx, keyed, func(tx *gorm.DB) (int, any, error) {
		if !known {
			return 0, nil, web.Invalid("customer_id", "does not exist")
		}
		now := clock.Now()
		row := invoice{CustomerID: n.CustomerID, OrderID: n.OrderID, AmountCents: n.Amount,
			Status: issued, Note: n.Note, IssuedAt: now, UpdatedAt: now}
		// The number is made of the id, which only the insert reveals.
		if err := tx.Omit("Number").Create(&row).Error; err != nil {
			return 0, nil, err
		}
		row.Number = number(row.ID)
		if err := change(tx, row.ID, map[string]any{"number": row.Number}); err != nil {
			return 0, nil, err
		}
		shown, err := row.shown(name)
		return http.StatusCreated, shown, err
	})
}

// Pay records a payment; the last open cent makes the invoice paid.
func (s *Service) Pay(ctx context.Context, keyed web.Keyed, n NewPayment) (web.Answer, error) {
	return s.once(ctx, keyed, func(tx *gorm.DB) (int, any, error) {
		row, err := take(tx, n.InvoiceID)
		if err != nil {
			return 0, nil, err
		}
		open, err := openAmount(tx, row)
		if err != nil {
			return 0, nil, err
		}
		if err := payable(row, open, n.Amount); err != nil {
			return 0, nil, err
		}
		p := payment{InvoiceID: n.InvoiceID, AmountCents: n.Amount, Reference: n.Ref, PaidAt: clock.Now()}
		if err := tx.Create(&p).Error; err != nil {
			return 0, nil, err
		}
		if n.Amount == open {
			if err := setStatus(tx, row.ID, paid, p.PaidAt); err != nil {
				return 0, nil, err
			}
		}
		shown, err := p.shown()
		return http.StatusCreated, shown, err
	})
}

func payable(row invoice, open, amount money.Cents) error {
	if row.Status == draft || row.Status == void {
		return web.Conflict("invoice %d is %s", row.ID, row.Status)
	}
	if amount > open {
		return web.Invalid("amount", "exceeds the open amount "+open.String())
	}
	return nil
}

// Void cancels an invoice that is not paid. customerID is the invoice's
// customer.
func (s *Service) Void(ctx context.Context, keyed web.Keyed, id, customerID int64) (web.Answer, error) {
	if stored, err := replay(s.db.WithContext(ctx), keyed); err != nil || stored != nil {
		return given(stored), err
	}
	name, err := s.customerName(ctx, customerID)
	if err != nil {
		return web.Answer{}, err
	}
	return s.once(ctx, keyed, func(tx *gorm.DB) (int, any, error) {
		row, err := take(tx, id)
		if err != nil {
			return 0, nil, err
		}
		if row.Status == paid {
			return 0, nil, web.Conflict("invoice %d is %s", id, row.Status)
		}
		if row.Status != void {
			row.Status, row.UpdatedAt = void, clock.Now()
			if err := setStatus(tx, id, row.Status, row.UpdatedAt); err != nil {
				return 0, nil, err
			}
		}
		shown, err := row.shown(name)
		return http.StatusOK, shown, err
	})
}

// take reads an invoice so that nobody else changes it in the meantime.
// SQLite's transactions exclude other writers anyway.
func take(tx *gorm.DB, id int64) (invoice, error) {
	var row invoice
	err := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, web.NotFound("invoice", fmt.Sprint(id))
	}
	return row, err
}

func setStatus(tx *gorm.DB, id int64, status, at string) error {
	return change(tx, id, map[string]any{"status": status, "updated_at": at})
}

func change(tx *gorm.DB, id int64, columns map[string]any) error {
	return tx.Table("invoices").Where("id = ?", id).Updates(columns).Error
}

func openAmount(tx *gorm.DB, row invoice) (money.Cents, error) {
	var payments []payment
	err := tx.Where("invoice_id = ?", row.ID).Find(&payments).Error
	return row.AmountCents - sum(payments), err
}

func (s *Service) customerName(ctx context.Context, id int64) (string, error) {
	names, err := s.customers.Names(ctx, []int64{id})
	return names[id], err
}

// once makes a change unless its key was used before, in which case the
// stored answer is given again. Only changes that succeed are stored.
func (s *Service) once(ctx context.Context, keyed web.Keyed, make func(tx *gorm.DB) (status int, body any, err error)) (web.Answer, error) {
	var answer web.Answer
	attempt := func(tx *gorm.DB) error {
		stored, err := replay(tx, keyed)
		if err != nil || stored != nil {
			answer = given(stored)
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
	}
	err := s.db.WithContext(ctx).Transaction(attempt)
	if keyed.Key != "" && storage.Duplicate(err) {
		// A request with the same key came first by a hair: replay its answer.
		err = s.db.WithContext(ctx).Transaction(attempt)
	}
	return answer, err
}

// given is a stored answer, or none.
func given(stored *web.Answer) web.Answer {
	if stored == nil {
		return web.Answer{}
	}
	return *stored
}

// replay is the answer stored under the key, nil when there is none.
func replay(tx *gorm.DB, keyed web.Keyed) (*web.Answer, error) {
	if keyed.Key == "" {
		return nil, nil
	}
	var found []key
	if err := tx.Where("key = ?", keyed.Key).Find(&found).Error; err != nil || len(found) == 0 {
		return nil, err
	}
	if found[0].Fingerprint != keyed.Fingerprint {
		return nil, web.ErrKeyReused()
	}
	return &web.Answer{Status: found[0].Status, Body: []byte(found[0].Body), Replayed: true}, nil
}

func remember(tx *gorm.DB, keyed web.Keyed, answer web.Answer) error {
	if keyed.Key == "" {
		return nil
	}
	return tx.Create(&key{Key: keyed.Key, Fingerprint: keyed.Fingerprint, Status: answer.Status,
		Body: string(answer.Body), CreatedAt: clock.Now()}).Error
}
