// Package tape records live traffic for contracts, without its secrets.
//
// A [Recorder] takes exchanges from the proxy, never makes it wait, passes
// each through a [Redactor] and appends it to a file of one JSON object per
// line. [Load] reads such a file, and [Distill] makes a contract of it.
//
// Nothing is kept, neither on disk nor in a report, before it is redacted.
// What cannot be looked into, such as a body in an unknown compression, is
// left out.
package tape

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"
)

// Exchange is one request and its answer.
type Exchange struct {
	At         time.Time `json:"at"`
	Route      string    `json:"route,omitempty"` // the pattern that matched
	Asks       []string  `json:"asks,omitempty"`  // what the route asks for beside method and path, such as header:X-Version=2
	Capability string    `json:"capability,omitempty"`
	Owner      string    `json:"owner,omitempty"` // who answered
	Epoch      uint64    `json:"epoch,omitempty"`
	Request    Request   `json:"request"`
	Response   Response  `json:"response"`
	Truncated  bool      `json:"truncated,omitempty"` // a body is not whole
	Redacted   []string  `json:"redacted,omitempty"`  // what was replaced, such as response.body.user.email
}

// Request is what the client sent.
type Request struct {
	Method string              `json:"method"`
	Path   string              `json:"path"`            // escaped, as sent
	Query  string              `json:"query,omitempty"` // escaped, without the ?
	Header map[string][]string `json:"header,omitempty"`
	Body   Body                `json:"body,omitempty"`
}

// Response is what the client was answered.
type Response struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header,omitempty"`
	Body   Body                `json:"body,omitempty"`
}

// Body is a message's content. In JSON it is a text, or, if it is not valid
// UTF-8, an object with the member base64.
type Body []byte

type encoded struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON writes the body readably if possible.
func (b Body) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(encoded{b})
}

// UnmarshalJSON reads either form.
func (b *Body) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		*b = Body(text)
		return nil
	}
	var raw encoded
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("body: want a text or {\"base64\": …}: %w", err)
	}
	*b = raw.Base64
	return nil
}

// Load reads a tape file. See [Read].
func Load(path string) (exchanges []Exchange, damaged int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("load tape: %w", err)
	}
	defer f.Close()
	return Read(f)
}

// Read reads a tape. Lines that a crash left half written are skipped and
// counted.
func Read(r io.Reader) (exchanges []Exchange, damaged int, err error) {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e Exchange
			if json.Unmarshal(line, &e) == nil {
				exchanges = append(exchanges, e)
			} else {
				damaged++
			}
		}
		if errors.Is(err, io.EOF) {
			return exchanges, damaged, nil
		}
		if err != nil {
			return exchanges, damaged, fmt.Errorf("read tape: %w", err)
		}
	}
}
