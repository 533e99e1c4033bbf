package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"stranglerfig/migrations/mapping"
	"stranglerfig/strangler-proxy/config"
)

// What the bench reads from the repository.
const (
	shopConfig     = "contract-tests/shop/strangler.yaml"
	monolithSchema = "monolith/schema/sqlite"
	serviceSchema  = "extracted/billing/schema/sqlite"
	capability     = "billing"
)

// repository finds the repository's root from the working directory upwards.
func repository() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, shopConfig)); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s has no %s above it: start the bench inside the repository", start, shopConfig)
		}
	}
}

// billing is the shop's own mapping.
func billing(root string) (*mapping.Plan, error) {
	c, err := config.Load(filepath.Join(root, shopConfig))
	if err != nil {
		return nil, err
	}
	p, ok := c.Capability(capability)
	if !ok || p.Data == nil || len(p.Data.Tables) == 0 {
		return nil, fmt.Errorf("%s declares no data for %s: declare it, or bench another file", shopConfig, capability)
	}
	return p.Data, nil
}

// settings are those of the toolkit's own writing connection, so that both
// competitors have the same journal, durability and cache.
const settings = "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=foreign_keys(0)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"

func openShop(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", fileName(path)+"?"+settings)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // ATTACH belongs to a connection
	return db, nil
}

func fileName(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// withShop opens a database, runs a function on it and closes it.
func withShop(path string, f func(db *sql.DB) error) error {
	db, err := openShop(path)
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.Close())
}

// createShop makes a database with the tables of a folder of schema files.
func createShop(ctx context.Context, path, schema string) error {
	files, err := filepath.Glob(filepath.Join(schema, "*.up.sql"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("no schema files in %s: start the bench inside the repository", schema))
	}
	sort.Strings(files)
	return withShop(path, func(db *sql.DB) error {
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if _, err := db.ExecContext(ctx, string(text)); err != nil {
				return fmt.Errorf("apply %s: %w", name, err)
			}
		}
		return nil
	})
}

// fillSQL makes up invoices the way the shop's seed does: a tenth as many
// customers in no order, 420 days of sales in order, mostly issued, some notes.
// The one hour of those days that Berlin's clocks skip is stepped over.
const fillSQL = `
WITH RECURSIVE
  sale(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM sale WHERE n < ?1),
  made AS (
    SELECT n, 36288000 * n / ?1 AS at, (n * 2654435761 >> 8) % 100 AS dice,
      (n * 40503 + 7 * n * n) % (?1 / 10 + 5) + 1 AS customer,
      round((50 + (n * 7919) % 149951) / 100.0, 2) AS amount
    FROM sale),
  settled AS (
    SELECT *, CASE WHEN dice < 5 THEN 0 WHEN dice < 10 THEN 3 WHEN dice < 30 THEN 2 ELSE 1 END AS st
    FROM made),
  dated AS (
    SELECT *, datetime('2025-01-02 09:00:00', at || ' seconds') AS created,
      datetime('2025-01-02 09:00:00', at || ' seconds', CASE WHEN st IN (2, 3) THEN '+3 days' ELSE '+0 days' END) AS updated
    FROM settled)
INSERT INTO inv (id, no, customer_id, order_id, amount, st, note, created, updated)
SELECT n, printf('INV-%06d', n), customer, n, amount, st,
  CASE n % 10 WHEN 6 THEN 'gift wrap' WHEN 7 THEN 'Bitte nachmittags liefern – Grüße!' WHEN 8 THEN 'says "thanks"' WHEN 9 THEN 'a < b && b > c' ELSE '' END,
  CASE WHEN created LIKE '2025-03-30 02:%' THEN datetime(created, '+1 hour') ELSE created END,
  CASE WHEN updated LIKE '2025-03-30 02:%' THEN datetime(updated, '+1 hour') ELSE updated END
FROM dated`

// fillShop makes a monolith's database with so many invoices, and no payments
// or idempotency keys: what is measured is the invoices.
func fillShop(ctx context.Context, path, root string, rows int) error {
	if err := createShop(ctx, path, filepath.Join(root, monolithSchema)); err != nil {
		return err
	}
	return withShop(path, func(db *sql.DB) error {
		if _, err := db.ExecContext(ctx, fillSQL, rows); err != nil {
			return fmt.Errorf("fill inv: %w", err)
		}
		_, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		return err
	})
}

// plainCopy is the peer: one ATTACH and one INSERT … SELECT, which only renames
// the columns. It returns the time of both.
func plainCopy(ctx context.Context, t *mapping.Table, monolith, service string) (took, cpu time.Duration, err error) {
	err = withShop(service, func(db *sql.DB) (err error) {
		if err := db.PingContext(ctx); err != nil {
			return err
		}
		took, cpu, err = timed(func() error {
			if _, err := db.ExecContext(ctx, "ATTACH DATABASE ? AS monolith", fileName(monolith)+"?mode=ro"); err != nil {
				return err
			}
			_, err := db.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM monolith.%s",
				quote(t.To), quoted(t.TargetColumns()), quoted(t.SourceColumns()), quote(t.From)))
			return err
		})
		return err
	})
	return took, cpu, err
}

func quoted(names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = quote(name)
	}
	return strings.Join(all, ", ")
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// countRows counts a table's rows.
func countRows(ctx context.Context, path, table string) (n int64, err error) {
	err = withShop(path, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT count(*) FROM "+quote(table)).Scan(&n)
	})
	return n, err
}
