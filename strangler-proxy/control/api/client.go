package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
)

// Client speaks to a running `strangler serve`.
type Client struct {
	Base  string // http://127.0.0.1:8079
	Token string
	HTTP  *http.Client // nil: the default one
}

// ErrNotRunning is returned when nobody listens on the admin address.
var ErrNotRunning = errors.New("no strangler is serving")

// Get fetches a document.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, into)
}

// Post sends a document and fetches the answer; into may be nil.
func (c *Client) Post(ctx context.Context, path string, body, into any) error {
	return c.call(ctx, http.MethodPost, path, body, into)
}

// Put sends a document.
func (c *Client) Put(ctx context.Context, path string, body any) error {
	return c.call(ctx, http.MethodPut, path, body, nil)
}

// Delete removes something.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	res, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if into == nil {
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}

// Watch runs a long operation: every event but the last is passed to watch,
// the result is decoded into into.
func (c *Client) Watch(ctx context.Context, path string, body any, watch func(Event), into any) error {
	res, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("read the answer of %s: %w", path, err)
			}
			switch {
			case e.Error != nil:
				if into != nil && e.Error.Data != nil {
					return errors.Join(e.Error, json.Unmarshal(e.Error.Data, into))
				}
				return e.Error
			case e.Result != nil:
				if into == nil {
					return nil
				}
				return json.Unmarshal(e.Result, into)
			case watch != nil:
				watch(e)
			}
		}
		if err != nil {
			return fmt.Errorf("the connection to the strangler broke off during %s: the operation goes on or is undone by itself; see strangler status: %w", path, err)
		}
	}
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.Token)
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w at %s", ErrNotRunning, c.Base)
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var e Error
	if json.Unmarshal(raw, &e) == nil && e.Text != "" {
		return nil, &e
	}
	return nil, &Error{Text: fmt.Sprintf("%s answered %d: %s", path, res.StatusCode, bytes.TrimSpace(raw)), Code: ExitFailed}
}
