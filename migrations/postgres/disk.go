package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var _ change.Estimator = (*DB)(nil)

// What a row and an entry of an index take beside their values, in bytes, as the
// chapter on the page layout in PostgreSQL's documentation has it.
const (
	rowHeader, entryHeader, itemPointer = 24, 8, 4
	alignment                           = 8
	indexFill                           = 0.9 // of a page, when it is built
	guessedWidth                        = 16  // of a value of which nothing is known
)

// Footprint estimates how much room the leader's rows take here: from the
// statistics of its columns where there are some, and from the size of its
// tables otherwise.
func (db *DB) Footprint(ctx context.Context, leader change.Database, plan *mapping.Plan) (f change.Footprint, ok bool, err error) {
	from, ok := leader.(*DB)
	if !ok {
		return f, false, nil
	}
	for i, t := range plan.Tables {
		rows, indexes, err := db.tableFootprint(ctx, from, t, i)
		if err != nil {
			return f, false, fmt.Errorf("estimate the room that %s takes: %w", t.To, err)
		}
		f.Rows += rows
		for _, size := range indexes {
			f.Indexes += size
			f.Building = max(f.Building, size)
		}
	}
	if err := db.pool.QueryRow(ctx, "SELECT pg_size_bytes(current_setting('max_wal_size'))").Scan(&f.Log); err != nil {
		return f, false, err
	}
	f.Log = min(f.Log, f.Rows+f.Indexes)
	f.Free, err = db.room(ctx)
	return f, true, err
}

// tableFootprint estimates the bytes of a table's rows, and of each of its
// indexes.
func (db *DB) tableFootprint(ctx context.Context, from *DB, t *mapping.Table, i int) (bytes int64, indexes []int64, err error) {
	rows, err := from.Count(ctx, i)
	if err != nil {
		return 0, nil, err
	}
	widths, err := from.widths(ctx, i)
	if err != nil {
		return 0, nil, err
	}
	// The columns here are as wide as those that they are made of there.
	width, whole := map[string]float64{}, 0.0
	known := true
	for _, c := range t.Columns() {
		w, ok := widths[c.From]
		if c.From == "" {
			w, ok = float64(len(c.Transform().Value.String())), true
		}
		known = known && ok
		width[c.To] = w
		whole += w
	}
	main, aside, err := from.sizes(ctx, i)
	if err != nil {
		return 0, nil, err
	}
	if known {
		main = int64(float64(rows) * (align(rowHeader+whole) + itemPointer))
	}
	keys, err := db.pool.Query(ctx, `SELECT ARRAY(SELECT coalesce(attname::text, '') FROM unnest(indkey) WITH ORDINALITY AS k(num, n)
		LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = k.num ORDER BY k.n) FROM pg_index WHERE indrelid = to_regclass($1)`, relation(t.To))
	if err != nil {
		return 0, nil, err
	}
	var columns []string
	for keys.Next() {
		if err := keys.Scan(&columns); err != nil {
			return 0, nil, err
		}
		entry := 0.0
		for _, c := range columns {
			if w, ok := width[c]; ok && w > 0 {
				entry += w
			} else {
				entry += guessedWidth
			}
		}
		indexes = append(indexes, int64(float64(rows)*(align(entryHeader+entry)+itemPointer)/indexFill))
	}
	return main + aside, indexes, keys.Err()
}

func align(width float64) float64 {
	return float64((int64(width) + alignment - 1) / alignment * alignment)
}

// widths returns how wide the values of a table's mapped columns are, on
// average, as far as the statistics say.
func (db *DB) widths(ctx context.Context, table int) (map[string]float64, error) {
	rows, err := db.pool.Query(ctx, `SELECT attname::text, max(avg_width * (1 - null_frac))::float8 FROM pg_stats
		JOIN pg_class c ON c.relname = tablename JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = schemaname
		WHERE c.oid IN (`+family+`) AND attname = ANY ($2) GROUP BY 1`, relation(db.tables[table].Name), db.tables[table].Columns)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for rows.Next() {
		var name string
		var width float64
		if err := rows.Scan(&name, &width); err != nil {
			return nil, err
		}
		all[name] = width
	}
	return all, rows.Err()
}

// sizes returns the bytes of a table with its partitions, and of what its mapped
// columns may have stored out of line.
func (db *DB) sizes(ctx context.Context, table int) (main, aside int64, err error) {
	err = db.pool.QueryRow(ctx, `SELECT coalesce(sum(pg_relation_size(oid)), 0)::bigint, coalesce(sum(pg_relation_size(reltoastrelid)) FILTER (WHERE reltoastrelid <> 0 AND EXISTS (
			SELECT 1 FROM pg_attribute WHERE attrelid = c.oid AND attname = ANY ($2) AND attstorage <> 'p')), 0)::bigint
		FROM pg_class c WHERE relkind = 'r' AND oid IN (`+family+`)`, relation(db.tables[table].Name), db.tables[table].Columns).Scan(&main, &aside)
	return main, aside, err
}

// room returns the free bytes where the mapped tables are stored, or -1 where
// nobody can tell: a server does not say. If it runs on this machine, which is
// so where its process for our connection can be seen here, the file system does,
// provided that all of the tables are in one place.
func (db *DB) room(ctx context.Context) (int64, error) {
	var pid int
	var client, folder string
	var places int
	err := db.pool.QueryRow(ctx, `SELECT pg_backend_pid(), coalesce('(' || inet_client_port() || ')', '[local]'), count(DISTINCT place), coalesce(min(place), '')
		FROM (SELECT coalesce(nullif(pg_tablespace_location(coalesce(nullif(reltablespace, 0), dattablespace)), ''),
				(SELECT setting FROM pg_settings WHERE name = 'data_directory'), '') AS place
			FROM pg_class c, pg_database, unnest($1::text[]) AS t(name)
			WHERE datname = current_database() AND relkind = 'r' AND c.oid IN (SELECT to_regclass(name) UNION SELECT relid FROM pg_partition_tree(to_regclass(name)))) AS p`,
		db.relations()).Scan(&pid, &client, &places, &folder)
	if err != nil || places != 1 || folder == "" {
		return -1, err
	}
	title, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "cmdline"))
	if err != nil || !strings.HasPrefix(string(title), "postgres") || !strings.Contains(string(title), client) {
		return -1, nil
	}
	return freeBytes(folder), nil
}
