// Package products is what the shop sells: how products are kept, and how the
// API shows them.
package products

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"stranglerfig/extracted/catalog/clock"
	"stranglerfig/extracted/catalog/money"
	"stranglerfig/extracted/catalog/web"
)

// row is one row of products with its category's name. UpdatedAt is RFC 3339
// in UTC.
type row struct {
	ID          int64
	SKU         string `gorm:"column:sku"`
	Name        string
	Category    string
	PriceCents  money.Cents
	Stock       int
	Description string
	UpdatedAt   string
}

// Product is a product as the API shows it. Updated is Berlin text.
type Product struct {
	ID      int64       `json:"id"`
	SKU     string      `json:"sku"`
	Name    string      `json:"name"`
	Cat     string      `json:"cat"`
	Price   money.Cents `json:"price"`
	Stock   int         `json:"stock"`
	Descr   string      `json:"descr"`
	Updated string      `json:"updated"`
}

func (r row) shown() (Product, error) {
	updated, err := clock.Shown(r.UpdatedAt)
	if err != nil {
		return Product{}, fmt.Errorf("product %d: %w", r.ID, err)
	}
	return Product{ID: r.ID, SKU: r.SKU, Name: r.Name, Cat: r.Category, Price: r.PriceCents,
		Stock: r.Stock, Descr: r.Description, Updated: updated}, nil
}

func shown(rows []row) ([]Product, error) {
	list := make([]Product, len(rows))
	for i, r := range rows {
		var err error
		if list[i], err = r.shown(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Image is one row of product_images.
type Image struct {
	ProductID int64 `gorm:"primaryKey;autoIncrement:false"`
	Mime      string
	Data      []byte
	UpdatedAt string `gorm:"autoUpdateTime:false"`
}

// TableName is the table's name.
func (Image) TableName() string { return "product_images" }

// Filter limits a list of products.
type Filter struct {
	Category *int
	Text     string // contained in the name, whatever its case
}

// Change is what may be changed about a product.
type Change struct {
	Name  string
	Price money.Cents
	Stock int
	Descr string
}

// Service keeps the products.
type Service struct {
	db *gorm.DB
}

// New works on the service's database.
func New(db *gorm.DB) *Service { return &Service{db: db} }

func (s *Service) filtered(ctx context.Context, f Filter) *gorm.DB {
	q := s.db.WithContext(ctx).Table("products")
	if f.Category != nil {
		q = q.Where("products.category_id = ?", *f.Category)
	}
	if f.Text != "" {
		q = q.Where(`LOWER(products.name) LIKE LOWER(?) ESCAPE '\'`, "%"+escapeLike(f.Text)+"%")
	}
	return q
}

func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

func (s *Service) rows(ctx context.Context, f Filter) *gorm.DB {
	return s.filtered(ctx, f).Select("products.*, categories.name AS category").
		Joins("JOIN categories ON categories.id = products.category_id").Order("products.id")
}

// List is a page of products by id, and how many there are in all.
func (s *Service) List(ctx context.Context, f Filter, page web.Page) ([]Product, int64, error) {
	var rows []row
	var total int64
	if err := s.filtered(ctx, f).Count(&total).Error; err != nil {
		return nil, 0, err
	}
	if err := s.rows(ctx, f).Limit(page.Size).Offset(page.Offset()).Find(&rows).Error; err != nil {
		return nil, 0, err
	}
	list, err := shown(rows)
	return list, total, err
}

// All is every product by id.
func (s *Service) All(ctx context.Context) ([]Product, error) {
	var rows []row
	if err := s.rows(ctx, Filter{}).Find(&rows).Error; err != nil {
		return nil, err
	}
	return shown(rows)
}

// Find is the product with this id; nil when there is none.
func (s *Service) Find(ctx context.Context, id int64) (*Product, error) {
	var rows []row
	err := s.rows(ctx, Filter{}).Where("products.id = ?", id).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	product, err := rows[0].shown()
	return &product, err
}

// Update changes a product; it answers nil when there is none.
func (s *Service) Update(ctx context.Context, id int64, change Change) (*Product, error) {
	err := s.db.WithContext(ctx).Table("products").Where("id = ?", id).Updates(map[string]any{
		"name": change.Name, "price_cents": change.Price, "stock": change.Stock,
		"description": change.Descr, "updated_at": clock.Now(),
	}).Error
	if err != nil {
		return nil, err
	}
	return s.Find(ctx, id)
}

// Image is a product's picture; nil when it has none.
func (s *Service) Image(ctx context.Context, id int64) (*Image, error) {
	var image Image
	err := s.db.WithContext(ctx).Where("product_id = ?", id).Take(&image).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil
	}
	return &image, err
}

// SetImage gives a product a picture in place of the one it had.
func (s *Service) SetImage(ctx context.Context, id int64, mime string, data []byte) error {
	image := Image{ProductID: id, Mime: mime, Data: data, UpdatedAt: clock.Now()}
	return s.db.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&image).Error
}
