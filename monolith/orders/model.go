// Package orders takes orders and has them invoiced.
package orders

import "stranglerfig/monolith/money"

// State is where an order stands.
type State int

// The states as the database numbers them.
const (
	Placed State = iota
	Packed
	Shipped
	Cancelled
)

// String is the state's name for people.
func (s State) String() string {
	switch s {
	case Placed:
		return "placed"
	case Packed:
		return "packed"
	case Shipped:
		return "shipped"
	case Cancelled:
		return "cancelled"
	}
	return "unknown"
}

// final reports that nothing follows.
func (s State) final() bool { return s >= Shipped }

// Order is one row of orders with its items. Created is Berlin text.
type Order struct {
	ID         int64       `json:"id"`
	CustomerID int64       `json:"customer_id"`
	Total      money.Cents `json:"total"`
	St         State       `json:"st"`
	InvoiceID  *int64      `json:"invoice_id"` // nil until billing answered
	Items      []Item      `json:"items" gorm:"-"`
	Created    string      `json:"created"`
}

// TableName is the table's name.
func (Order) TableName() string { return "orders" }

// Item is one row of order_items; Price is that of one piece.
type Item struct {
	ID        int64       `json:"-"`
	OrderID   int64       `json:"-"`
	ProductID int64       `json:"product_id"`
	Qty       int         `json:"qty"`
	Price     money.Cents `json:"price"`
}

// TableName is the table's name.
func (Item) TableName() string { return "order_items" }

// key is one row of idem. Its body is the order's id: a replay shows the
// order's present state, because the invoice may have come later.
type key struct {
	K       string `gorm:"primaryKey"`
	FP      string `gorm:"column:fp"`
	Status  int
	Body    string
	Created string
}

// TableName is the table's name.
func (key) TableName() string { return "idem" }

// NewOrder is what a caller wants to buy.
type NewOrder struct {
	CustomerID int64
	Lines      []Line
}

// Line is a number of pieces of one product.
type Line struct {
	ProductID int64
	Qty       int
}
