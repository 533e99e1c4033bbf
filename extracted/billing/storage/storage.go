// Package storage opens the service's database, on SQLite or PostgreSQL, with
// its schema up to date.
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
	"github.com/golang-migrate/migrate/v4/database"
	pgxmigrate "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	sqlitemigrate "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	"gorm.io/driver/postgres"
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

// Open migrates the database named sqlite:<path> or postgres://… and opens it.
func Open(ctx context.Context, dsn string) (*gorm.DB, error) {
	if err := Migrate(ctx, dsn); err != nil {
		return nil, err
	}
	dialector, err := dialect(dsn)
	if err != nil {
		return nil, err
	}
	db, err := gorm.Open(dialector, &gorm.Config{SkipDefaultTransaction: true, Logger: logger.Discard})
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

// SkipIDs makes the next ids of tables follow the ids given explicitly.
// SQLite does so by itself.
func SkipIDs(tx *gorm.DB, tables ...string) error {
	if tx.Name() != "postgres" {
		return nil
	}
	for _, table := range tables {
		skip := fmt.Sprintf(`SELECT setval(pg_get_serial_sequence('%[1]s', 'id'),
			GREATEST((SELECT MAX(id) FROM %[1]s), (SELECT last_value FROM %[1]s_id_seq)))`, table)
		if err := tx.Exec(skip).Error; err != nil {
			return err
		}
	}
	return nil
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
	if errors.As(err, &lite) {
		return lite.Code() == primaryKeyTaken || lite.Code() == uniqueTaken
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}

func dialect(dsn string) (gorm.Dialector, error) {
	if isPostgres(dsn) {
		return postgres.Open(dsn), nil
	}
	name, err := sqliteName(dsn)
	return gormsqlite.New(gormsqlite.Config{DriverName: "sqlite", DSN: name}), err
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// sqliteName turns sqlite:<path> into what the driver opens.
func sqliteName(dsn string) (string, error) {
	path, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok || path == "" {
		return "", fmt.Errorf("database %q: write sqlite:<path> or postgres://user:password@host/name", dsn)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("database %q: the directory %s does not exist; create it first", dsn, dir)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + sqliteOptions, nil
}

// Migrate applies the schema files not applied yet.
func Migrate(ctx context.Context, dsn string) error {
	driver, dir, err := migrationDriver(ctx, dsn)
	if err != nil {
		return err
	}
	files, err := iofs.New(schema.Files, dir)
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

func migrationDriver(ctx context.Context, dsn string) (database.Driver, string, error) {
	if isPostgres(dsn) {
		db, err := connect(ctx, "pgx", dsn)
		if err != nil {
			return nil, "", err
		}
		driver, err := pgxmigrate.WithInstance(db, &pgxmigrate.Config{})
		return driver, "postgres", closeUnless(db, err)
	}
	name, err := sqliteName(dsn)
	if err != nil {
		return nil, "", err
	}
	db, err := connect(ctx, "sqlite", name)
	if err != nil {
		return nil, "", err
	}
	driver, err := sqlitemigrate.WithInstance(db, &sqlitemigrate.Config{})
	return driver, "sqlite", closeUnless(db, err)
}

func connect(ctx context.Context, driver, name string) (*sql.DB, error) {
	db, err := sql.Open(driver, name)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, closeUnless(db, fmt.Errorf("reach database: %w", err))
	}
	return db, nil
}

// closeUnless closes db when there is an error, which it passes on.
func closeUnless(db *sql.DB, err error) error {
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}
