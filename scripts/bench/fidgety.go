package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// fidgety is an application whose answers differ from themselves in most of the
// ways that applications do, and whose data changes now and then. It stands for
// both sides: whatever a comparison of it with itself finds is a false alarm.
type fidgety struct {
	mu      sync.Mutex
	random  *rand.Rand
	amounts []int    // of invoices, in cents
	planted bool     // wrong about one invoice
	of      *fidgety // whose data and chance it shares, nil for its own
}

// invoiced is how many invoices there are.
const invoiced = 20

func newFidgety(seed, run uint64) *fidgety {
	f := &fidgety{random: rand.New(rand.NewPCG(seed, run+1<<32)), amounts: make([]int, invoiced)}
	for i := range f.amounts {
		f.amounts[i] = 1000 + f.random.IntN(100_000)
	}
	return f
}

// with is the same application, which may be wrong about one invoice.
func (f *fidgety) with(planted bool) http.Handler { return &fidgety{of: f, planted: planted} }

// change changes an invoice.
func (f *fidgety) change() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.amounts[f.random.IntN(invoiced)] = 1000 + f.random.IntN(100_000)
}

// fidgetyRoute is one of its routes.
type fidgetyRoute struct {
	id     string
	path   func(*rand.Rand) string
	answer func(f *fidgety, path string, out http.ResponseWriter) string
}

func fixed(path string) func(*rand.Rand) string { return func(*rand.Rand) string { return path } }

var fidgetyRoutes = []fidgetyRoute{
	{"GET /invoices/{id}", func(r *rand.Rand) string { return fmt.Sprintf("/invoices/%d", r.IntN(invoiced)) }, (*fidgety).invoice},
	{"GET /invoices", fixed("/invoices"), (*fidgety).list},
	{"GET /report", fixed("/report"), (*fidgety).report},
	{"GET /page", fixed("/page"), (*fidgety).page},
	{"GET /session", fixed("/session"), (*fidgety).session},
	{"GET /terms", fixed("/terms"), (*fidgety).terms},
}

func (f *fidgety) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	data := f
	if f.of != nil {
		data = f.of
	}
	data.mu.Lock()
	text := ""
	for _, known := range fidgetyRoutes {
		prefix, _, varies := strings.Cut(strings.TrimPrefix(known.id, "GET "), "{")
		if r.URL.Path == prefix || varies && strings.HasPrefix(r.URL.Path, prefix) {
			text = known.answer(data, r.URL.Path, out)
			break
		}
	}
	if f.planted && r.URL.Path == "/invoices/7" {
		text = strings.Replace(text, "EUR", "USD", 1)
	}
	data.mu.Unlock()
	fmt.Fprint(out, text)
}

func (f *fidgety) uuid() string {
	r := f.random
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xfff, r.Uint32()&0xfff, r.Uint64()&0xffffffffffff)
}

// json writes an object of members, as they are given.
func (f *fidgety) json(out http.ResponseWriter, members map[string]any) string {
	out.Header().Set("Content-Type", "application/json")
	raw, err := json.Marshal(members)
	if err != nil {
		return err.Error() // which would be an alarm
	}
	return string(raw)
}

// invoice has a moment, an identifier of the answer, the name of a node and a
// duration.
func (f *fidgety) invoice(path string, out http.ResponseWriter) string {
	var id int
	fmt.Sscanf(path, "/invoices/%d", &id)
	out.Header().Set("ETag", fmt.Sprintf(`W/"%016x"`, f.random.Uint64()))
	return f.json(out, map[string]any{
		"id": id, "amount": f.amounts[id%invoiced], "currency": "EUR", "as_of": time.Now().UTC().Format(time.RFC3339Nano),
		"trace": f.uuid(), "node": "web-" + string(rune('a'+f.random.IntN(3))), "took_us": 100 + f.random.IntN(5000),
	})
}

// list is a list in no order.
func (f *fidgety) list(_ string, out http.ResponseWriter) string {
	var all []any
	for _, id := range f.random.Perm(8) {
		all = append(all, map[string]any{"id": id, "amount": f.amounts[id], "currency": "EUR"})
	}
	return f.json(out, map[string]any{"invoices": all, "load": float64(f.random.IntN(1000)) / 8, "cached": f.random.IntN(2) == 0})
}

// report is XML with the time of the answer in an attribute.
func (f *fidgety) report(_ string, out http.ResponseWriter) string {
	out.Header().Set("Content-Type", "application/xml")
	return fmt.Sprintf(`<report currency="EUR" made="%s"><invoice id="3">%d</invoice></report>`, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), f.amounts[3])
}

// page is HTML that says how long it took.
func (f *fidgety) page(_ string, out http.ResponseWriter) string {
	out.Header().Set("Content-Type", "text/html; charset=utf-8")
	return fmt.Sprintf("<!doctype html><html><head><title>Invoice</title></head><body><h1>%d EUR</h1><footer>rendered in %d ms</footer></body></html>", f.amounts[5], f.random.IntN(900)+1)
}

// session has a token, and something that is null in half of the answers.
func (f *fidgety) session(_ string, out http.ResponseWriter) string {
	var last any
	if f.random.IntN(2) == 0 {
		last = "INV-" + fmt.Sprintf("%06d", f.random.IntN(1_000_000))
	}
	return f.json(out, map[string]any{"currency": "EUR", "nonce": fmt.Sprintf("%032x", f.random.Uint64()), "last_seen": last})
}

// terms never change.
func (f *fidgety) terms(_ string, out http.ResponseWriter) string {
	out.Header().Set("Content-Type", "text/plain; charset=utf-8")
	return "Invoices are due within 30 days, in EUR.\n"
}
