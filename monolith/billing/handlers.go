package billing

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"

	"github.com/labstack/echo/v4"

	"stranglerfig/monolith/money"
	"stranglerfig/monolith/web"
)

// The longest texts accepted, in characters.
const (
	maxNote = 1000
	maxRef  = 200
)

//go:embed invoice.html
var invoiceHTML string

var invoicePage = template.Must(template.New("invoice").Parse(invoiceHTML))

// Routes registers everything under /invoices.
func (s *Service) Routes(e *echo.Echo, access web.Access) {
	web.Read(e, "/invoices", s.list, access.Login)
	web.Read(e, "/invoices.csv", s.export, access.Login)
	web.Read(e, "/invoices/:id", s.show, access.Login)
	web.Read(e, "/invoices/:id/page", s.page, access.LoginPage)
	e.POST("/invoices", s.create, access.Login)
	e.POST("/invoices/:id/payments", s.pay, access.Login)
	e.POST("/invoices/:id/void", s.void, access.Login)
}

func (s *Service) list(c echo.Context) error {
	problems := web.Problems{}
	page := web.PageOf(c, problems)
	state := web.QueryInt(c, problems, "status", 0, int(lastState))
	if err := problems.Err(); err != nil {
		return err
	}
	filter := Filter{CustomerID: web.ViewerOf(c).Only(), State: state}
	invoices, total, err := s.List(c.Request().Context(), filter, page)
	if err != nil {
		return err
	}
	return web.Found(c, struct {
		Invoices []Invoice `json:"invoices"`
		Page     int       `json:"page"`
		PerPage  int       `json:"per_page"`
		Total    int64     `json:"total"`
	}{invoices, page.Number, page.Size, total})
}

func (s *Service) show(c echo.Context) error {
	detail, err := s.detail(c)
	if err != nil {
		return err
	}
	return web.Found(c, detail)
}

func (s *Service) page(c echo.Context) error {
	detail, err := s.detail(c)
	if err != nil {
		return err
	}
	var html bytes.Buffer
	if err := invoicePage.Execute(&html, detail); err != nil {
		return err
	}
	return web.Content(c, web.TypeHTML, html.Bytes())
}

func (s *Service) detail(c echo.Context) (*Detail, error) {
	id, err := web.PathID(c, "invoice")
	if err != nil {
		return nil, err
	}
	detail, err := s.Detail(c.Request().Context(), web.ViewerOf(c), id)
	if err == nil && detail == nil {
		err = web.NotFound("invoice", c.Param("id"))
	}
	return detail, err
}

func (s *Service) export(c echo.Context) error {
	invoices, err := s.Newest(c.Request().Context(), Filter{CustomerID: web.ViewerOf(c).Only()})
	if err != nil {
		return err
	}
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	rows := [][]string{{"id", "no", "customer", "amount", "status", "created"}}
	for _, i := range invoices {
		rows = append(rows, []string{strconv.FormatInt(i.ID, 10), i.No, i.Customer,
			i.Amount.String(), i.St.String(), i.Created})
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="invoices.csv"`)
	return web.Content(c, web.TypeCSV, table.Bytes())
}

func (s *Service) create(c echo.Context) error {
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	form, err := web.ParseForm(body)
	if err != nil {
		return err
	}
	n := NewInvoice{
		CustomerID: form.ID("customer_id"),
		OrderID:    form.OptionalID("order_id"),
		Amount:     form.Amount("amount"),
		Note:       form.OptionalText("note", maxNote),
	}
	keyed := web.KeyOf(c, body, form.Problems)
	if err := form.Err(); err != nil {
		return err
	}
	if !web.ViewerOf(c).Sees(n.CustomerID) {
		return web.Invalid("customer_id", "does not exist")
	}
	answer, err := s.Create(c.Request().Context(), keyed, n)
	if err != nil {
		return err
	}
	id, err := IDOf(answer)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, fmt.Sprintf("/invoices/%d", id))
	return answer.Send(c)
}

// IDOf is the id in the body of an answer.
func IDOf(answer web.Answer) (int64, error) {
	var created struct {
		ID int64 `json:"id"`
	}
	if err := json.Unmarshal(answer.Body, &created); err != nil {
		return 0, fmt.Errorf("the stored answer names no id: %w", err)
	}
	return created.ID, nil
}

func (s *Service) pay(c echo.Context) error {
	id, err := web.PathID(c, "invoice")
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
	n := NewPayment{InvoiceID: id, Amount: form.Amount("amount"), Ref: form.Text("ref", maxRef)}
	keyed := web.KeyOf(c, body, form.Problems)
	if err := form.Err(); err != nil {
		return err
	}
	if err := s.mustSee(c, id); err != nil {
		return err
	}
	answer, err := s.Pay(c.Request().Context(), keyed, n)
	if err != nil {
		return err
	}
	return answer.Send(c)
}

func (s *Service) void(c echo.Context) error {
	id, err := web.PathID(c, "invoice")
	if err != nil {
		return err
	}
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	problems := web.Problems{}
	keyed := web.KeyOf(c, body, problems)
	if err := problems.Err(); err != nil {
		return err
	}
	if err := s.mustSee(c, id); err != nil {
		return err
	}
	answer, err := s.Void(c.Request().Context(), keyed, id)
	if err != nil {
		return err
	}
	return answer.Send(c)
}

// mustSee answers 404 unless the caller may see the invoice.
func (s *Service) mustSee(c echo.Context, id int64) error {
	invoice, err := s.find(c.Request().Context(), web.ViewerOf(c), id)
	if err == nil && invoice == nil {
		err = web.NotFound("invoice", c.Param("id"))
	}
	return err
}

// Open is what is still to be paid.
func (d Detail) Open() money.Cents { return d.Amount - d.Paid }
