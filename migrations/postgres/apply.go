package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

// writing is one transaction of an applier.
type writing struct {
	db   *DB
	tx   pgx.Tx
	care care
}

// care is how rows are stored.
type care uint8

// Rows are stored swiftly: many at a time, in whatever order the server likes.
//
// Where that meets a unique value that another row still holds, the transaction
// is run once more, carefully: all rows to be stored are first taken away, with
// what they hold outside the mapping kept aside, and so is any other row that
// holds one of their unique values. Such a row is out of date, since the
// leading side has at most one of them, and its own change is still to come.
//
// Where a row cannot be stored at all, the transaction is run row by row, to
// say which one it is.
const (
	swiftly care = iota
	carefully
	singly
)

// write runs a function in one transaction of an applier, with more care where
// less is not enough.
func (db *DB) write(ctx context.Context, f func(w *writing) error) error {
	try := func(c care) error {
		return db.asApplier(ctx, func(tx pgx.Tx) error { return f(&writing{db, tx, c}) })
	}
	err := try(swiftly)
	if code(err) == uniqueViolation {
		err = try(carefully)
	}
	if unfit(code(err)) {
		db.layouts.forget() // in case the table has been altered
		err = try(singly)
	}
	return err
}

// unfit reports whether an SQLSTATE means that a row cannot be stored: its data
// are at fault, or it violates a constraint, or the table is another.
func unfit(code string) bool {
	return len(code) == 5 && (code[:2] == "22" || code[:2] == "23" || code[:2] == "42")
}

// all applies changes, of which the last of each key counts.
func (w *writing) all(ctx context.Context, changes []change.Change) error {
	deletes, puts, patches := map[int][]change.Key{}, map[int][]change.Row{}, map[int][]change.Change{}
	seen := map[string]bool{}
	for _, c := range slices.Backward(changes) {
		id := rowID(c.Table, c.Key)
		if seen[id] {
			continue
		}
		seen[id] = true
		switch {
		case c.Kind == change.Delete:
			deletes[c.Table] = append(deletes[c.Table], c.Key)
		case len(c.Absent) > 0:
			patches[c.Table] = append(patches[c.Table], c)
		default:
			puts[c.Table] = append(puts[c.Table], c.Row)
		}
	}
	for i := range w.db.tables {
		if err := w.remove(ctx, i, deletes[i]); err != nil {
			return fmt.Errorf("delete from %s: %w", w.db.tables[i].Name, err)
		}
	}
	for i := range w.db.tables {
		if err := w.store(ctx, i, puts[i], patches[i]); err != nil {
			return fmt.Errorf("store in %s: %w", w.db.tables[i].Name, err)
		}
	}
	return nil
}

// store stores rows, and others of which some columns are to be kept. Where care is
// needed, those are whole as well.
func (w *writing) store(ctx context.Context, table int, rows []change.Row, patches []change.Change) error {
	if len(patches) > 0 && w.care == swiftly {
		if err := w.patch(ctx, table, patches); err != nil {
			return err
		}
	} else if len(patches) > 0 {
		filled, err := w.filled(ctx, table, patches)
		if err != nil {
			return err
		}
		rows = append(rows, filled...)
	}
	return w.put(ctx, table, rows)
}

// remove deletes the rows of keys.
func (w *writing) remove(ctx context.Context, table int, keys []change.Key) error {
	if len(keys) == 0 {
		return nil
	}
	l, err := w.db.layout(ctx, w.tx, table)
	if err != nil {
		return err
	}
	query := fmt.Sprintf("DELETE FROM %s AS t USING %s WHERE %s",
		relation(l.table.Name), l.unnestKeys(), joined(keyNames(l.table, "t."), keyNames(l.table, "n.")))
	for some := range slices.Chunk(keys, atOnce) {
		if _, err := w.tx.Exec(ctx, query, l.keyArrays(some)...); err != nil {
			return err
		}
	}
	return nil
}

// atOnce is how many rows a statement stores or deletes: enough that more would
// not be faster, and few enough to be written out in memory.
const atOnce = 10_000

// put inserts rows, or updates the mapped columns of those that exist.
func (w *writing) put(ctx context.Context, table int, rows []change.Row) error {
	if len(rows) == 0 {
		return nil
	}
	l, err := w.db.layout(ctx, w.tx, table)
	if err != nil {
		return err
	}
	switch w.care {
	case carefully:
		return w.putCarefully(ctx, l, rows)
	case singly:
		return w.putSingly(ctx, l, rows)
	}
	for some := range slices.Chunk(rows, atOnce) {
		if _, err := w.tx.Exec(ctx, l.upsert(), l.rowArrays(some)...); err != nil {
			return err
		}
	}
	return nil
}

