package app

import (
	"context"
	"encoding/json"
	"net/http"
	"sort"
	"strings"

	"github.com/labstack/echo/v4"

	"stranglerfig/extracted/billing/invoices"
	"stranglerfig/extracted/billing/web"
)

// states sets up data for contract tests.
type states struct {
	invoices *invoices.Service
}

// setup brings one state about.
type setup func(ctx context.Context, params *web.Form) error

func (s *states) known() map[string]setup {
	return map[string]setup{
		"invoice":                s.invoice,
		"no invoice":             s.noInvoice,
		"idempotency key unused": s.keyUnused,
	}
}

func (s *states) set(c echo.Context) error {
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	var wish struct {
		State  string          `json:"state"`
		Params json.RawMessage `json:"params"`
		Action string          `json:"action"`
	}
	if err := json.Unmarshal(body, &wish); err != nil {
		return web.BadRequest("body is not valid JSON")
	}
	if wish.Action != "teardown" {
		if err := s.bringAbout(c.Request().Context(), wish.State, wish.Params); err != nil {
			return err
		}
	}
	return web.JSON(c, http.StatusOK, struct{}{})
}

func (s *states) bringAbout(ctx context.Context, name string, params json.RawMessage) error {
	state, ok := s.known()[name]
	if !ok {
		return web.Invalid("state", "must be one of: "+strings.Join(s.names(), ", "))
	}
	form, err := web.ParseForm(params)
	if err != nil {
		return web.Invalid("params", "must be a JSON object")
	}
	return state(ctx, form)
}

func (s *states) names() []string {
	var names []string
	for name := range s.known() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (s *states) invoice(ctx context.Context, params *web.Form) error {
	wanted := invoices.Wanted{
		ID:         params.ID("id"),
		CustomerID: params.ID("customer_id"),
		Amount:     params.Amount("amount"),
		State:      invoices.State(params.Int("st", 0, invoices.LastState)),
		Created:    params.Text("created", 19),
	}
	if params.Has("paid") && !params.Zero("paid") {
		wanted.Paid = params.Amount("paid")
	}
	if err := params.Err(); err != nil {
		return err
	}
	return s.invoices.Establish(ctx, wanted)
}

func (s *states) noInvoice(ctx context.Context, params *web.Form) error {
	id := params.ID("id")
	if err := params.Err(); err != nil {
		return err
	}
	return s.invoices.Remove(ctx, id)
}

func (s *states) keyUnused(ctx context.Context, params *web.Form) error {
	key := params.Text("key", 200)
	if err := params.Err(); err != nil {
		return err
	}
	return s.invoices.Forget(ctx, key)
}
