package sqlite

import (
	"context"
	"database/sql"
)

// prepared is a transaction that prepares each of its statements once and keeps it
// to its end. Preparing one that writes costs more than running it for a row: the
// triggers of the table are made part of it.
type prepared struct {
	tx         *sql.Tx
	statements map[string]*sql.Stmt // by their text; few, since values are arguments
}

func preparing(tx *sql.Tx) prepared { return prepared{tx, map[string]*sql.Stmt{}} }

func (p prepared) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if known := p.statements[query]; known != nil {
		return known, nil
	}
	made, err := p.tx.PrepareContext(ctx, query)
	if err == nil {
		p.statements[query] = made
	}
	return made, err
}

// QueryContext runs a query, see [sql.Tx.QueryContext].
func (p prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// ExecContext runs a statement, see [sql.Tx.ExecContext].
func (p prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := p.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}
