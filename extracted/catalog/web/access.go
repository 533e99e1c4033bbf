package web

import (
	"crypto/subtle"
	"strings"

	"github.com/labstack/echo/v4"
)

// TokenOnly lets only callers with the service token through; others get 401.
func TokenOnly(token string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			sent, bearer := strings.CutPrefix(c.Request().Header.Get(echo.HeaderAuthorization), "Bearer ")
			if !bearer || subtle.ConstantTimeCompare([]byte(sent), []byte(token)) != 1 {
				return Unauthorized()
			}
			return next(c)
		}
	}
}
