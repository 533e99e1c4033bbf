package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"stranglerfig/monolith/money"
)

// MaxBody is the largest JSON body accepted, in bytes.
const MaxBody = 1 << 20

// Body reads the whole request body; more than MaxBody bytes are refused.
func Body(c echo.Context) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, MaxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Message: "the body is larger than 1 MiB"}
	}
	if err != nil {
		return nil, BadRequest("the body could not be read")
	}
	return body, nil
}

// Problems collects what is wrong with a request, by field.
type Problems map[string]string

// Add notes a problem; the first one of a field is kept.
func (p Problems) Add(field, problem string) {
	if _, known := p[field]; !known {
		p[field] = problem
	}
}

// Err is the 422 answer listing every problem, or nil when there is none.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Status: http.StatusUnprocessableEntity, Message: "validation failed", Fields: p}
}

// Invalid is the 422 answer about one field.
func Invalid(field, problem string) error { return Problems{field: problem}.Err() }

// Form reads the fields of a JSON object and collects what is wrong with them.
type Form struct {
	Problems
	values map[string]json.RawMessage
}

// ParseForm reads a JSON object.
func ParseForm(body []byte) (*Form, error) {
	if !json.Valid(body) {
		return nil, BadRequest("body is not valid JSON")
	}
	form := &Form{Problems: Problems{}}
	if err := json.Unmarshal(body, &form.values); err != nil || form.values == nil {
		return nil, BadRequest("body must be a JSON object")
	}
	return form, nil
}

// Has reports whether the field was sent and is not null.
func (f *Form) Has(field string) bool {
	value := f.values[field]
	return value != nil && !bytes.Equal(value, []byte("null"))
}

// Zero reports whether the field was sent as the number 0.
func (f *Form) Zero(field string) bool { return bytes.Equal(f.values[field], []byte("0")) }

func (f *Form) required(field string) bool {
	if !f.Has(field) {
		f.Add(field, "is required")
		return false
	}
	return true
}

// ID reads a required id.
func (f *Form) ID(field string) int64 {
	if !f.required(field) {
		return 0
	}
	id, err := strconv.ParseInt(string(f.values[field]), 10, 64)
	if err != nil || id < 1 {
		f.Add(field, "must be a positive integer")
	}
	return id
}

// OptionalID reads an id that may be left out or null.
func (f *Form) OptionalID(field string) *int64 {
	if !f.Has(field) {
		return nil
	}
	id := f.ID(field)
	return &id
}

// Int reads a required integer between low and high.
func (f *Form) Int(field string, low, high int) int {
	if !f.required(field) {
		return 0
	}
	n, err := strconv.Atoi(string(f.values[field]))
	if err != nil || n < low || n > high {
		f.Add(field, "must be an integer from "+strconv.Itoa(low)+" to "+strconv.Itoa(high))
	}
	return n
}

// Text reads a required text of at most limit characters that is not blank.
func (f *Form) Text(field string, limit int) string {
	if !f.required(field) {
		return ""
	}
	text := f.OptionalText(field, limit)
	if strings.TrimSpace(text) == "" {
		f.Add(field, "is required")
	}
	return text
}

// OptionalText reads a text of at most limit characters that may be empty.
func (f *Form) OptionalText(field string, limit int) string {
	if !f.Has(field) {
		return ""
	}
	var text string
	if err := json.Unmarshal(f.values[field], &text); err != nil {
		f.Add(field, "must be a text")
		return ""
	}
	if utf8.RuneCountInString(text) > limit {
		f.Add(field, "must be at most "+strconv.Itoa(limit)+" characters")
	}
	if strings.ContainsRune(text, 0) {
		f.Add(field, "must not contain NUL characters")
	}
	return text
}

// Amount reads a required amount greater than 0, sent as number or text.
func (f *Form) Amount(field string) money.Cents {
	if !f.required(field) {
		return 0
	}
	text := string(f.values[field])
	if strings.HasPrefix(text, `"`) {
		text = f.OptionalText(field, 40)
	}
	cents, err := money.Parse(text)
	switch {
	case err != nil:
		f.Add(field, err.Error())
	case cents <= 0:
		f.Add(field, "must be greater than 0")
	}
	return cents
}

// List reads a required JSON array of objects, each as a form of its own.
func (f *Form) List(field string, limit int) []*Form {
	if !f.required(field) {
		return nil
	}
	var objects []map[string]json.RawMessage
	if err := json.Unmarshal(f.values[field], &objects); err != nil {
		f.Add(field, "must be a list of objects")
		return nil
	}
	if len(objects) == 0 || len(objects) > limit {
		f.Add(field, "must have 1 to "+strconv.Itoa(limit)+" entries")
		return nil
	}
	forms := make([]*Form, len(objects))
	for i, object := range objects {
		forms[i] = &Form{Problems: Problems{}, values: object}
	}
	return forms
}

// PathID reads the id in the path. What is no id names nothing, so it is
// answered like an unknown one; kind says what was looked for.
func PathID(c echo.Context, kind string) (int64, error) {
	sent := c.Param("id")
	id, err := strconv.ParseUint(sent, 10, 63)
	if err != nil || id == 0 {
		return 0, NotFound(kind, sent)
	}
	return int64(id), nil
}
