// Package catalog is what the shop sells.
package catalog

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"stranglerfig/monolith/clock"
	"stranglerfig/monolith/money"
	"stranglerfig/monolith/web"
)

// Product is one row of products with its category's name. Updated is Berlin
// text.
type Product struct {
	ID      int64       `json:"id"`
	SKU     string      `json:"sku" gorm:"column:sku"`
	Name    string      `json:"name"`
	Cat     string      `json:"cat"`
	Price   money.Cents `json:"price"`
	Stock   int         `json:"stock"`
	Descr   string      `json:"descr"`
	Updated string      `json:"updated"`
}

// Image is one row of product_img.
type Image struct {
	ProductID int64 `gorm:"primaryKey;autoIncrement:false"`
	Mime      string
	Data      []byte
	Updated   string
}

// TableName is the table's name.
func (Image) TableName() string { return "product_img" }

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

// New works on the shop's database.
func New(db *gorm.DB) *Service { return &Service{db: db} }

func (s *Service) filtered(ctx context.Context, f Filter) *gorm.DB {
	q := s.db.WithContext(ctx).Table("products")
	if f.Category != nil {
		q = q.Where("products.cat_id = ?", *f.Category)
	}
	if f.Text != "" {
		q = q.Where(`LOWER(products.name) LIKE LOWER(?) ESCAPE '\'`, "%"+escapeLike(f.Text)+"%")
	}
	return q
}

func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

func (s *Service) products(ctx context.Context, f Filter) *gorm.DB {
	return s.filtered(ctx, f).Select("products.*, cat.name AS cat").
		Joins("JOIN cat ON cat.id = products.cat_id").Order("products.id")
}

// List is a page of products by id, and how many there are in all.
func (s *Service) List(ctx context.Context, f Filter, page web.Page) ([]Product, int64, error) {
	list := []Product{}
	var total int64
	if err := s.filtered(ctx, f).Count(&total).Error; err != nil {
		return nil, 0, err
	}
	err := s.products(ctx, f).Limit(page.Size).Offset(page.Offset()).Find(&list).Error
	return list, total, err
}

// All is every product by id.
func (s *Service) All(ctx context.Context) ([]Product, error) {
	var list []Product
	err := s.products(ctx, Filter{}).Find(&list).Error
	return list, err
}

// Find is the product with this id; nil when there is none.
func (s *Service) Find(ctx context.Context, id int64) (*Product, error) {
	var found []Product
	err := s.products(ctx, Filter{}).Where("products.id = ?", id).Find(&found).Error
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Update changes a product; it answers nil when there is none.
func (s *Service) Update(ctx context.Context, id int64, change Change) (*Product, error) {
	err := s.db.WithContext(ctx).Table("products").Where("id = ?", id).Updates(map[string]any{
		"name": change.Name, "price": change.Price, "stock": change.Stock,
		"descr": change.Descr, "updated": clock.Now(),
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
	image := Image{ProductID: id, Mime: mime, Data: data, Updated: clock.Now()}
	return s.db.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&image).Error
}
