package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sort"
	"strconv"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"stranglerfig/monolith/clock"
	"stranglerfig/monolith/money"
	"stranglerfig/monolith/storage"
	"stranglerfig/monolith/web"
)

// Service keeps the rules of orders.
type Service struct {
	db       *gorm.DB
	billing  Billing
	log      *slog.Logger
	stopping <-chan struct{}
}

// New works on the shop's database and has orders invoiced by billing. Event
// streams end when stopping is closed.
func New(db *gorm.DB, billing Billing, log *slog.Logger, stopping <-chan struct{}) *Service {
	return &Service{db: db, billing: billing, log: log, stopping: stopping}
}

// Place takes an order, commits it and then has it invoiced. When billing
// does not answer the order stands nevertheless; the sweeper asks again.
func (s *Service) Place(ctx context.Context, keyed web.Keyed, n NewOrder) (Order, bool, error) {
	order, replayed, err := s.commit(ctx, keyed, n)
	if keyed.Key != "" && storage.Duplicate(err) {
		// A request with the same key came first by a hair: show its order.
		order, replayed, err = s.commit(ctx, keyed, n)
	}
	if err != nil || replayed {
		return order, replayed, err
	}
	if err := s.invoice(ctx, &order); err != nil {
		s.log.Error("order not invoiced yet", "order", order.ID, "error", err.Error())
	}
	return order, false, nil
}

func (s *Service) commit(ctx context.Context, keyed web.Keyed, n NewOrder) (order Order, replayed bool, err error) {
	err = s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		id, err := used(tx, keyed)
		if err != nil {
			return err
		}
		if id != 0 {
			replayed = true
			order, err = load(tx, id)
			return err
		}
		if order, err = insert(tx, n); err != nil || keyed.Key == "" {
			return err
		}
		return tx.Create(&key{K: keyed.Key, FP: keyed.Fingerprint, Status: http.StatusCreated,
			Body: strconv.FormatInt(order.ID, 10), Created: order.Created}).Error
	})
	return order, replayed, err
}

// used is the order the key was used for, 0 when it is fresh.
func used(tx *gorm.DB, keyed web.Keyed) (int64, error) {
	if keyed.Key == "" {
		return 0, nil
	}
	var found []key
	if err := tx.Where("k = ?", keyed.Key).Find(&found).Error; err != nil || len(found) == 0 {
		return 0, err
	}
	if found[0].FP != keyed.Fingerprint {
		return 0, web.ErrKeyReused()
	}
	return strconv.ParseInt(found[0].Body, 10, 64)
}

func load(tx *gorm.DB, id int64) (Order, error) {
	var order Order
	if err := tx.Where("id = ?", id).Take(&order).Error; err != nil {
		return order, err
	}
	err := tx.Where("order_id = ?", id).Order("id").Find(&order.Items).Error
	return order, err
}

func insert(tx *gorm.DB, n NewOrder) (Order, error) {
	order := Order{CustomerID: n.CustomerID, St: Placed, Created: clock.Now()}
	if err := customerExists(tx, n.CustomerID); err != nil {
		return order, err
	}
	for _, line := range inLockingOrder(n.Lines) {
		item, err := take(tx, line)
		if err != nil {
			return order, err
		}
		order.Items = append(order.Items, item)
		order.Total += item.Price * money.Cents(item.Qty)
		if order.Total > money.Max {
			return order, web.Invalid("items", "the total "+money.ErrTooLarge.Error())
		}
	}
	if err := tx.Create(&order).Error; err != nil {
		return order, err
	}
	for i := range order.Items {
		order.Items[i].OrderID = order.ID
	}
	return order, tx.Create(&order.Items).Error
}

// inLockingOrder sorts lines by product, so that two orders never wait for
// each other's products.
func inLockingOrder(lines []Line) []Line {
	sorted := append([]Line(nil), lines...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].ProductID < sorted[j].ProductID })
	return sorted
}

