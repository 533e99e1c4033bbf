package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// loadHost is the host that clients ask for.
const loadHost = "shop.example.com"

// targets bounds how many different requests are sent in turn.
const targets = 1000

// phaseLimit bounds how long a phase of a load may take beyond its pace; what
// has not been answered then is an error.
const phaseLimit = 2 * time.Minute

// load is what clients ask of a proxy in one round.
type load struct {
	Addr        string
	Pid         int    // of the proxy, whose descendants count as its processors
	Trusted     string // file with the certificate that the proxy shows; empty: clear text
	Connections int
	Warmup      int           // requests before those that count
	Requests    int           // that count
	Rate        float64       // requests per second of all connections; 0: each sends the next when it has its answer
	Routes      int           // requests are spread over so many routes
	Upload      int           // bytes sent with each request
	Answer      int           // bytes that each answer's body has
	Idle        []int         // so many connections are opened, used once and left idle instead
	Calm        time.Duration // over which memory is looked at then
}

// outcome is what a round found.
type outcome struct {
	Answered int            // requests answered as they should be
	Took     time.Duration  // for all of them
	CPU      time.Duration  // of the proxy
	P50, P99 time.Duration  // until an answer was there whole
	Errors   map[string]int // requests that were not, by what went wrong
	Ended    int            // answers that were good and ended their connection
	PerIdle  []float64      // bytes that each idle connection costs, for each number of them
	Problem  string         // why the round came to no end; empty: it did
}

// loadStep is one round. It tells one row when what counts begins.
func loadStep(ctx context.Context, s step, tell func(rows int64)) (result, error) {
	d, err := newDriver(*s.Load)
	if err != nil {
		return result{}, err
	}
	defer d.close()
	measure := d.measure
	if len(s.Load.Idle) > 0 {
		measure = d.idle
	}
	found, err := measure(ctx, tell)
	if err != nil {
		found.Problem = err.Error()
	}
	return result{Load: &found}, nil
}

// driver sends a load.
type driver struct {
	load     load
	tls      *tls.Config // nil: clear text
	requests [][]byte
	body     []byte
	clients  []*client
}

func newDriver(l load) (*driver, error) {
	d := &driver{load: l, body: bytes.Repeat([]byte("x"), l.Upload)}
	if l.Trusted != "" {
		pem, err := os.ReadFile(l.Trusted)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		d.tls = &tls.Config{RootCAs: roots, ServerName: loadHost}
	}
	n := min(l.Routes, targets)
	for i := range n {
		d.requests = append(d.requests, requestFor(routePath(i*l.Routes/n), l.Upload))
	}
	for i := range l.Connections {
		d.clients = append(d.clients, &client{driver: d, next: i * n / l.Connections, buffer: wireBuffer})
	}
	return d, nil
}

func (d *driver) close() {
	for _, c := range d.clients {
		c.hangUp()
	}
}

// requestFor is what a browser's script might send.
func requestFor(path string, upload int) []byte {
	method, length := "GET", ""
	if upload > 0 {
		method, length = "POST", "Content-Type: application/octet-stream\r\nContent-Length: "+strconv.Itoa(upload)+"\r\n"
	}
	return []byte(method + " " + path + "?page=2&sort=number HTTP/1.1\r\n" +
		"Host: " + loadHost + "\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: application/json\r\n" +
		"Accept-Language: en-GB,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate\r\n" +
		"Cookie: session=8d1f0c7be0a14f6f9a4b53c2; theme=light\r\n" +
		length + "\r\n")
}

// measure warms the proxy up and then measures.
func (d *driver) measure(ctx context.Context, tell func(rows int64)) (outcome, error) {
	if _, err := d.phase(ctx, d.load.Warmup); err != nil {
		return outcome{}, err
	}
	failed := d.failures()
	for _, c := range d.clients {
		c.latencies = c.latencies[:0]
	}
	tell(1)
	before, err := processorsOf(d.load.Pid)
	if err != nil {
		return outcome{}, err
	}
	took, err := d.phase(ctx, d.load.Requests)
	if err != nil {
		return outcome{}, err
	}
	after, err := processorsOf(d.load.Pid)
	if err != nil {
		return outcome{}, err
	}
	used, err := after.since(before)
	if err != nil {
		return outcome{}, err
	}
	return d.found(took, used, failed), nil
}

// found puts together what the clients saw, and what had failed before.
func (d *driver) found(took, used time.Duration, failed map[string]int) outcome {
	var all []time.Duration
	ended := 0
	for _, c := range d.clients {
		all = append(all, c.latencies...)
		ended += c.ended
	}
	slices.Sort(all)
	for what, n := range d.failures() {
		failed[what] += n
	}
	return outcome{
		Answered: len(all), Took: took, CPU: used, Errors: failed, Ended: ended,
		P50: quantile(all, 0.50), P99: quantile(all, 0.99),
	}
}

