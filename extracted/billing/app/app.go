// Package app puts the billing service together: its routes, its database and
// its way to the monolith.
package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"gorm.io/gorm"

	"stranglerfig/extracted/billing/invoices"
	"stranglerfig/extracted/billing/legacy"
	"stranglerfig/extracted/billing/storage"
	"stranglerfig/extracted/billing/web"
)

// Options say how the service runs.
type Options struct {
	// Database is sqlite:<path> or postgres://….
	Database string
	// Token lets other services in, here and at the monolith.
	Token string
	// MonolithURL is where customers are known.
	MonolithURL string
	// ProviderStates adds POST /_states, with which contract tests set the
	// data up. Never on a service that serves customers.
	ProviderStates bool
	// Log takes one line per error.
	Log *slog.Logger
}

// App is a running service. Close it when done.
type App struct {
	echo     *echo.Echo
	db       *gorm.DB
	monolith *legacy.Client
}

// Open migrates the database and registers the routes.
func Open(ctx context.Context, o Options) (*App, error) {
	db, err := storage.Open(ctx, o.Database)
	if err != nil {
		return nil, err
	}
	a := &App{echo: echo.New(), db: db, monolith: legacy.New(o.MonolithURL, o.Token)}
	a.echo.HTTPErrorHandler = web.HandleErrors(o.Log)
	a.echo.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true}))
	ping := func(ctx context.Context) error { return storage.Ping(ctx, db) }
	if err := web.Vitals(a.echo, "billing", ping); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	bills := invoices.New(db, a.monolith)
	bills.Routes(a.echo, web.Access{Token: o.Token, Sessions: a.monolith})
	if o.ProviderStates {
		a.echo.POST("/_states", (&states{invoices: bills}).set)
	}
	return a, nil
}

// Handler answers the service's requests.
func (a *App) Handler() http.Handler { return a.echo }

// Close closes the database and the connections to the monolith.
func (a *App) Close() error {
	a.monolith.Close()
	return storage.Close(a.db)
}
