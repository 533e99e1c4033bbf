package engine

import (
	"context"
	"fmt"
	"strings"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/postgres"
	"stranglerfig/migrations/sqlite"
)

// OpenDatabase opens one side of a move by the scheme of its DSN.
func OpenDatabase(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		return sqlite.OpenExclusive(ctx, rest, move, side, tables)
	case "postgres", "postgresql":
		return postgres.Open(ctx, dsn, move, side, tables)
	}
	return nil, fmt.Errorf("no data can be moved from or to a database of kind %q: accepted are sqlite:<path> and postgres://…", scheme)
}

// OpenToRead opens one side beside whoever runs the move, for looking at its rows.
func OpenToRead(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	if scheme == "sqlite" {
		return sqlite.Open(ctx, rest, move, side, tables)
	}
	return OpenDatabase(ctx, dsn, move, side, tables)
}
