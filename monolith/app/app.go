// Package app puts the shop together: its modules, its routes, its database.
package app

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"gorm.io/gorm"

	"stranglerfig/monolith/billing"
	"stranglerfig/monolith/catalog"
	"stranglerfig/monolith/customers"
	"stranglerfig/monolith/orders"
	"stranglerfig/monolith/storage"
	"stranglerfig/monolith/web"
)

//go:embed home.html
var homeHTML []byte

// Options say how the shop runs.
type Options struct {
	// Database is sqlite:<path> or postgres://….
	Database string
	// Token lets other services in.
	Token string
	// BillingURL is where orders are invoiced; empty means in this process.
	BillingURL string
	// ProviderStates adds POST /_states, with which contract tests set the
	// data up. Never on a shop that serves customers.
	ProviderStates bool
	// Log takes one line per error.
	Log *slog.Logger
}

// App is a running shop. Close it when done.
type App struct {
	echo     *echo.Echo
	db       *gorm.DB
	billing  orders.Billing
	stopping chan struct{}
	stop     sync.Once
	cancel   context.CancelFunc
	sweeper  sync.WaitGroup
}

// Open migrates the database and starts the shop's background work.
func Open(ctx context.Context, o Options) (*App, error) {
	db, err := storage.Open(ctx, o.Database)
	if err != nil {
		return nil, err
	}
	bills := billing.New(db)
	a := &App{echo: newEcho(o.Log), db: db, billing: seam(o, bills), stopping: make(chan struct{})}
	sales := orders.New(db, a.billing, o.Log, a.stopping)
	if err := a.routes(o, bills, sales); err != nil {
		return nil, errors.Join(err, storage.Close(db))
	}
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.sweeper.Go(func() { sales.Sweep(ctx) })
	return a, nil
}

func newEcho(log *slog.Logger) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = web.HandleErrors(log)
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true}))
	return e
}

func seam(o Options, bills *billing.Service) orders.Billing {
	if o.BillingURL == "" {
		return orders.Local{Service: bills}
	}
	return orders.NewRemote(o.BillingURL, o.Token)
}

func (a *App) routes(o Options, bills *billing.Service, sales *orders.Service) error {
	people := customers.New(a.db)
	access := web.Access{Token: o.Token, Sessions: people}
	ping := func(ctx context.Context) error { return storage.Ping(ctx, a.db) }
	if err := web.Vitals(a.echo, "monolith", ping); err != nil {
		return err
	}
	web.Read(a.echo, "/", func(c echo.Context) error { return web.Content(c, web.TypeHTML, homeHTML) })
	people.Routes(a.echo, access)
	catalog.New(a.db).Routes(a.echo, access)
	bills.Routes(a.echo, access)
	sales.Routes(a.echo, access)
	if o.ProviderStates {
		a.echo.POST("/_states", (&states{billing: bills}).set)
	}
	return nil
}

// Handler answers the shop's requests.
func (a *App) Handler() http.Handler { return a.echo }

// Stop ends the event streams, so that a server can shut down.
func (a *App) Stop() { a.stop.Do(func() { close(a.stopping) }) }

// Close ends the background work and closes the database.
func (a *App) Close() error {
	a.Stop()
	a.cancel()
	a.sweeper.Wait()
	a.billing.Close()
	return storage.Close(a.db)
}
