// Package seed fills an empty shop with made-up data, the same every time for
// the same size and number (apart from the salts of the passwords).
package seed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/crypto/bcrypt"
	"gorm.io/gorm"

	"stranglerfig/monolith/billing"
	"stranglerfig/monolith/clock"
	"stranglerfig/monolith/customers"
	"stranglerfig/monolith/money"
	"stranglerfig/monolith/orders"
	"stranglerfig/monolith/storage"
	"stranglerfig/monolith/web"
)

const (
	// logins is how many customers get a password; hashing them for all would
	// take longer than everything else.
	logins = 1000
	// pictures is how many products get one at most.
	pictures = 1000
	// span is the time over which the shop's history is spread.
	span = 420 * 24 * time.Hour
)

// opening is when the shop's history begins.
var opening = time.Date(2025, 1, 2, 8, 0, 0, 0, time.UTC)

// Fill migrates the database and adds size invoices with as many orders,
// size/10+5 customers and size/20+10 products: size 0 is a shop before its first
// sale. The database must be empty.
// It returns a line that sums up what it did.
func Fill(ctx context.Context, dsn string, size int, number uint64) (summary string, err error) {
	if size < 0 {
		return "", fmt.Errorf("size %d: must not be negative", size)
	}
	db, err := storage.Open(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, storage.Close(db)) }()
	if err := mustBeEmpty(db); err != nil {
		return "", err
	}
	if err := tune(db); err != nil {
		return "", err
	}
	s := &sower{
		w: newWriter(db.WithContext(ctx)), rand: rand.New(rand.NewPCG(number, 0x5eed)),
		customers: size/10 + 5, products: size/20 + 10, invoices: size,
	}
	for _, sow := range []func() error{s.categories, s.people, s.goods, s.sales, s.w.close} {
		if err := sow(); err != nil {
			return "", err
		}
	}
	err = storage.SkipIDs(db.WithContext(ctx), "cat", "products", "customers", "orders", "order_items", "inv", "inv_pay")
	return fmt.Sprintf("seeded %d invoices, %d payments, %d orders, %d customers, %d products",
		s.invoices, s.payments, s.invoices, s.customers, s.products), err
}

