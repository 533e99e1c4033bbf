// Package billing is the shop's invoices and the payments on them.
package billing

import "stranglerfig/monolith/money"

// State is where an invoice stands.
type State int

// The states as the database numbers them.
const (
	Draft State = iota
	Issued
	Paid
	Void
)

// lastState is the highest number in use.
const lastState = Void

// String is the state's name for people.
func (s State) String() string {
	switch s {
	case Draft:
		return "draft"
	case Issued:
		return "issued"
	case Paid:
		return "paid"
	case Void:
		return "void"
	}
	return "unknown"
}

// Invoice is one row of inv with its customer's name. Times are Berlin text.
type Invoice struct {
	ID         int64       `json:"id"`
	No         string      `json:"no"`
	CustomerID int64       `json:"customer_id"`
	Customer   string      `json:"customer" gorm:"->"`
	OrderID    *int64      `json:"order_id"`
	Amount     money.Cents `json:"amount"`
	St         State       `json:"st"`
	Note       string      `json:"note"`
	Created    string      `json:"created"`
	Updated    string      `json:"updated"`
}

// TableName is the table's name.
func (Invoice) TableName() string { return "inv" }

// Payment is one row of inv_pay.
type Payment struct {
	ID        int64       `json:"id"`
	InvoiceID int64       `json:"invoice_id" gorm:"column:inv_id"`
	Amount    money.Cents `json:"amount"`
	Ref       string      `json:"ref"`
	Created   string      `json:"created"`
}

// TableName is the table's name.
func (Payment) TableName() string { return "inv_pay" }

// Detail is an invoice with everything paid on it.
type Detail struct {
	Invoice
	Paid     money.Cents `json:"paid"`
	Payments []Payment   `json:"payments"`
}

// key is one row of inv_idem: the answer a keyed request got.
type key struct {
	K       string `gorm:"primaryKey"`
	FP      string `gorm:"column:fp"`
	Status  int
	Body    string
	Created string
}

// TableName is the table's name.
func (key) TableName() string { return "inv_idem" }

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