func customerExists(tx *gorm.DB, id int64) error {
	var n int64
	if err := tx.Table("customers").Where("id = ?", id).Count(&n).Error; err != nil {
		return err
	}
	if n == 0 {
		return web.Invalid("customer_id", "does not exist")
	}
	return nil
}

// take takes pieces off the stock at the present price.
func take(tx *gorm.DB, line Line) (Item, error) {
	var product struct {
		Price money.Cents
		Stock int
	}
	err := tx.Table("products").Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
		Select("price, stock").Where("id = ?", line.ProductID).Take(&product).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return Item{}, web.Invalid("items", fmt.Sprintf("product %d does not exist", line.ProductID))
	}
	if err != nil {
		return Item{}, err
	}
	if product.Stock < line.Qty {
		return Item{}, web.Conflict("product %d has only %d in stock", line.ProductID, product.Stock)
	}
	err = tx.Table("products").Where("id = ?", line.ProductID).Update("stock", product.Stock-line.Qty).Error
	return Item{ProductID: line.ProductID, Qty: line.Qty, Price: product.Price}, err
}

// invoice has a committed order invoiced and notes the invoice's id.
func (s *Service) invoice(ctx context.Context, order *Order) error {
	id, err := s.billing.Issue(ctx, Issue{OrderID: order.ID, CustomerID: order.CustomerID, Amount: order.Total})
	if err != nil {
		return err
	}
	err = s.db.WithContext(ctx).Model(&Order{}).Where("id = ?", order.ID).Update("invoice_id", id).Error
	if err == nil {
		order.InvoiceID = &id
	}
	return err
}

func (s *Service) visible(ctx context.Context, viewer web.Viewer) *gorm.DB {
	q := s.db.WithContext(ctx).Model(&Order{})
	if only := viewer.Only(); only != nil {
		q = q.Where("customer_id = ?", *only)
	}
	return q
}

// Find is an order; nil when the viewer sees no such order.
func (s *Service) Find(ctx context.Context, viewer web.Viewer, id int64) (*Order, error) {
	var found []Order
	if err := s.visible(ctx, viewer).Where("id = ?", id).Find(&found).Error; err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], s.addItems(ctx, found)
}

// List is a page of orders, newest first, and how many there are in all.
func (s *Service) List(ctx context.Context, viewer web.Viewer, page web.Page) ([]Order, int64, error) {
	list := []Order{}
	var total int64
	if err := s.visible(ctx, viewer).Count(&total).Error; err != nil {
		return nil, 0, err
	}
	err := s.visible(ctx, viewer).Order("id DESC").Limit(page.Size).Offset(page.Offset()).Find(&list).Error
	if err != nil {
		return nil, 0, err
	}
	return list, total, s.addItems(ctx, list)
}

func (s *Service) addItems(ctx context.Context, list []Order) error {
	positions := map[int64]int{}
	ids := make([]int64, len(list))
	for i := range list {
		positions[list[i].ID], ids[i], list[i].Items = i, list[i].ID, []Item{}
	}
	var items []Item
	if err := s.db.WithContext(ctx).Where("order_id IN ?", ids).Order("id").Find(&items).Error; err != nil {
		return err
	}
	for _, item := range items {
		order := &list[positions[item.OrderID]]
		order.Items = append(order.Items, item)
	}
	return nil
}

// Move brings an order into a later state; shipped and cancelled are final.
func (s *Service) Move(ctx context.Context, id int64, to State) error {
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var order Order
		err := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
			Where("id = ?", id).Take(&order).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return web.NotFound("order", strconv.FormatInt(id, 10))
		}
		if err != nil || order.St == to {
			return err
		}
		if order.St.final() || to < order.St {
			return web.Conflict("order %d is %s", id, order.St)
		}
		return tx.Model(&Order{}).Where("id = ?", id).Update("st", to).Error
	})
}
