package orders

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"stranglerfig/monolith/billing"
	"stranglerfig/monolith/money"
	"stranglerfig/monolith/web"
)

// Billing is the seam behind which orders are invoiced. Asking twice for the
// same order answers the same invoice.
type Billing interface {
	Issue(ctx context.Context, issue Issue) (invoiceID int64, err error)
	// Close gives up what is kept open between two orders.
	Close()
}

// Issue is the wish for an order's invoice.
type Issue struct {
	OrderID    int64
	CustomerID int64
	Amount     money.Cents
}

// Key is the idempotency key under which an order is invoiced, wherever
// billing lives at the time.
func (i Issue) Key() string { return "order-" + strconv.FormatInt(i.OrderID, 10) }

// Body is the request for the invoice. It is the same on every way to
// billing, because the key's fingerprint depends on it.
func (i Issue) Body() ([]byte, error) {
	return json.Marshal(struct {
		CustomerID int64       `json:"customer_id"`
		Amount     money.Cents `json:"amount"`
		OrderID    int64       `json:"order_id"`
	}{i.CustomerID, i.Amount, i.OrderID})
}

// Local issues invoices in this process.
type Local struct {
	Service *billing.Service
}

// Issue creates the invoice in a transaction of its own.
func (l Local) Issue(ctx context.Context, issue Issue) (int64, error) {
	body, err := issue.Body()
	if err != nil {
		return 0, err
	}
	keyed := web.Keyed{Key: issue.Key(), Fingerprint: web.Fingerprint(http.MethodPost, "/invoices", body)}
	answer, err := l.Service.Create(ctx, keyed, billing.NewInvoice{
		CustomerID: issue.CustomerID, OrderID: &issue.OrderID, Amount: issue.Amount})
	if err != nil {
		return 0, err
	}
	return billing.IDOf(answer)
}

// Close has nothing to do.
func (Local) Close() {}

// remoteTimeout limits one request for an invoice. It outlasts a database's
// own waiting time for a lock.
const remoteTimeout = 7 * time.Second

// idleConnections is how many connections are kept for the next request.
const idleConnections = 32

// Remote issues invoices by HTTP.
type Remote struct {
	url    string
	token  string
	client *http.Client
}

// NewRemote asks the billing service, or a proxy before it, at url.
func NewRemote(url, token string) *Remote {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = idleConnections
	return &Remote{url: url, token: token, client: &http.Client{Timeout: remoteTimeout, Transport: transport}}
}

// Close gives up the connections kept for the next request.
func (r *Remote) Close() { r.client.CloseIdleConnections() }

// Issue asks for the invoice; any answer but 201 is an error.
func (r *Remote) Issue(ctx context.Context, issue Issue) (int64, error) {
	body, err := issue.Body()
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/invoices", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	request.Header.Set("Content-Type", web.TypeJSON)
	request.Header.Set("Idempotency-Key", issue.Key())
	response, err := r.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, web.MaxBody))
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("billing at %s answered %s: %.200s", r.url, response.Status, answer)
	}
	return billing.IDOf(web.Answer{Body: answer})
}
