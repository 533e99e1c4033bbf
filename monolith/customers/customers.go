// Package customers is who buys in the shop, and their logins.
package customers

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"golang.org/x/crypto/bcrypt"
	"gorm.io/gorm"

	"stranglerfig/monolith/clock"
	"stranglerfig/monolith/storage"
	"stranglerfig/monolith/web"
)

const (
	// sessionLife is how long a login lasts.
	sessionLife = 30 * time.Minute
	// PasswordCost is bcrypt's cost: the lowest, for this is an example.
	PasswordCost = bcrypt.MinCost
)

// Customer is one row of customers. Created is Berlin text.
type Customer struct {
	ID      int64
	Email   string
	Name    string
	PW      string `gorm:"column:pw"` // bcrypt; empty means: cannot log in
	Created string
}

// TableName is the table's name.
func (Customer) TableName() string { return "customers" }

// session is one row of sessions. Expires is RFC 3339 in UTC.
type session struct {
	Token      string `gorm:"primaryKey"`
	CustomerID int64
	Expires    string
}

// TableName is the table's name.
func (session) TableName() string { return "sessions" }

// Service keeps customers and their sessions.
type Service struct {
	db *gorm.DB
}

// New works on the shop's database.
func New(db *gorm.DB) *Service { return &Service{db: db} }

// Customer is whose session this is; it implements web.Sessions.
func (s *Service) Customer(ctx context.Context, token string) (int64, bool, error) {
	var found []session
	err := s.db.WithContext(ctx).Where("token = ? AND expires > ?", token, stamp(time.Now())).Find(&found).Error
	if err != nil || len(found) == 0 {
		return 0, false, err
	}
	return found[0].CustomerID, true, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Login starts a session; it answers 401 unless the password is right.
func (s *Service) Login(ctx context.Context, email, password string) (string, int64, error) {
	var found []Customer
	if err := s.db.WithContext(ctx).Where("email = ?", email).Find(&found).Error; err != nil {
		return "", 0, err
	}
	if len(found) == 0 || bcrypt.CompareHashAndPassword([]byte(found[0].PW), []byte(password)) != nil {
		return "", 0, web.Unauthorized()
	}
	now := time.Now()
	fresh := session{Token: rand.Text(), CustomerID: found[0].ID, Expires: stamp(now.Add(sessionLife))}
	err := s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Where("expires <= ?", stamp(now)).Delete(&session{}).Error; err != nil {
			return err
		}
		return tx.Create(&fresh).Error
	})
	return fresh.Token, fresh.CustomerID, err
}

// Logout ends a session.
func (s *Service) Logout(ctx context.Context, token string) error {
	return s.db.WithContext(ctx).Where("token = ?", token).Delete(&session{}).Error
}

// Find is the customers with these ids, by id; unknown ids are left out.
func (s *Service) Find(ctx context.Context, ids []int64) ([]Customer, error) {
	var found []Customer
	err := s.db.WithContext(ctx).Where("id IN ?", ids).Order("id").Find(&found).Error
	return found, err
}

// Register adds a customer; a taken email is a conflict.
func (s *Service) Register(ctx context.Context, email, name, password string) (Customer, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), PasswordCost)
	if err != nil {
		return Customer{}, err
	}
	customer := Customer{Email: email, Name: name, PW: string(hash), Created: clock.Now()}
	err = s.db.WithContext(ctx).Create(&customer).Error
	if storage.Duplicate(err) {
		return Customer{}, web.Conflict("email %s is already registered", email)
	}
	return customer, err
}

// one is the customer with this id; nil when there is none.
func (s *Service) one(ctx context.Context, id int64) (*Customer, error) {
	var found Customer
	err := s.db.WithContext(ctx).Where("id = ?", id).Take(&found).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil
	}
	return &found, err
}