// failures takes from the clients what went wrong.
func (d *driver) failures() map[string]int {
	all := map[string]int{}
	for _, c := range d.clients {
		for what, n := range c.failed {
			all[what] += n
		}
		c.failed = nil
	}
	return all
}

// quantile of sorted values: the least that so large a share of them does not
// exceed; 0 where there are none.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// phase lets all clients together send so many requests.
func (d *driver) phase(ctx context.Context, requests int) (time.Duration, error) {
	limit := phaseLimit
	if d.load.Rate > 0 {
		limit += time.Duration(float64(requests) / d.load.Rate * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(requests))
	begun := time.Now()
	var working sync.WaitGroup
	for i, c := range d.clients {
		working.Go(func() { c.work(ctx, &left, d.pace(begun, i)) })
	}
	working.Wait()
	if ctx.Err() != nil {
		return 0, fmt.Errorf("send %d requests within %s: %w (so far %v)", requests, limit, ctx.Err(), d.failures())
	}
	return time.Since(begun), nil
}

// pace says when a client sends its requests.
type pace struct {
	next  time.Time
	every time.Duration // 0: at once
}

// pace spreads the requests of all clients evenly over time.
func (d *driver) pace(begun time.Time, client int) pace {
	if d.load.Rate == 0 {
		return pace{}
	}
	every := time.Duration(float64(time.Second) * float64(len(d.clients)) / d.load.Rate)
	return pace{next: begun.Add(every * time.Duration(client) / time.Duration(len(d.clients))), every: every}
}

// wait waits until the next request is due and returns from when its latency
// counts: from when it should have been sent, where the client is late because
// the answer before was. That a sleep ended late is not the proxy's doing.
func (p *pace) wait() time.Time {
	if p.every == 0 {
		return time.Now()
	}
	due := p.next
	p.next = due.Add(p.every)
	early := time.Until(due)
	if early <= 0 {
		return due
	}
	time.Sleep(early)
	return time.Now()
}

// client is one client with its connection.
type client struct {
	driver    *driver
	next      int   // of the requests, to send
	buffer    int   // bytes
	wire      *wire // nil: not connected
	latencies []time.Duration
	ended     int // answers that ended their connection
	failed    map[string]int
}

// work sends requests while any are left and ctx, which has a deadline, admits.
func (c *client) work(ctx context.Context, left *atomic.Int64, p pace) {
	if c.wire != nil {
		c.endBy(ctx)
	}
	for left.Add(-1) >= 0 && ctx.Err() == nil {
		begun := p.wait()
		if err := c.exchange(ctx); err != nil {
			c.fail(err)
			continue
		}
		c.latencies = append(c.latencies, time.Since(begun))
	}
}

// exchange sends the next request and reads its answer.
func (c *client) exchange(ctx context.Context) error {
	if c.wire == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	request := c.driver.requests[c.next]
	c.next = (c.next + 1) % len(c.driver.requests)
	if err := c.send(request); err != nil {
		return err
	}
	return c.receive()
}

func (c *client) send(request []byte) error {
	if len(c.driver.body) == 0 {
		_, err := c.wire.Write(request)
		return err
	}
	message := net.Buffers{request, c.driver.body}
	_, err := message.WriteTo(c.wire.Conn)
	return err
}

// receive reads an answer and holds it against what it should be.
func (c *client) receive() error {
	head, err := c.wire.head()
	if errors.Is(err, io.EOF) {
		return errors.New("the connection was closed instead of an answer")
	} else if err != nil {
		return err
	}
	if status := statusOf(head); status != 200 {
		return fmt.Errorf("status %d", status)
	}
	length, known := contentLength(head)
	if !known || length != int64(c.driver.load.Answer) {
		return fmt.Errorf("an answer of %d bytes instead of %d", length, c.driver.load.Answer)
	}
	ends := closes(head)
	if err := c.wire.body(length, nil); err != nil {
		return err
	}
	if ends {
		c.ended++
		c.hangUp()
	}
	return nil
}

// endBy makes the connection fail when the phase must end.
func (c *client) endBy(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		c.wire.SetDeadline(deadline) // which fails where the connection has, and the next write says so
	}
}

// dial connects.
func (c *client) dial(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.driver.load.Addr)
	if err != nil {
		return err
	}
	if c.driver.tls != nil {
		conn = tls.Client(conn, c.driver.tls)
	}
	c.wire = newWire(conn, c.buffer)
	c.endBy(ctx)
	return nil
}

// fail counts what went wrong and gives the connection up: what else comes on
// it might belong to the request that failed.
func (c *client) fail(err error) {
	if c.failed == nil {
		c.failed = map[string]int{}
	}
	c.failed[kindOf(err)]++
	c.hangUp()
}

func (c *client) hangUp() {
	if c.wire != nil {
		c.wire.Close()
		c.wire = nil
	}
}

// kindOf is an error without the addresses that make each a kind of its own.
func kindOf(err error) string {
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Op + ": " + cmp.Or(network.Err, err).Error()
	}
	return err.Error()
}
