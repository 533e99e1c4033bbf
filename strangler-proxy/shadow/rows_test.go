package shadow_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
)

// rows are a store's, of which each write leaves those that a test says.
type rows struct {
	marks atomic.Int64
	next  atomic.Pointer[[]shadow.Row]
	fails atomic.Bool
}

func (r *rows) Mark(context.Context) error { r.marks.Add(1); return nil }

func (r *rows) Written(_ context.Context, monolith, store []byte) ([]shadow.Row, error) {
	if r.fails.Load() || !strings.HasPrefix(string(monolith), "{") || !strings.HasPrefix(string(store), "{") {
		return nil, errors.New("the database is away")
	}
	return *r.next.Load(), nil
}

// row is found so at the first look, at the second, and so on.
type row struct {
	found []shadow.RowFound
	looks atomic.Int64
	look  func(n int64) // nil: nothing happens at a look
}

func (r *row) Compare(context.Context) (shadow.RowFound, error) {
	n := r.looks.Add(1)
	if r.look != nil {
		r.look(n)
	}
	return r.found[min(int(n), len(r.found))-1], nil
}

func differs(change func(*shadow.RowFound)) shadow.RowFound {
	f := shadow.RowFound{Differences: []compare.Difference{{Path: "$.rows.invoices.status", Kind: compare.Value, Expected: "void", Actual: "paid"}}}
	if change != nil {
		change(&f)
	}
	return f
}

func made(f *shadow.RowFound)  { f.Made = true }
func known(f *shadow.RowFound) { f.Alike = time.Now() }
func moved(f *shadow.RowFound) { f.Made, f.Moved = true, true }

// rowWorld mirrors writes to a store whose rows are compared.
func rowWorld(t *testing.T) (*world, *rows) {
	w, r := &world{t: t}, &rows{}
	w.set(func(o *shadow.Options) {
		isolate(o, w)
		o.Settling = time.Microsecond
		o.Rows = func(string) (shadow.Rows, error) { return r, nil }
	})
	w.obey(func(c *proxy.Capability, routes []route.Route) {
		c.Isolated = true
		for i := range routes {
			routes[i].Owner = route.Owner{Stage: route.Monolith, Share: 100}
		}
	})
	return w, r
}

func (r *rows) leave(all ...shadow.Row) { r.next.Store(&all) }

func TestTheRowsOfAWriteAreHeldAgainstTheMonoliths(t *testing.T) {
	alike, unknown := shadow.RowFound{}, shadow.RowFound{Unknown: true}
	for name, c := range map[string]struct {
		looks     []shadow.RowFound
		want      shadow.RowCount
		different bool
	}{
		"alike":                               {[]shadow.RowFound{alike}, shadow.RowCount{Alike: 1}, false},
		"nobody knows whose":                  {[]shadow.RowFound{unknown}, shadow.RowCount{Unknown: 1}, false},
		"alike once all has arrived":          {[]shadow.RowFound{differs(made), alike}, shadow.RowCount{Alike: 1}, false},
		"made otherwise":                      {[]shadow.RowFound{differs(made)}, shadow.RowCount{Different: 1}, true},
		"changed otherwise, alike before":     {[]shadow.RowFound{differs(known)}, shadow.RowCount{Different: 1}, true},
		"never alike, as far as is known":     {[]shadow.RowFound{differs(nil)}, shadow.RowCount{Skewed: 1}, false},
		"moving on and on":                    {[]shadow.RowFound{differs(made), differs(moved)}, shadow.RowCount{Skewed: 1}, false},
		"moving once, and differing for good": {[]shadow.RowFound{differs(made), differs(moved), differs(made)}, shadow.RowCount{Different: 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := rowWorld(t)
			r.leave(&row{found: c.looks})
			w.post("/invoices", `{}`)
			got := w.until("POST /invoices", judged(1))
			if got.Rows != c.want || (got.Mismatched == 1) != c.different || got.Matched+got.Mismatched != 1 {
				t.Fatalf("%+v", got)
			}
			if c.different {
				d := got.Differences[0]
				if d.Fingerprint != "value $.rows.invoices.status" || d.Difference.Expected != "void" || d.Example != "POST /invoices" {
					t.Errorf("%+v", d)
				}
			}
			w.idle()
			if r.marks.Load() != 1 || w.shadow.Held() != 0 {
				t.Errorf("marked %d times, %d bytes held", r.marks.Load(), w.shadow.Held())
			}
		})
	}
}

func TestRowsProveNothingOnceTheStoreHasMissedAWrite(t *testing.T) {
	w, r := rowWorld(t)
	var looking, missed = make(chan bool), make(chan bool)
	r.leave(&row{found: []shadow.RowFound{differs(func(f *shadow.RowFound) { f.Made, f.Alike = true, time.Now() })}, look: func(n int64) {
		if n == 2 {
			close(looking)
			<-missed
		}
	}})
	w.post("/invoices", `{}`)
	<-looking
	// Longer than what is kept: the store is not sent it.
	answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) { out.Write(make([]byte, 2<<10)) })
	w.post("/either", `{}`)
	w.until("/either", judged(1))
	close(missed)
	if c := w.until("POST /invoices", judged(1)); c.Rows.Skewed != 1 || c.Mismatched != 0 {
		t.Errorf("%+v", c)
	}
}

func TestRowsThatCannotBeLookedAtAreCounted(t *testing.T) {
	w, r := rowWorld(t)
	r.fails.Store(true)
	w.post("/invoices", `{}`)
	if c := w.until("POST /invoices", judged(1)); c.Rows.Failed != 1 || c.Matched != 1 {
		t.Errorf("%+v", c)
	}
	r.fails.Store(false)
	r.leave(&row{found: []shadow.RowFound{differs(made)}})
	says(&w.isolated, `{"total": "1"}`) // the answers differ already
	w.post("/invoices", `{}`)
	if c := w.until("POST /invoices", judged(2)); c.Mismatched != 1 || c.Rows.Different != 0 {
		t.Errorf("%+v", c)
	}
}
