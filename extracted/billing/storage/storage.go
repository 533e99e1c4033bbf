// Package storage opens the service's SQLite database with its schema up to
// date.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	sqlitemigrate "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	gormsqlite "gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"modernc.org/sqlite"

	"stranglerfig/extracted/billing/schema"
)

// Options of every connection to SQLite: transactions take the write lock at
// once (so that they wait instead of failing later), readers do not block.
const sqliteOptions = "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)" +
	"&_pragma=foreign_keys(1)&_pragma=synchronous(NORMAL)"

// Connections kept per process.
const maxConnections = 16

// Open migrates the database named sqlite:<path> and opens it.
func Open(ctx context.Context, dsn string) (*gorm.DB, error) {
	if err := Migrate(ctx, dsn); err != nil {
		return nil, err
	}
	name, err := sqliteName(dsn)
	if err != nil {
		return nil, err
	}
	db, err := gorm.Open(gormsqlite.New(gormsqlite.Config{DriverName: "sqlite", DSN: name}), &gorm.Config{SkipDefaultTransaction: true, Logger: logger.Discard})
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	pool.SetMaxOpenConns(maxConnections)
	pool.SetMaxIdleConns(maxConnections)
	return db, nil
}

// Ping asks the database a trivial question.
func Ping(ctx context.Context, db *gorm.DB) error { return db.WithContext(ctx).Exec("SELECT 1").Error }

// Close closes every connection.
func Close(db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}

// Duplicate reports that a unique key was taken.
func Duplicate(err error) bool {
	const primaryKeyTaken, uniqueTaken = 1555, 2067
	var lite *sqlite.Error
	return errors.As(err, &lite) && (lite.Code() == primaryKeyTaken || lite.Code() == uniqueTaken)
}

// sqliteName turns sqlite:<path> into what the driver opens.
func sqliteName(dsn string) (string, error) {
	path, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok || path == "" {
		return "", fmt.Errorf("database %q: write sqlite:<path>", dsn)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("database %q: the directory %s does not exist; create it first", dsn, dir)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + sqliteOptions, nil
}

// Migrate applies the schema files not applied yet.
func Migrate(ctx context.Context, dsn string) error {
	name, err := sqliteName(dsn)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if err := db.PingContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("reach database: %w", err), db.Close())
	}
	driver, err := sqlitemigrate.WithInstance(db, &sqlitemigrate.Config{})
	if err != nil {
		return errors.Join(fmt.Errorf("migrate: %w", err), db.Close())
	}
	files, err := iofs.New(schema.Files, "sqlite")
	if err != nil {
		return fmt.Errorf("read schema files: %w", err)
	}
	m, err := migrate.NewWithInstance("iofs", files, "service", driver)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	err = m.Up()
	if errors.Is(err, migrate.ErrNoChange) {
		err = nil
	}
	_, closing := m.Close()
	if err := errors.Join(err, closing); err != nil {
		return fmt.Errorf("migrate (look at table schema_migrations; a dirty version needs mending by hand): %w", err)
	}
	return nil
}