// tune lets SQLite keep more in memory and write its log back less often.
// These settings belong to a connection, so there must be only one.
func tune(db *gorm.DB) error {
	if db.Name() != "sqlite" {
		return nil
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(1)
	return db.Exec("PRAGMA cache_size = -200000; PRAGMA wal_autocheckpoint = 20000").Error
}

func mustBeEmpty(db *gorm.DB) error {
	for _, table := range []string{"inv", "orders", "customers", "products", "cat"} {
		var ids []int64
		if err := db.Table(table).Limit(1).Pluck("id", &ids).Error; err != nil {
			return err
		}
		if len(ids) > 0 {
			return fmt.Errorf("table %s already has rows; seed an empty database", table)
		}
	}
	return nil
}

// sower makes up the data.
type sower struct {
	w                             *writer
	rand                          *rand.Rand
	customers, products, invoices int
	payments, items               int
	names                         []string
	prices                        []money.Cents
}

var (
	categories = []string{"Books", "Music", "Garden", "Kitchen", "Toys & Games", "Tools"}
	firstNames = []string{"Ada", "Grace", "Jürgen", "Zoë", "Björn", "Edsger", "Łucja", "Barbara", "Kwame", "Ines"}
	lastNames  = []string{"Lovelace", "O'Malley", "Müller", "Dijkstra", "van der Berg", "Liskov", "Nkrumah", "Öztürk", "Smith, Jr.", "<Tag> & Co"}
	adjectives = []string{"Red", "Blue", "Sturdy", "Tiny", "Königlicher", "Folding", "Silent"}
	nouns      = []string{"Kettle", "Lamp", "Atlas", "Rake", "Puzzle", "Hammer", "Record", "Chair"}
	notes      = []string{"", "", "", "", "", "", "gift wrap", "Bitte nachmittags liefern – Grüße!", `says "thanks"`, "a < b && b > c"}
)

func (s *sower) categories() error {
	t := s.w.table("cat", "id", "name")
	for i, name := range categories {
		t.add(i+1, name)
	}
	return nil
}

func (s *sower) people() error {
	t := s.w.table("customers", "id", "email", "name", "pw", "created")
	for id := 1; id <= s.customers; id++ {
		name := firstNames[(id-1)%len(firstNames)] + " " + lastNames[(id-1)/len(firstNames)%len(lastNames)]
		s.names = append(s.names, name)
		hash, err := password(id)
		if err != nil {
			return err
		}
		t.add(id, fmt.Sprintf("customer%d@example.com", id), name, hash, clock.Text(opening))
		if err := s.w.breathe(); err != nil {
			return err
		}
	}
	return nil
}

// password hashes secret1, secret2, …; later customers cannot log in.
func password(id int) (string, error) {
	if id > logins {
		return "", nil
	}
	hash, err := bcrypt.GenerateFromPassword(fmt.Appendf(nil, "secret%d", id), customers.PasswordCost)
	return string(hash), err
}

func (s *sower) goods() error {
	products := s.w.table("products", "id", "cat_id", "sku", "name", "price", "stock", "descr", "updated")
	images := s.w.table("product_img", "product_id", "mime", "data", "updated")
	updated := clock.Text(opening)
	for id := 1; id <= s.products; id++ {
		price := money.Cents(50 + s.rand.IntN(15_000))
		s.prices = append(s.prices, price)
		name := adjectives[id%len(adjectives)] + " " + nouns[id%len(nouns)]
		products.add(id, id%len(categories)+1, fmt.Sprintf("SKU-%04d", id), name, price,
			100+s.rand.IntN(10_000), "The "+name+", as good as it looks.", updated)
		if id%10 == 1 && id/10 < pictures {
			picture, err := dot(id)
			if err != nil {
				return err
			}
			images.add(id, "image/png", picture, updated)
		}
		if err := s.w.breathe(); err != nil {
			return err
		}
	}
	return nil
}

// dot is a picture of a single pixel.
func dot(id int) ([]byte, error) {
	picture := image.NewRGBA(image.Rect(0, 0, 1, 1))
	picture.Set(0, 0, color.RGBA{R: uint8(id), G: uint8(id >> 8), B: 128, A: 255})
	var data bytes.Buffer
	err := png.Encode(&data, picture)
	return data.Bytes(), err
}

// sale is one order and the invoice for it; both have the same id.
type sale struct {
	id       int
	customer int
	total    money.Cents
	at       time.Time
	state    billing.State
	note     string
}

func (s *sower) sales() error {
	sold := s.w.table("orders", "id", "customer_id", "total", "st", "invoice_id", "created")
	items := s.w.table("order_items", "id", "order_id", "product_id", "qty", "price")
	invoices := s.w.table("inv", "id", "no", "customer_id", "order_id", "amount", "st", "note", "created", "updated")
	payments := s.w.table("inv_pay", "id", "inv_id", "amount", "ref", "created")
	keys := s.w.table("inv_idem", "k", "fp", "status", "body", "created")
	for id := 1; id <= s.invoices; id++ {
		sale := sale{id: id, customer: s.rand.IntN(s.customers) + 1, note: notes[s.rand.IntN(len(notes))],
			at: opening.Add(time.Duration(id) * (span / time.Duration(s.invoices+1))).Truncate(time.Second)}
		sale.total = s.addItems(items, id)
		created := clock.Text(sale.at)
		sold.add(id, sale.customer, sale.total, s.rand.IntN(4), id, created)
		paid := s.settle(&sale)
		invoices.add(id, billing.Number(int64(id)), sale.customer, id, sale.total, int(sale.state), sale.note,
			created, clock.Text(sale.updated()))
		for i, amount := range paid {
			s.payments++
			at := sale.paidAt(i - len(paid) + 1)
			payments.add(s.payments, id, amount, fmt.Sprintf("transfer %d/%d", id, i+1), clock.Text(at))
		}
		if id%10 == 0 {
			if err := s.addKey(keys, sale); err != nil {
				return err
			}
		}
		if err := s.w.breathe(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sower) addItems(t *table, order int) money.Cents {
	var total money.Cents
	for range 1 + s.rand.IntN(3) {
		s.items++
		product, qty := s.rand.IntN(s.products), 1+s.rand.IntN(4)
		total += s.prices[product] * money.Cents(qty)
		t.add(s.items, order, product+1, qty, s.prices[product])
	}
	return total
}

// settle decides the invoice's state and what was paid: about a fifth is paid
// in one or two payments, an eighth in part.
func (s *sower) settle(sale *sale) []money.Cents {
	switch dice := s.rand.IntN(100); {
	case dice < 5:
		sale.state = billing.Draft
	case dice < 10:
		sale.state = billing.Void
	case dice < 23:
		sale.state = billing.Paid
		return []money.Cents{sale.total}
	case dice < 30:
		sale.state = billing.Paid
		return []money.Cents{sale.total / 3, sale.total - sale.total/3}
	case dice < 43:
		sale.state = billing.Issued
		return []money.Cents{sale.total / 2}
	default:
		sale.state = billing.Issued
	}
	return nil
}

// paidAt is when a payment came: the last one (0) three days after the sale,
// each before it (-1, …) a day earlier.
func (s sale) paidAt(place int) time.Time { return s.at.AddDate(0, 0, 3+place) }

func (s sale) updated() time.Time {
	if s.state == billing.Paid || s.state == billing.Void {
		return s.paidAt(0)
	}
	return s.at
}

// addKey stores the answer the order got when it was invoiced.
func (s *sower) addKey(t *table, sale sale) error {
	order := int64(sale.id)
	issue := orders.Issue{OrderID: order, CustomerID: int64(sale.customer), Amount: sale.total}
	request, err := issue.Body()
	if err != nil {
		return err
	}
	created := clock.Text(sale.at)
	answer, err := json.Marshal(billing.Invoice{ID: order, No: billing.Number(order), CustomerID: issue.CustomerID,
		Customer: s.names[sale.customer-1], OrderID: &order, Amount: sale.total, St: billing.Issued,
		Note: sale.note, Created: created, Updated: created})
	if err != nil {
		return err
	}
	t.add(issue.Key(), web.Fingerprint(http.MethodPost, "/invoices", request), http.StatusCreated,
		string(answer), created)
	return nil
}