func (w *writing) putSingly(ctx context.Context, l *layout, rows []change.Row) error {
	for _, row := range rows {
		if _, err := w.tx.Exec(ctx, l.upsert(), l.rowArrays([]change.Row{row})...); err != nil {
			return fmt.Errorf("key %s: %w", change.KeyString(keyOf(l.table, row)), err)
		}
	}
	return nil
}

func (w *writing) putCarefully(ctx context.Context, l *layout, rows []change.Row) error {
	arrays := l.rowArrays(rows)
	same := joined(keyNames(l.table, "t."), keyNames(l.table, "n."))
	away := []string{
		fmt.Sprintf("CREATE TEMP TABLE strangler_kept ON COMMIT DROP AS SELECT t.* FROM %s AS t WHERE false", relation(l.table.Name)),
		fmt.Sprintf("INSERT INTO pg_temp.strangler_kept SELECT t.* FROM %s AS t JOIN %s ON %s", relation(l.table.Name), l.unnest(), same),
		fmt.Sprintf("DELETE FROM %s AS t USING %s WHERE %s", relation(l.table.Name), l.unnest(), same),
	}
	for _, unique := range l.unique {
		away = append(away, fmt.Sprintf("DELETE FROM %s AS t USING %s WHERE %s", relation(l.table.Name), l.unnest(),
			joined(l.names(unique, "t."), l.names(unique, "n."))))
	}
	names := columnNames(l.table, "")
	back := []string{
		fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s JOIN pg_temp.strangler_kept AS t ON %s",
			relation(l.table.Name), strings.Join(append(names, quoteAll(l.rest, "")...), ", "),
			strings.Join(append(columnNames(l.table, "n."), quoteAll(l.rest, "t.")...), ", "), l.unnest(), same),
		fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT n.* FROM %s WHERE NOT EXISTS (SELECT 1 FROM pg_temp.strangler_kept AS t WHERE %s)",
			relation(l.table.Name), strings.Join(names, ", "), l.unnest(), same),
		"DROP TABLE pg_temp.strangler_kept",
	}
	for _, query := range slices.Concat(away, back) {
		if !strings.Contains(query, "unnest(") {
			if _, err := w.tx.Exec(ctx, query); err != nil {
				return err
			}
			continue
		}
		if _, err := w.tx.Exec(ctx, query, arrays...); err != nil {
			return err
		}
	}
	return nil
}

// upsert is the statement that stores rows. Key columns are not set: they are
// equal, and an identity column refuses to be.
func (l *layout) upsert() string {
	var sets []string
	for i, c := range l.table.Columns {
		if !slices.Contains(l.table.Key, i) {
			sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", quote(c)))
		}
	}
	action := "NOTHING"
	if len(sets) > 0 {
		action = "UPDATE SET " + strings.Join(sets, ", ")
	}
	return fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT n.* FROM %s ON CONFLICT (%s) DO %s",
		relation(l.table.Name), strings.Join(columnNames(l.table, ""), ", "), l.unnest(), strings.Join(keyNames(l.table, ""), ", "), action)
}

// unnest is the rows of array parameters as a relation called n.
func (l *layout) unnest() string {
	all := make([]int, len(l.types))
	for i := range all {
		all[i] = i
	}
	return l.unnestColumns(all)
}

// unnestKeys is the keys of array parameters as a relation called n.
func (l *layout) unnestKeys() string { return l.unnestColumns(l.table.Key) }

// unnestColumns reads arrays and composites out of texts, because unnest would
// take them apart as well.
func (l *layout) unnestColumns(columns []int) string {
	names := strings.Join(l.names(columns, ""), ", ")
	if !slices.ContainsFunc(columns, func(c int) bool { return l.types[c].nested }) {
		return fmt.Sprintf("%s AS n(%s)", l.arrays(columns), names)
	}
	values := l.names(columns, "")
	for i, c := range columns {
		if l.types[c].nested {
			values[i] += "::" + l.types[c].cast + " AS " + values[i]
		}
	}
	return fmt.Sprintf("(SELECT %s FROM %s AS n(%s)) AS n", strings.Join(values, ", "), l.arrays(columns), names)
}

// arrays turns the parameters, one array per column, into rows.
func (l *layout) arrays(columns []int) string {
	arrays := make([]string, len(columns))
	for i, c := range columns {
		element := l.types[c].cast
		if l.types[c].nested {
			element = "text"
		}
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, element)
	}
	return fmt.Sprintf("unnest(%s)", strings.Join(arrays, ", "))
}

// names lists columns by index, quoted, each with a prefix.
func (l *layout) names(columns []int, prefix string) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = prefix + quote(l.table.Columns[c])
	}
	return names
}

func quoteAll(names []string, prefix string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = prefix + quote(name)
	}
	return quoted
}

// Repair puts or deletes keys as the applier would.
func (db *DB) Repair(ctx context.Context, changes ...change.Change) error {
	return db.write(ctx, func(w *writing) error { return w.all(ctx, changes) })
}
