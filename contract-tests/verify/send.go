package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
)

// largest bounds an answer; a longer one counts as no answer.
const largest = 64 << 20

// own gives the run a client of its own, which it must close.
func own(o *Options) *http.Client {
	o.Client = asIs(http.Client{Transport: &http.Transport{DisableCompression: true}})
	return o.Client
}

// asIs returns a client that hands over answers as they are: a redirect is an
// answer, and following it would hide it.
func asIs(c http.Client) *http.Client {
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// send plays a request on a target.
func (o Options) send(ctx context.Context, t Target, r contract.Request) (compare.Message, error) {
	address := strings.TrimSuffix(t.BaseURL, "/") + r.Path
	if len(r.Query) > 0 {
		address += "?" + url.Values(r.Query).Encode()
	}
	header := http.Header{}
	for name, values := range r.Header {
		for _, value := range values {
			header.Add(name, value)
		}
	}
	return o.exchange(ctx, t, r.Method, address, header, r.Body)
}

func (o Options) exchange(ctx context.Context, t Target, method, address string, header http.Header, body []byte) (compare.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return compare.Message{}, fmt.Errorf("request to %s: %w", t.Name, err)
	}
	request.Header = header
	for name, value := range t.Header {
		request.Header.Set(name, value)
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host // where net/http looks for it
	}
	response, err := o.Client.Do(request)
	if err != nil {
		return compare.Message{}, fmt.Errorf("%s gave no answer: %w", t.Name, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, largest+1))
	if err != nil {
		return compare.Message{}, fmt.Errorf("%s broke off its answer: %w", t.Name, err)
	}
	if len(content) > largest {
		return compare.Message{}, fmt.Errorf("%s answered more than %d bytes", t.Name, largest)
	}
	return compare.Message{Status: response.StatusCode, Header: response.Header, Body: content}, nil
}

// change is what a target is asked for before an interaction.
type change struct {
	State  string         `json:"state"`
	Params map[string]any `json:"params"`
	Action string         `json:"action"`
}

// setUp has a target establish a provider state.
func (o Options) setUp(ctx context.Context, t Target, s contract.State) error {
	params := s.Params
	if params == nil {
		params = map[string]any{}
	}
	body, err := json.Marshal(change{State: s.Name, Params: params, Action: "setup"})
	if err != nil {
		return fmt.Errorf("state %q: %w", s.Name, err)
	}
	address := strings.TrimSuffix(t.BaseURL, "/") + "/_states"
	answer, err := o.exchange(ctx, t, http.MethodPost, address, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return fmt.Errorf("state %q: %w", s.Name, err)
	}
	if answer.Status < 200 || answer.Status > 299 {
		return fmt.Errorf("state %q: POST %s answered %d: %s (start %s so that it serves provider states)",
			s.Name, address, answer.Status, excerpt(answer.Body), t.Name)
	}
	return nil
}

func excerpt(body []byte) string {
	text := strings.TrimSpace(string(body))
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}
