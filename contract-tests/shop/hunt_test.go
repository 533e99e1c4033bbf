package shop_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/shop"
	"stranglerfig/contract-tests/verify"
)

// mirror stands before a real application, keeps its last answer, and puts a
// mutant into it. Provider states pass as they are.
type mirror struct {
	*httptest.Server
	mu     sync.Mutex
	mutant *mutant
	put    bool
	last   compare.Message
	old    map[string][][]byte // bodies by method, kind of path and status
}

func newMirror(t *testing.T, addr string) *mirror {
	t.Helper()
	to, err := url.Parse("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{old: map[string][][]byte{}}
	p := httputil.NewSingleHostReverseProxy(to)
	p.ModifyResponse = m.change
	m.Server = httptest.NewServer(p)
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) change(res *http.Response) error {
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.Request.URL.Path != "/_states" {
		m.mu.Lock()
		answer := compare.Message{Status: res.StatusCode, Header: res.Header.Clone(), Body: body}
		if m.mutant != nil {
			m.put = m.mutant.apply(&answer)
		} else {
			sort := sortOf(res.Request, res.StatusCode)
			m.old[sort] = append(m.old[sort], body)
		}
		m.last = answer
		m.mu.Unlock()
		res.StatusCode, res.Header, body = answer.Status, answer.Header, answer.Body
		res.Status = strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	res.ContentLength = int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

var number = regexp.MustCompile(`\d+`)

func sortOf(r *http.Request, status int) string {
	return r.Method + " " + number.ReplaceAllString(r.URL.Path, "N") + " " + strconv.Itoa(status)
}

func (m *mirror) set(x *mutant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mutant, m.put = x, false
}

func (m *mirror) answered() (compare.Message, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, m.put
}

// hunt is a contract on two sides, one of which mutants are put into.
type hunt struct {
	contract          contract.Contract
	monolith, service *mirror
	header            map[string]string
	unsafe            bool
}

func (h *hunt) verify(t *testing.T, c contract.Contract) verify.Report {
	t.Helper()
	report, err := verify.Run(t.Context(), verify.Options{
		Contract: c, Unsafe: h.unsafe, States: h.unsafe, Concurrency: 1,
		Targets: []verify.Target{{Name: "monolith", BaseURL: h.monolith.URL, Header: h.header}, {Name: "service", BaseURL: h.service.URL, Header: h.header}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// tally counts mutants, and those that were caught.
type tally struct{ put, verify, shadow, either int }

func (h *hunt) run(t *testing.T) (byClass map[string]*tally, missed []string) {
	for n := range 3 { // the same sides without a mutant
		if report := h.verify(t, h.contract); report.Verdict != verify.Pass || report.Failed+report.Unreachable > 0 || report.NotExercised > 0 && h.unsafe {
			t.Fatalf("without a mutant, run %d: %+v", n, report)
		}
	}
	byClass = map[string]*tally{}
	for _, i := range h.contract.Interactions {
		one := h.contract
		one.Interactions = []contract.Interaction{i}
		if report := h.verify(t, one); report.NotExercised > 0 {
			continue
		}
		whole, _ := h.service.answered()
		sort := i.Request.Method + " " + number.ReplaceAllString(i.Request.Path, "N") + " " + strconv.Itoa(whole.Status)
		for _, x := range mutants(whole, h.service.old[sort]) {
			h.service.set(&x)
			report := h.verify(t, one)
			mutated, put := h.service.answered()
			h.service.set(nil)
			if !put {
				continue
			}
			count := byClass[x.class]
			if count == nil {
				count = &tally{}
				byClass[x.class] = count
			}
			count.put++
			seen := report.Interactions[0].Verdict != verify.Evidence
			reads := i.Request.Method == http.MethodGet // others are never mirrored
			reference, _ := h.monolith.answered()
			mirrored := reads && len(compare.Responses(reference, mutated, match.Rules{}, compare.Options{Mode: compare.Exact})) > 0
			if seen {
				count.verify++
			}
			if mirrored {
				count.shadow++
			}
			if seen || mirrored {
				count.either++
				continue
			}
			missed = append(missed, fmt.Sprintf("%s at %s of %s (%s)%s", x.class, x.where, i.Request.Method+" "+i.Request.Path, i.Key, h.why(t, i, x, reference, mutated)))
		}
	}
	return byClass, missed
}

// why explains a miss: rules of the contract free every place that differs, of a
// request that is never mirrored. Anything else is a fault of the comparison.
func (h *hunt) why(t *testing.T, i contract.Interaction, x mutant, reference, mutated compare.Message) string {
	t.Helper()
	var freed []string
	for _, d := range compare.Responses(reference, mutated, match.Rules{}, compare.Options{Mode: compare.Exact}) {
		rest, body := strings.CutPrefix(d.Path, "$.body")
		path, err := match.ParsePath("$" + rest)
		if !body || err != nil || i.Response.Rules.For(path).Empty() {
			t.Errorf("no rule frees %s: %s at %s of %s %s (%s)", d, x.class, x.where, i.Request.Method, i.Request.Path, i.Key)
			continue
		}
		freed = append(freed, i.Response.Rules.For(path).String())
	}
	if len(freed) == 0 || i.Request.Method == http.MethodGet {
		t.Errorf("nothing explains why it was not caught: %s at %s of %s %s (%s)", x.class, x.where, i.Request.Method, i.Request.Path, i.Key)
	}
	return ": a write, and freed by " + strings.Join(freed, ", ")
}

func (h *hunt) report(t *testing.T) {
	t.Helper()
	byClass, missed := h.run(t)
	var sum tally
	for _, class := range slices.Sorted(maps.Keys(byClass)) {
		n := byClass[class]
		t.Logf("%-15s %4d mutants, caught by verify %4d, by the shadow's comparator %4d, by either %4d", class, n.put, n.verify, n.shadow, n.either)
		sum.put, sum.verify, sum.shadow, sum.either = sum.put+n.put, sum.verify+n.verify, sum.shadow+n.shadow, sum.either+n.either
	}
	t.Logf("of %d mutants %d were caught (%.1f %%), %d of them by verify", sum.put, sum.either, 100*float64(sum.either)/float64(sum.put), sum.verify)
	for _, m := range missed {
		t.Log("missed: " + m)
	}
	if sum.put < 100 || float64(sum.either) < 0.95*float64(sum.put) {
		t.Errorf("%d of %d mutants were caught; 95 %% are asked for", sum.either, sum.put)
	}
}

func TestMutantsOfBillingAreCaughtByItsContractOrItsShadow(t *testing.T) {
	w := world(t, shop.Options{Scratch: true})
	h := &hunt{
		contract: load(t, "billing.pact.json"), unsafe: true, header: map[string]string{"Authorization": "Bearer " + shop.Token},
		monolith: newMirror(t, w.Addr.ScratchMonolith), service: newMirror(t, w.Addr.ScratchBilling),
	}
	h.report(t)
}

func TestMutantsOfCatalogAreCaughtByItsContractOrItsShadow(t *testing.T) {
	w := world(t, shop.Options{})
	for _, verb := range []string{"prepare", "copy", "verify"} {
		run(t, w, "data", verb, "catalog")
	}
	h := &hunt{contract: load(t, "catalog.pact.json"), monolith: newMirror(t, w.Addr.Monolith), service: newMirror(t, w.Addr.Catalog)}
	h.report(t)
}

func load(t *testing.T, path string) contract.Contract {
	t.Helper()
	c, err := contract.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
