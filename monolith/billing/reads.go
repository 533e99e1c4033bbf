package billing

import (
	"context"

	"gorm.io/gorm"

	"stranglerfig/monolith/money"
	"stranglerfig/monolith/web"
)

// csvRows is how many invoices the export holds, the newest ones.
const csvRows = 1000

// Filter limits a list of invoices; nil means no limit.
type Filter struct {
	CustomerID *int64
	State      *int
}

// invoices selects invoices with their customers' names; the join into the
// customers' table is the shop's old habit.
func (s *Service) invoices(ctx context.Context, f Filter) *gorm.DB {
	q := s.counted(ctx, f)
	return q.Select("inv.*, COALESCE(customers.name, '') AS customer").
		Joins("LEFT JOIN customers ON customers.id = inv.customer_id")
}

func (s *Service) counted(ctx context.Context, f Filter) *gorm.DB {
	q := s.db.WithContext(ctx).Table("inv")
	if f.CustomerID != nil {
		q = q.Where("inv.customer_id = ?", *f.CustomerID)
	}
	if f.State != nil {
		q = q.Where("inv.st = ?", *f.State)
	}
	return q
}

// List is a page of invoices, newest first, and how many there are in all.
func (s *Service) List(ctx context.Context, f Filter, page web.Page) ([]Invoice, int64, error) {
	list := []Invoice{}
	var total int64
	if err := s.counted(ctx, f).Count(&total).Error; err != nil {
		return nil, 0, err
	}
	err := s.invoices(ctx, f).Order("inv.id DESC").Limit(page.Size).Offset(page.Offset()).Find(&list).Error
	return list, total, err
}

// Newest is the invoices of the export.
func (s *Service) Newest(ctx context.Context, f Filter) ([]Invoice, error) {
	var list []Invoice
	err := s.invoices(ctx, f).Order("inv.id DESC").Limit(csvRows).Find(&list).Error
	return list, err
}

// find is the invoice with this id if the viewer may see it; nil otherwise.
func (s *Service) find(ctx context.Context, viewer web.Viewer, id int64) (*Invoice, error) {
	var found []Invoice
	err := s.invoices(ctx, Filter{CustomerID: viewer.Only()}).Where("inv.id = ?", id).Find(&found).Error
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Detail is an invoice with its payments; nil when the viewer sees no such
// invoice.
func (s *Service) Detail(ctx context.Context, viewer web.Viewer, id int64) (*Detail, error) {
	invoice, err := s.find(ctx, viewer, id)
	if err != nil || invoice == nil {
		return nil, err
	}
	detail := &Detail{Invoice: *invoice, Payments: []Payment{}}
	err = s.db.WithContext(ctx).Where("inv_id = ?", id).Order("id").Find(&detail.Payments).Error
	detail.Paid = sum(detail.Payments)
	return detail, err
}

func sum(payments []Payment) money.Cents {
	var total money.Cents
	for _, p := range payments {
		total += p.Amount
	}
	return total
}
