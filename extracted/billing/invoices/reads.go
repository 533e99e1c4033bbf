package invoices

import (
	"context"

	"gorm.io/gorm"

	"stranglerfig/extracted/billing/money"
	"stranglerfig/extracted/billing/web"
)

// csvRows is how many invoices the export holds, the newest ones.
const csvRows = 1000

// Filter limits a list of invoices; nil means no limit.
type Filter struct {
	CustomerID *int64
	State      *int
}

func (s *Service) filtered(ctx context.Context, f Filter) *gorm.DB {
	q := s.db.WithContext(ctx).Model(&invoice{})
	if f.CustomerID != nil {
		q = q.Where("customer_id = ?", *f.CustomerID)
	}
	if f.State != nil {
		q = q.Where("status = ?", State(*f.State).String())
	}
	return q
}

// List is a page of invoices, newest first, and how many there are in all.
func (s *Service) List(ctx context.Context, f Filter, page web.Page) ([]Invoice, int64, error) {
	var rows []invoice
	var total int64
	if err := s.filtered(ctx, f).Count(&total).Error; err != nil {
		return nil, 0, err
	}
	err := s.filtered(ctx, f).Order("id DESC").Limit(page.Size).Offset(page.Offset()).Find(&rows).Error
	if err != nil {
		return nil, 0, err
	}
	list, err := s.named(ctx, rows)
	return list, total, err
}

// Newest is the invoices of the export.
func (s *Service) Newest(ctx context.Context, f Filter) ([]Invoice, error) {
	var rows []invoice
	if err := s.filtered(ctx, f).Order("id DESC").Limit(csvRows).Find(&rows).Error; err != nil {
		return nil, err
	}
	return s.named(ctx, rows)
}

// named shows rows with their customers' names.
func (s *Service) named(ctx context.Context, rows []invoice) ([]Invoice, error) {
	ids := make([]int64, len(rows))
	for i, row := range rows {
		ids[i] = row.CustomerID
	}
	names, err := s.customers.Names(ctx, ids)
	if err != nil {
		return nil, err
	}
	list := make([]Invoice, len(rows))
	for i, row := range rows {
		if list[i], err = row.shown(names[row.CustomerID]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// find is the invoice with this id if the viewer may see it; nil otherwise.
func (s *Service) find(ctx context.Context, viewer web.Viewer, id int64) (*invoice, error) {
	var found []invoice
	err := s.filtered(ctx, Filter{CustomerID: viewer.Only()}).Where("id = ?", id).Find(&found).Error
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Detail is an invoice with its payments; nil when the viewer sees no such
// invoice.
func (s *Service) Detail(ctx context.Context, viewer web.Viewer, id int64) (*Detail, error) {
	row, err := s.find(ctx, viewer, id)
	if err != nil || row == nil {
		return nil, err
	}
	shown, err := s.named(ctx, []invoice{*row})
	if err != nil {
		return nil, err
	}
	var payments []payment
	if err := s.db.WithContext(ctx).Where("invoice_id = ?", id).Order("id").Find(&payments).Error; err != nil {
		return nil, err
	}
	detail := &Detail{Invoice: shown[0], Paid: sum(payments), Payments: make([]Payment, len(payments))}
	for i, p := range payments {
		if detail.Payments[i], err = p.shown(); err != nil {
			return nil, err
		}
	}
	return detail, nil
}

func sum(payments []payment) money.Cents {
	var total money.Cents
	for _, p := range payments {
		total += p.AmountCents
	}
	return total
}
