package orders

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"

	"github.com/labstack/echo/v4"

	"stranglerfig/monolith/money"
	"stranglerfig/monolith/web"
)

const (
	maxLines = 100
	maxQty   = 10_000
)

//go:embed order.html
var orderHTML string

var orderPage = template.Must(template.New("order").Parse(orderHTML))

// Routes registers everything under /orders and the revenue report.
func (s *Service) Routes(e *echo.Echo, access web.Access) {
	e.POST("/orders", s.place, access.Login)
	web.Read(e, "/orders", s.list, access.Login)
	web.Read(e, "/orders/:id", s.show, access.Login)
	web.Read(e, "/orders/:id/page", s.page, access.LoginPage)
	e.GET("/orders/:id/events", s.events, access.Login)
	e.POST("/orders/:id/status", s.move, access.TokenOnly)
	web.Read(e, "/reports/revenue", s.revenue, access.TokenOnly)
}

func (s *Service) place(c echo.Context) error {
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	form, err := web.ParseForm(body)
	if err != nil {
		return err
	}
	n := NewOrder{CustomerID: customerOf(c, form), Lines: linesOf(form)}
	keyed := web.KeyOf(c, body, form.Problems)
	if err := form.Err(); err != nil {
		return err
	}
	order, replayed, err := s.Place(c.Request().Context(), keyed, n)
	if err != nil {
		return err
	}
	if !web.ViewerOf(c).Sees(order.CustomerID) {
		return web.ErrKeyReused()
	}
	if replayed {
		c.Response().Header().Set("Idempotency-Replayed", "true")
	}
	c.Response().Header().Set(echo.HeaderLocation, fmt.Sprintf("/orders/%d", order.ID))
	return web.JSON(c, http.StatusCreated, order)
}

// customerOf is who buys: customers buy for themselves, the token has to say
// for whom.
func customerOf(c echo.Context, form *web.Form) int64 {
	viewer := web.ViewerOf(c)
	if viewer.Token {
		return form.ID("customer_id")
	}
	if sent := form.OptionalID("customer_id"); sent != nil && *sent != viewer.CustomerID {
		form.Add("customer_id", "does not exist")
	}
	return viewer.CustomerID
}

func linesOf(form *web.Form) []Line {
	var lines []Line
	for i, entry := range form.List("items", maxLines) {
		lines = append(lines, Line{ProductID: entry.ID("product_id"), Qty: entry.Int("qty", 1, maxQty)})
		for field, problem := range entry.Problems {
			form.Add(fmt.Sprintf("items[%d].%s", i, field), problem)
		}
	}
	return lines
}

func (s *Service) list(c echo.Context) error {
	problems := web.Problems{}
	page := web.PageOf(c, problems)
	if err := problems.Err(); err != nil {
		return err
	}
	orders, total, err := s.List(c.Request().Context(), web.ViewerOf(c), page)
	if err != nil {
		return err
	}
	return web.Found(c, struct {
		Orders  []Order `json:"orders"`
		Page    int     `json:"page"`
		PerPage int     `json:"per_page"`
		Total   int64   `json:"total"`
	}{orders, page.Number, page.Size, total})
}

func (s *Service) show(c echo.Context) error {
	order, err := s.order(c)
	if err != nil {
		return err
	}
	return web.Found(c, order)
}

// order is the one named in the path, or a 404.
func (s *Service) order(c echo.Context) (*Order, error) {
	id, err := web.PathID(c, "order")
	if err != nil {
		return nil, err
	}
	order, err := s.Find(c.Request().Context(), web.ViewerOf(c), id)
	if err == nil && order == nil {
		err = web.NotFound("order", c.Param("id"))
	}
	return order, err
}

func (s *Service) move(c echo.Context) error {
	order, err := s.order(c)
	if err != nil {
		return err
	}
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	form, err := web.ParseForm(body)
	if err != nil {
		return err
	}
	to := State(form.Int("st", int(Placed), int(Cancelled)))
	if err := form.Err(); err != nil {
		return err
	}
	if err := s.Move(c.Request().Context(), order.ID, to); err != nil {
		return err
	}
	if order, err = s.order(c); err != nil {
		return err
	}
	return web.JSON(c, http.StatusOK, order)
}

// billed is what the order's page says about its invoice, read straight from
// the tables of billing: the shop's old habit.
type billed struct {
	No   string
	St   int
	Paid money.Cents
}

// State is the invoice's state for people.
func (b billed) State() string {
	names := []string{"draft", "issued", "paid", "void"}
	if b.St < 0 || b.St >= len(names) {
		return "unknown"
	}
	return names[b.St]
}

func (s *Service) billed(ctx context.Context, orderID int64) (*billed, error) {
	var found []billed
	err := s.db.WithContext(ctx).Raw(`SELECT inv.no, inv.st, COALESCE(SUM(inv_pay.amount), 0) AS paid
		FROM orders JOIN inv ON inv.id = orders.invoice_id LEFT JOIN inv_pay ON inv_pay.inv_id = inv.id
		WHERE orders.id = ? GROUP BY inv.no, inv.st`, orderID).Scan(&found).Error
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func (s *Service) page(c echo.Context) error {
	order, err := s.order(c)
	if err != nil {
		return err
	}
	invoice, err := s.billed(c.Request().Context(), order.ID)
	if err != nil {
		return err
	}
	var html bytes.Buffer
	err = orderPage.Execute(&html, struct {
		*Order
		Invoice *billed
	}{order, invoice})
	if err != nil {
		return err
	}
	return web.Content(c, web.TypeHTML, html.Bytes())
}

// month is one line of the revenue report.
type month struct {
	Month    string      `json:"month"` // 2026-03
	Invoiced money.Cents `json:"invoiced"`
	Paid     money.Cents `json:"paid"`
}

// revenue sums whole cents, for sums of SQLite's floating-point amounts drift.
func (s *Service) revenue(c echo.Context) error {
	var sums []struct {
		Month          string
		Invoiced, Paid int64
	}
	err := s.db.WithContext(c.Request().Context()).Raw(`
		SELECT month, CAST(SUM(invoiced) AS BIGINT) AS invoiced, CAST(SUM(paid) AS BIGINT) AS paid FROM (
			SELECT SUBSTR(created, 1, 7) AS month, CAST(ROUND(amount * 100) AS BIGINT) AS invoiced, 0 AS paid
			FROM inv WHERE st IN (1, 2)
			UNION ALL
			SELECT SUBSTR(created, 1, 7), 0, CAST(ROUND(amount * 100) AS BIGINT) FROM inv_pay
		) AS entries GROUP BY month ORDER BY month`).Scan(&sums).Error
	if err != nil {
		return err
	}
	months := []month{}
	for _, s := range sums {
		months = append(months, month{s.Month, money.Cents(s.Invoiced), money.Cents(s.Paid)})
	}
	return web.Found(c, map[string][]month{"months": months})
}
