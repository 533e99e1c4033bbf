package web

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// SessionCookie is the name of the cookie that carries a customer's session.
const SessionCookie = "shop_session"

// Viewer is who is asking: the service token, or a customer.
type Viewer struct {
	Token      bool
	CustomerID int64
}

// Sees reports whether the viewer may see what belongs to a customer.
func (v Viewer) Sees(customerID int64) bool { return v.Token || v.CustomerID == customerID }

// Only is the customer the viewer is limited to, or nil for the token.
func (v Viewer) Only() *int64 {
	if v.Token {
		return nil
	}
	return &v.CustomerID
}

// Sessions knows whose session a cookie is; ok is false for an unknown or
// expired one.
type Sessions interface {
	Customer(ctx context.Context, session string) (id int64, ok bool, err error)
}

// Access decides who may call a route.
type Access struct {
	Token    string
	Sessions Sessions
}

// Login lets the token and logged-in customers through; others get 401.
func (a Access) Login(next echo.HandlerFunc) echo.HandlerFunc {
	return a.guard(next, func(echo.Context) error { return Unauthorized() })
}

// LoginPage is Login for pages: others are sent to the login form.
func (a Access) LoginPage(next echo.HandlerFunc) echo.HandlerFunc {
	return a.guard(next, func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, "/login") })
}

// TokenOnly lets only the service token through; others get 401.
func (a Access) TokenOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !a.hasToken(c) {
			return Unauthorized()
		}
		c.Set(viewerKey, Viewer{Token: true})
		return next(c)
	}
}

const viewerKey = "viewer"

// ViewerOf is who calls a route guarded by Login, LoginPage or TokenOnly.
func ViewerOf(c echo.Context) Viewer {
	viewer, _ := c.Get(viewerKey).(Viewer)
	return viewer
}

func (a Access) guard(next, refuse echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		viewer, ok, err := a.viewer(c)
		if err != nil {
			return err
		}
		if !ok {
			return refuse(c)
		}
		c.Set(viewerKey, viewer)
		return next(c)
	}
}

func (a Access) viewer(c echo.Context) (Viewer, bool, error) {
	if c.Request().Header.Get(echo.HeaderAuthorization) != "" {
		return Viewer{Token: true}, a.hasToken(c), nil
	}
	cookie, err := c.Cookie(SessionCookie)
	if err != nil || cookie.Value == "" {
		return Viewer{}, false, nil
	}
	id, ok, err := a.Sessions.Customer(c.Request().Context(), cookie.Value)
	return Viewer{CustomerID: id}, ok, err
}

func (a Access) hasToken(c echo.Context) bool {
	sent, bearer := strings.CutPrefix(c.Request().Header.Get(echo.HeaderAuthorization), "Bearer ")
	return bearer && subtle.ConstantTimeCompare([]byte(sent), []byte(a.Token)) == 1
}
