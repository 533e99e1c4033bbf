package verify

import (
	"bytes"
	"context"
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

// target is what a request asks for, as its first line says.
func target(r contract.Request) string {
	if len(r.Query) == 0 {
		return r.Path
	}
	return r.Path + "?" + url.Values(r.Query).Encode()
}

// send plays a request on the nth target, and returns what was sent as well.
func (r *runner) send(ctx context.Context, n int, q contract.Request) (*http.Request, compare.Message, error) {
	address := strings.TrimSuffix(r.Targets[n].BaseURL, "/") + target(q)
	header := http.Header{}
	for name, values := range q.Header {
		for _, value := range values {
			header.Add(name, value)
		}
	}
	return r.exchange(ctx, n, q.Method, address, header, q.Body)
}

func (r *runner) exchange(ctx context.Context, n int, method, address string, header http.Header, body []byte) (*http.Request, compare.Message, error) {
	t := r.Targets[n]
	if err := r.limits[n].Wait(ctx); err != nil {
		return nil, compare.Message{}, fmt.Errorf("%s was not asked: %w", t.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, compare.Message{}, fmt.Errorf("request to %s: %w", t.Name, err)
	}
	request.Header = header
	for name, value := range t.Header {
		request.Header.Set(name, value)
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host // where net/http looks for it
	}
	response, err := r.Client.Do(request)
	if err != nil {
		return nil, compare.Message{}, fmt.Errorf("%s gave no answer: %w", t.Name, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, largest+1))
	if err != nil {
		return nil, compare.Message{}, fmt.Errorf("%s broke off its answer: %w", t.Name, err)
	}
	if len(content) > largest {
		return nil, compare.Message{}, fmt.Errorf("%s answered more than %d bytes", t.Name, largest)
	}
	return request, compare.Message{Status: response.StatusCode, Header: response.Header, Body: content}, nil
}

func excerpt(body []byte) string {
	text := strings.TrimSpace(string(body))
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}
