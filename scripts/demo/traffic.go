package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/contract-tests/history"
	"stranglerfig/contract-tests/shop"
)

const (
	shoppers   = 4 // browse, log in, order and pay as customers
	clerks     = 6 // issue invoices and book payments over the API
	readers    = 4 // look at everything
	tryTimeout = 8 * time.Second
	giveUp     = 60 * time.Second // of a write whose outcome stays unknown
)

// traffic is the shop's clients at work. Every write carries an idempotency
// key of its own and is repeated with it until its outcome is known.
type traffic struct {
	w    *shop.World
	size int
	log  *history.Log
	wg   sync.WaitGroup
	end  context.CancelFunc

	requests atomic.Int64
	seq      atomic.Int64
	fault    atomic.Bool // one is injected at the moment

	mu       sync.Mutex
	trouble  map[string]int // what clients saw that they should not have
	faulted  map[string]int // the same while a fault was injected
	tries    []try          // of billing's writes
	products int
}

// try is one sending of a write to billing.
type try struct{ begin, end time.Time }

func newTraffic(w *shop.World, size int) *traffic {
	return &traffic{w: w, size: size, log: history.New(time.Now), trouble: map[string]int{}, faulted: map[string]int{}, products: size/20 + 10}
}

// start lets the clients work until stop.
func (t *traffic) start(ctx context.Context) {
	ctx, t.end = context.WithCancel(ctx)
	for n := range shoppers {
		t.wg.Go(func() { t.shop(ctx, n+1) })
	}
	for range clerks {
		t.wg.Go(func() { t.clerk(ctx) })
	}
	for range readers {
		t.wg.Go(func() { t.read(ctx) })
	}
}

// stop waits until every client knows what became of its last write.
func (t *traffic) stop() {
	if t.end != nil {
		t.end()
	}
	t.wg.Wait()
}

// client is one browser or program.
type client struct {
	t      *traffic
	http   *http.Client
	bearer bool
	key    string // the session of a program, which makes it sticky
}

