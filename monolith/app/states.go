package app

import (
	"context"
	"encoding/json"
	"net/http"
	"sort"
	"strings"

	"github.com/labstack/echo/v4"

	"stranglerfig/monolith/billing"
	"stranglerfig/monolith/clock"
	"stranglerfig/monolith/web"
)

// states sets up data for contract tests.
type states struct {
	billing *billing.Service
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
	wanted := billing.Wanted{
		ID:         params.ID("id"),
		CustomerID: params.ID("customer_id"),
		Amount:     params.Amount("amount"),
		State:      billing.State(params.Int("st", int(billing.Draft), int(billing.Void))),
		Created:    params.Text("created", 19),
	}
	if params.Has("paid") && !params.Zero("paid") {
		wanted.Paid = params.Amount("paid")
	}
	if !clock.Valid(wanted.Created) {
		params.Add("created", "must be a time like 2026-03-01 10:00:00")
	}
	if err := params.Err(); err != nil {
		return err
	}
	return s.billing.Establish(ctx, wanted)
}

func (s *states) noInvoice(ctx context.Context, params *web.Form) error {
	id := params.ID("id")
	if err := params.Err(); err != nil {
		return err
	}
	return s.billing.Remove(ctx, id)
}

func (s *states) keyUnused(ctx context.Context, params *web.Form) error {
	key := params.Text("key", 200)
	if err := params.Err(); err != nil {
		return err
	}
	return s.billing.Forget(ctx, key)
}
