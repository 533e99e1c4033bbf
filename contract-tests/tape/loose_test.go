package tape_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/tape"
)

// TestWhatAnotherCapabilityMadeUpIsListedAndNotChained: an order's id comes from
// the orders' answers, and a contract of billing asks nobody for orders.
func TestWhatAnotherCapabilityMadeUpIsListedAndNotChained(t *testing.T) {
	s := newSession("a")
	is := func(capability string, e *tape.Exchange) { e.Capability = capability }
	for n := range 3 {
		order, invoice := 70+n, 900+n
		is("orders", s.does("POST /orders", "/orders", `{"lines":[]}`, 201, fmt.Sprintf(`{"id":%d}`, order)))
		is("billing", s.does("POST /invoices", "/invoices", fmt.Sprintf(`{"order_id":%d,"warehouse_id":4}`, order), 201, fmt.Sprintf(`{"id":%d}`, invoice)))
		is("billing", s.does("GET /invoices/{id}", fmt.Sprintf("/invoices/%d", invoice), "", 200, `{"paid":false}`))
	}
	is("billing", s.does("GET /invoices/{id}", "/invoices/5", "", 200, `{"paid":false}`)) // from before the tape, which every contract has
	d := tape.Distill(s.all, tape.Options{Consumer: "web", Provider: "billing", Capability: "billing"})
	if d.Weight != 7 || len(d.Contract.Interactions) != 2 {
		t.Fatalf("%d exchanges count: %+v", d.Weight, d.Contract.Interactions)
	}
	want := []tape.Loose{
		{Route: "POST /invoices", Status: 201, Place: "$.body.order_id", Noun: "order", Times: 3, From: "POST /orders", Capability: "orders"},
		{Route: "POST /invoices", Status: 201, Place: "$.body.warehouse_id", Noun: "warehouse", Times: 3},
	}
	if diff := cmp.Diff(want, d.Loose); diff != "" {
		t.Errorf("not chained (-want +got)\n%s", diff)
	}
	if post, get := of(t, d, "POST /invoices"), of(t, d, "GET /invoices/{id}"); len(post.Chain.Uses) != 0 || len(post.Chain.Captures) != 1 || len(get.Chain.Uses) != 1 {
		t.Errorf("chained are %+v and %+v", post.Chain, get.Chain)
	}
	var own []tape.Exchange
	for _, e := range s.all {
		if e.Capability == "billing" {
			own = append(own, e)
		}
	}
	want[0].From, want[0].Capability = "", ""
	if diff := cmp.Diff(want, tape.Distill(own, tape.Options{Consumer: "web", Provider: "billing"}).Loose); diff != "" {
		t.Errorf("with a tape of billing alone (-want +got)\n%s", diff)
	}
}
