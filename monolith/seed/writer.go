package seed

import (
	"strings"

	"gorm.io/gorm"
)

const (
	// rowsPerInsert keeps a statement below the databases' parameter limits.
	rowsPerInsert = 400
	// insertsPerTransaction makes transactions of about 10,000 rows.
	insertsPerTransaction = 25
)

// writer collects rows and inserts them in large batches. Batches are written
// in the order in which their tables were announced, so that no row precedes
// what it refers to.
type writer struct {
	db      *gorm.DB
	tables  []*table
	pending int
}

func newWriter(db *gorm.DB) *writer { return &writer{db: db} }

// table collects rows of one table.
type table struct {
	writer  *writer
	insert  string // INSERT INTO … VALUES
	row     string // (?,?,…)
	values  []any
	columns int
}

func (w *writer) table(name string, columns ...string) *table {
	t := &table{
		writer:  w,
		insert:  "INSERT INTO " + name + " (" + strings.Join(columns, ",") + ") VALUES ",
		row:     "(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")",
		columns: len(columns),
	}
	w.tables = append(w.tables, t)
	return t
}

// add collects a row.
func (t *table) add(values ...any) {
	t.values = append(t.values, values...)
	t.writer.pending++
}

// breathe writes everything once there is enough. Call it when no collected
// row refers to one that is still to come.
func (w *writer) breathe() error {
	if w.pending < rowsPerInsert*insertsPerTransaction {
		return nil
	}
	return w.flush()
}

// flush writes all collected rows in one transaction.
func (w *writer) flush() error {
	w.pending = 0
	return w.db.Transaction(func(tx *gorm.DB) error {
		for _, t := range w.tables {
			if err := t.write(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *table) write(tx *gorm.DB) error {
	for values := t.values; len(values) > 0; {
		rows := min(rowsPerInsert, len(values)/t.columns)
		statement := t.insert + strings.TrimSuffix(strings.Repeat(t.row+",", rows), ",")
		if err := tx.Exec(statement, values[:rows*t.columns]...).Error; err != nil {
			return err
		}
		values = values[rows*t.columns:]
	}
	t.values = t.values[:0]
	return nil
}

// close writes what is left.
func (w *writer) close() error { return w.flush() }