func (t *traffic) client(bearer bool) *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // only a bad public suffix list makes it fail
	}
	return &client{t: t, bearer: bearer, key: fmt.Sprintf("program-%d", t.seq.Add(1)), http: &http.Client{
		Jar: jar, Timeout: tryTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 4},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what a client got; status 0 is none.
type answer struct {
	status int
	body   []byte
}

// send sends one request and counts it.
func (c *client) send(method, path, body string, headers ...string) answer {
	req, err := http.NewRequest(method, "http://"+c.t.w.Addr.Proxy+path, strings.NewReader(body))
	if err != nil {
		panic(err) // the paths are ours
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.bearer {
		req.Header.Set("Authorization", "Bearer "+shop.Token)
		req.AddCookie(&http.Cookie{Name: "shop_session", Value: c.key})
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	c.t.requests.Add(1)
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}
	}
	return answer{res.StatusCode, got}
}

// get reads, and notes trouble: anything but a 2xx or a redirect.
func (c *client) get(path string) answer {
	a := c.send("GET", path, "")
	if a.status == 0 || a.status >= 400 {
		c.t.note(fmt.Sprintf("GET %s: %d", pattern(path), a.status))
	}
	return a
}

// write performs one write: it is repeated with the same key until its outcome
// is known. kind is the set in which it must be found in the end.
func (c *client) write(kind, path, body, key string) answer {
	done := c.t.log.Begin(kind, key)
	deadline := time.Now().Add(giveUp)
	for {
		begin := time.Now()
		a := c.send("POST", path, body, "Idempotency-Key", key)
		if kind != "order" {
			c.t.tried(begin)
		}
		outcome := history.Classify(a.status)
		if outcome == history.OK || outcome == history.Failed && a.status != http.StatusTooManyRequests {
			if outcome == history.Failed {
				c.t.note(fmt.Sprintf("POST %s: %d %s", pattern(path), a.status, a.body))
			}
			done(outcome, fmt.Sprint(a.status))
			return a
		}
		c.t.note(fmt.Sprintf("POST %s: %d", pattern(path), a.status))
		if time.Now().After(deadline) {
			done(history.Unknown, fmt.Sprint(a.status))
			return a
		}
		rest(context.Background(), 100*time.Millisecond)
	}
}

func (t *traffic) tried(begin time.Time) {
	t.mu.Lock()
	t.tries = append(t.tries, try{begin, time.Now()})
	t.mu.Unlock()
}

func (t *traffic) note(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault.Load() {
		t.faulted[what]++
	} else {
		t.trouble[what]++
	}
}

// pattern replaces ids in a path, so that trouble adds up.
func pattern(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

func (t *traffic) key(kind string) string { return fmt.Sprintf("demo-%s-%06d", kind, t.seq.Add(1)) }

// shop is one customer: logs in, browses, orders, pays.
func (t *traffic) shop(ctx context.Context, customer int) {
	c := t.client(false)
	form := url.Values{"email": {fmt.Sprintf("customer%d@example.com", customer)}, "password": {fmt.Sprintf("secret%d", customer)}}
	for ctx.Err() == nil {
		if a := c.send("POST", "/login", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"); a.status != http.StatusSeeOther {
			t.note(fmt.Sprintf("POST /login: %d", a.status))
			rest(ctx, 200*time.Millisecond)
			continue
		}
		for range 20 {
			if ctx.Err() != nil {
				return
			}
			c.visit(ctx, customer)
		}
	}
}

// visit is one round of a customer through the shop.
func (c *client) visit(ctx context.Context, customer int) {
	product := 1 + rand.IntN(c.t.products)
	c.get("/products?page=1&per_page=10")
	c.get(fmt.Sprintf("/products/%d/page", product))
	rest(ctx, 20*time.Millisecond)
	placed := c.write("order", "/orders", fmt.Sprintf(`{"items":[{"product_id":%d,"qty":1}]}`, product), c.t.key("order"))
	var order struct {
		ID        int64  `json:"id"`
		InvoiceID *int64 `json:"invoice_id"`
	}
	if placed.status != http.StatusCreated || json.Unmarshal(placed.body, &order) != nil || order.InvoiceID == nil {
		return
	}
	c.pay(*order.InvoiceID)
	c.get(fmt.Sprintf("/orders/%d/page", order.ID))
	rest(ctx, 100*time.Millisecond)
}

// pay pays an invoice in full and sees that it is paid: whoever answers, a
// client reads what it has written.
func (c *client) pay(id int64) {
	var invoice struct {
		Amount float64 `json:"amount"`
		State  int     `json:"st"`
	}
	path := fmt.Sprintf("/invoices/%d", id)
	if a := c.get(path); a.status != http.StatusOK || json.Unmarshal(a.body, &invoice) != nil || invoice.State != 1 {
		return
	}
	key := c.t.key("payment")
	if a := c.write("payment", path+"/payments", fmt.Sprintf(`{"amount":%.2f,"ref":%q}`, invoice.Amount, key), key); a.status != http.StatusCreated {
		return
	}
	if a := c.get(path); a.status == http.StatusOK && !bytes.Contains(a.body, []byte(`"st":2`)) {
		c.t.note("GET " + pattern(path) + ": a client did not see its own payment")
	}
}

// clerk issues invoices and books payments, in parts.
func (t *traffic) clerk(ctx context.Context) {
	c := t.client(true)
	for ctx.Err() == nil {
		key := t.key("invoice")
		a := c.write("invoice", "/invoices", fmt.Sprintf(`{"customer_id":%d,"amount":%d.50,"note":%q}`, 1+rand.IntN(shoppers), 10+rand.IntN(90), key), key)
		var invoice struct {
			ID int64 `json:"id"`
		}
		if a.status != http.StatusCreated || json.Unmarshal(a.body, &invoice) != nil {
			rest(ctx, 50*time.Millisecond)
			continue
		}
		for range 2 {
			key := t.key("payment")
			c.write("payment", fmt.Sprintf("/invoices/%d/payments", invoice.ID), fmt.Sprintf(`{"amount":1.25,"ref":%q}`, key), key)
		}
		c.get(fmt.Sprintf("/invoices/%d", invoice.ID))
		rest(ctx, 200*time.Millisecond)
	}
}

// read looks at every read route. Its pages of invoices are of drafts and void
// ones, which no client here adds to: so every recording sees the same of them,
// and so does the pair, which holds the same made-up invoices.
func (t *traffic) read(ctx context.Context) {
	c := t.client(true)
	for n := 0; ctx.Err() == nil; n++ {
		invoice, product := 1+rand.IntN(t.size), 1+rand.IntN(t.products)
		paths := []string{
			fmt.Sprintf("/invoices/%d", invoice), fmt.Sprintf("/invoices/%d/page", invoice), "/invoices?status=3&per_page=5&page=2", "/invoices?status=0&per_page=5",
			fmt.Sprintf("/products/%d", product), fmt.Sprintf("/products/%d/page", product), "/products?per_page=5&page=2", "/invoices.csv", "/products.csv", fmt.Sprintf("/products/%d/image", (product-1)/10*10+1),
		}
		c.get(paths[n%len(paths)])
		rest(ctx, 8*time.Millisecond)
	}
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
