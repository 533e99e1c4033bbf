// Package web is what every module needs to answer HTTP requests: errors,
// JSON, entity tags, forms, paging and who is asking.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"modernc.org/sqlite"
)

// Error is an answer other than success, as the caller gets to see it.
type Error struct {
	Status  int               `json:"-"`
	Message string            `json:"error"`
	Fields  map[string]string `json:"fields,omitempty"`
	// Again tells the caller to retry after a second.
	Again bool `json:"-"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// NotFound says that there is no such thing; sent is the id as it was sent.
func NotFound(kind, sent string) error {
	return &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("%s %s not found", kind, sent)}
}

// BadRequest says that the request cannot be understood.
func BadRequest(message string) error {
	return &Error{Status: http.StatusBadRequest, Message: message}
}

// Unauthorized says that the caller has to log in first.
func Unauthorized() error {
	return &Error{Status: http.StatusUnauthorized, Message: "login required"}
}

// HandleErrors turns every error of a handler into its JSON answer and logs
// those that are our fault.
func HandleErrors(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		answer := explain(err)
		if answer.Status >= http.StatusInternalServerError {
			log.Error("request failed", "method", c.Request().Method, "path", c.Request().URL.Path,
				"status", answer.Status, "error", err.Error())
		}
		if answer.Again {
			c.Response().Header().Set("Retry-After", "1")
		}
		if err := JSON(c, answer.Status, answer); err != nil {
			log.Error("answer not sent", "path", c.Request().URL.Path, "error", err.Error())
		}
	}
}

func explain(err error) *Error {
	var ours *Error
	var theirs *echo.HTTPError
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &theirs):
		return &Error{Status: theirs.Code, Message: strings.ToLower(http.StatusText(theirs.Code))}
	case strings.Contains(err.Error(), "strangler:"):
		return &Error{Status: http.StatusServiceUnavailable, Message: "writes are paused", Again: true}
	case busy(err):
		return &Error{Status: http.StatusServiceUnavailable, Message: "the database is busy", Again: true}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusServiceUnavailable, Message: "the request was given up", Again: true}
	}
	return &Error{Status: http.StatusInternalServerError, Message: "internal error"}
}

// busy reports that another writer kept SQLite's lock for too long.
func busy(err error) bool {
	const sqliteBusy = 5
	var failure *sqlite.Error
	return errors.As(err, &failure) && failure.Code()&0xff == sqliteBusy
}
