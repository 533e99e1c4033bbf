// Package invoices is the invoices and the payments on them: how they are
// kept, what may be done with them, and how the API shows them.
package invoices

import (
	"fmt"
	"slices"

	"stranglerfig/extracted/billing/clock"
	"stranglerfig/extracted/billing/money"
)

// The states of an invoice.
const (
	draft  = "draft"
	issued = "issued"
	paid   = "paid"
	void   = "void"
)

// statuses lists the states in the order in which the API numbers them.
var statuses = []string{draft, issued, paid, void}

// invoice is one row of invoices. Times are RFC 3339 in UTC.
type invoice struct {
	ID          int64
	Number      string
	CustomerID  int64
	OrderID     *int64
	AmountCents money.Cents
	Status      string
	Note        string
	IssuedAt    string
	UpdatedAt   string `gorm:"autoUpdateTime:false"`
}

// payment is one row of payments. Times are RFC 3339 in UTC.
type payment struct {
	ID          int64
	InvoiceID   int64
	AmountCents money.Cents
	Reference   string
	PaidAt      string
}

// key is one row of idempotency_keys: the answer a keyed request got.
type key struct {
	Key         string `gorm:"primaryKey"`
	Fingerprint string
	Status      int
	Body        string
	CreatedAt   string `gorm:"autoCreateTime:false"`
}

// TableName is the table's name.
func (invoice) TableName() string { return "invoices" }

// TableName is the table's name.
func (payment) TableName() string { return "payments" }

// TableName is the table's name.
func (key) TableName() string { return "idempotency_keys" }

// number is printed on the invoice with this id.
func number(id int64) string { return fmt.Sprintf("INV-%06d", id) }

// Invoice is an invoice as the API shows it. Times are Berlin text.
type Invoice struct {
	ID         int64       `json:"id"`
	No         string      `json:"no"`
	CustomerID int64       `json:"customer_id"`
	Customer   string      `json:"customer"`
	OrderID    *int64      `json:"order_id"`
	Amount     money.Cents `json:"amount"`
	St         State       `json:"st"`
	Note       string      `json:"note"`
	Created    string      `json:"created"`
	Updated    string      `json:"updated"`
}

// State is an invoice's state as the API numbers it.
type State int

// LastState is the highest number of a State.
const LastState = 3

// String is the state's name.
func (s State) String() string {
	if s < 0 || int(s) >= len(statuses) {
		return "unknown"
	}
	return statuses[s]
}

// Payment is a payment as the API shows it.
type Payment struct {
	ID        int64       `json:"id"`
	InvoiceID int64       `json:"invoice_id"`
	Amount    money.Cents `json:"amount"`
	Ref       string      `json:"ref"`
	Created   string      `json:"created"`
}

// Detail is an invoice with everything paid on it.
type Detail struct {
	Invoice
	Paid     money.Cents `json:"paid"`
	Payments []Payment   `json:"payments"`
}

// Open is what is still to be paid.
func (d Detail) Open() money.Cents { return d.Amount - d.Paid }

// shown is the row as the API shows it, with its customer's name.
func (i invoice) shown(customer string) (Invoice, error) {
	created, err := clock.Shown(i.IssuedAt)
	if err != nil {
		return Invoice{}, fmt.Errorf("invoice %d: %w", i.ID, err)
	}
	updated, err := clock.Shown(i.UpdatedAt)
	if err != nil {
		return Invoice{}, fmt.Errorf("invoice %d: %w", i.ID, err)
	}
	state := slices.Index(statuses, i.Status)
	if state < 0 {
		return Invoice{}, fmt.Errorf("invoice %d has the unknown status %q", i.ID, i.Status)
	}
	return Invoice{ID: i.ID, No: i.Number, CustomerID: i.CustomerID, Customer: customer, OrderID: i.OrderID,
		Amount: i.AmountCents, St: State(state), Note: i.Note, Created: created, Updated: updated}, nil
}

// shown is the row as the API shows it.
func (p payment) shown() (Payment, error) {
	created, err := clock.Shown(p.PaidAt)
	if err != nil {
		return Payment{}, fmt.Errorf("payment %d: %w", p.ID, err)
	}
	return Payment{ID: p.ID, InvoiceID: p.InvoiceID, Amount: p.AmountCents, Ref: p.Reference, Created: created}, nil
}

// NewInvoice is what a caller says about an invoice to be.
type NewInvoice struct {
	CustomerID int64
	OrderID    *int64
	Amount     money.Cents
	Note       string
}

// NewPayment is what a caller says about a payment on an invoice.
type NewPayment struct {
	InvoiceID int64
	Amount    money.Cents
	Ref       string
}
