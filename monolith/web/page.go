package web

import (
	"strconv"

	"github.com/labstack/echo/v4"
)

// Page is a part of a list.
type Page struct {
	Number int // from 1
	Size   int
}

// Offset is how many entries come before the page.
func (p Page) Offset() int { return (p.Number - 1) * p.Size }

// PageOf reads page and per_page from the query.
func PageOf(c echo.Context, problems Problems) Page {
	return Page{
		Number: queryInt(c, problems, "page", 1, 1, 1_000_000),
		Size:   queryInt(c, problems, "per_page", 20, 1, 100),
	}
}

// QueryInt reads an optional number between low and high from the query; it
// answers nil when the parameter is missing or empty.
func QueryInt(c echo.Context, problems Problems, name string, low, high int) *int {
	if c.QueryParam(name) == "" {
		return nil
	}
	n := queryInt(c, problems, name, 0, low, high)
	return &n
}

func queryInt(c echo.Context, problems Problems, name string, preset, low, high int) int {
	sent := c.QueryParam(name)
	if sent == "" {
		return preset
	}
	n, err := strconv.Atoi(sent)
	if err != nil || n < low || n > high {
		problems.Add(name, "must be an integer from "+strconv.Itoa(low)+" to "+strconv.Itoa(high))
	}
	return n
}
