// Package legacy is the anti-corruption layer: the only place that knows how
// to ask the monolith for what billing does not own, customers' names and
// sessions.
package legacy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"stranglerfig/extracted/billing/web"
)

const (
	// timeout limits one question.
	timeout = 2 * time.Second
	// nameLife is how long a name is believed without asking again.
	nameLife = 30 * time.Second
	// namesPerQuestion keeps addresses short.
	namesPerQuestion = 100
	// maxNames bounds the cache; beyond it everything is forgotten.
	maxNames = 100_000
	// idleConnections is how many connections are kept for the next question.
	idleConnections = 32
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 1 << 20
)

// Client asks the monolith. It may be used by many goroutines at once.
type Client struct {
	url   string
	token string
	http  *http.Client

	mu    sync.Mutex
	names map[int64]name
}

type name struct {
	text    string
	expires time.Time
}

// New asks the monolith at url, with the token that lets services in.
func New(url, token string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = idleConnections
	return &Client{url: url, token: token, http: &http.Client{Timeout: timeout, Transport: transport}, names: map[int64]name{}}
}

// Close gives up the connections kept for the next question.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Names is the names of the customers with these ids; ids the monolith does
// not know are left out. When it cannot be reached and a name is not known
// from before, the error is the answer 503.
func (c *Client) Names(ctx context.Context, ids []int64) (map[int64]string, error) {
	known, missing := c.recall(ids)
	for chunk := range slices.Chunk(missing, namesPerQuestion) {
		answered, err := c.ask(ctx, chunk)
		if err != nil {
			return nil, err
		}
		c.keep(answered)
		for id, text := range answered {
			known[id] = text
		}
	}
	return known, nil
}

// Ask is the name of the customer with this id, asked for now.
func (c *Client) Ask(ctx context.Context, id int64) (name string, known bool, err error) {
	answered, err := c.ask(ctx, []int64{id})
	if err != nil {
		return "", false, err
	}
	c.keep(answered)
	name, known = answered[id]
	return name, known, nil
}

// recall splits ids into names still believed and ids to ask about.
func (c *Client) recall(ids []int64) (known map[int64]string, missing []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known = map[int64]string{}
	now := time.Now()
	for _, id := range ids {
		if n, ok := c.names[id]; ok && now.Before(n.expires) {
			known[id] = n.text
		} else if !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	return known, missing
}

func (c *Client) keep(answered map[int64]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.names)+len(answered) > maxNames {
		clear(c.names)
	}
	expires := time.Now().Add(nameLife)
	for id, text := range answered {
		c.names[id] = name{text, expires}
	}
}

func (c *Client) ask(ctx context.Context, ids []int64) (map[int64]string, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatInt(id, 10)
	}
	var answer struct {
		Customers []struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
		} `json:"customers"`
	}
	request, err := c.request(ctx, "/customers?ids="+strings.Join(texts, ","))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	status, err := c.get(request, &answer)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, unavailable(fmt.Errorf("it answered %d", status))
	}
	names := map[int64]string{}
	for _, customer := range answer.Customers {
		names[customer.ID] = customer.Name
	}
	return names, nil
}

// Customer is whose session this is; it implements web.Sessions.
func (c *Client) Customer(ctx context.Context, session string) (int64, bool, error) {
	request, err := c.request(ctx, "/me")
	if err != nil {
		return 0, false, err
	}
	request.AddCookie(&http.Cookie{Name: web.SessionCookie, Value: session})
	var me struct {
		CustomerID int64 `json:"customer_id"`
	}
	status, err := c.get(request, &me)
	switch {
	case err != nil:
		return 0, false, err
	case status == http.StatusOK:
		return me.CustomerID, true, nil
	case status == http.StatusUnauthorized:
		return 0, false, nil
	}
	return 0, false, unavailable(fmt.Errorf("it answered %d", status))
}

func (c *Client) request(ctx context.Context, path string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return nil, fmt.Errorf("--monolith-url %q: %w", c.url, err)
	}
	return request, nil
}

// get sends the request and reads the JSON of a 200 into answer.
func (c *Client) get(request *http.Request, answer any) (status int, err error) {
	response, err := c.http.Do(request)
	if err != nil {
		return 0, unavailable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return response.StatusCode, nil
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, maxAnswer)).Decode(answer); err != nil {
		return 0, unavailable(err)
	}
	return response.StatusCode, nil
}

// unavailable is the answer 503 for the caller, with the cause for the log.
func unavailable(cause error) error {
	return fmt.Errorf("ask the monolith: %w: %w", cause, web.Unavailable("customers are unavailable"))
}
