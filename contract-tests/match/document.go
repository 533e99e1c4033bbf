package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Decode reads a text that is one JSON document into the values that rules are
// about: numbers stay as they were written, as [json.Number]. Anything beside
// the document is an error.
func Decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the document")
	}
	return v, nil
}
