// Package app puts the catalog service together: its routes and its database.
package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"gorm.io/gorm"

	"stranglerfig/extracted/catalog/products"
	"stranglerfig/extracted/catalog/storage"
	"stranglerfig/extracted/catalog/web"
)

// Options say how the service runs.
type Options struct {
	// Database is sqlite:<path>.
	Database string
	// Token lets other services write.
	Token string
	// Log takes one line per error.
	Log *slog.Logger
}

// App is a running service. Close it when done.
type App struct {
	echo *echo.Echo
	db   *gorm.DB
}

// Open migrates the database and registers the routes.
func Open(ctx context.Context, o Options) (*App, error) {
	db, err := storage.Open(ctx, o.Database)
	if err != nil {
		return nil, err
	}
	a := &App{echo: echo.New(), db: db}
	a.echo.HTTPErrorHandler = web.HandleErrors(o.Log)
	a.echo.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true}))
	ping := func(ctx context.Context) error { return storage.Ping(ctx, db) }
	if err := web.Vitals(a.echo, "catalog", ping); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	products.New(db).Routes(a.echo, o.Token)
	return a, nil
}

// Handler answers the service's requests.
func (a *App) Handler() http.Handler { return a.echo }

// Close closes the database.
func (a *App) Close() error { return storage.Close(a.db) }
