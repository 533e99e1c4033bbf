package shop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
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
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/shop"
	"stranglerfig/contract-tests/verify"
)

// mutant is a fault that is put into an answer. It reports false where the
// answer has nothing to put it into.
type mutant struct {
	class, where string
	apply        func(m *compare.Message) bool
}

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

// mutants lists the faults that an answer has room for.
func mutants(answer compare.Message, old [][]byte) []mutant {
	all := []mutant{{"wrong status", "$.status", func(m *compare.Message) bool {
		m.Status = map[int]int{200: 201, 201: 200, 404: 410, 409: 422, 422: 400}[m.Status]
		return m.Status != 0
	}}}
	for _, name := range []string{"Content-Type", "Location", "Etag", "Cache-Control", "Content-Disposition"} {
		if http.Header(answer.Header).Get(name) == "" {
			continue
		}
		all = append(all, mutant{"lost header", "$.header." + name, func(m *compare.Message) bool {
			delete(m.Header, name)
			return true
		}})
	}
	for _, body := range old {
		if !bytes.Equal(body, answer.Body) {
			all = append(all, mutant{"stale value", "$.body", func(m *compare.Message) bool {
				before := m.Body
				m.Body = body
				return !bytes.Equal(before, body)
			}})
			break
		}
	}
	var document any
	if d := decoder(answer.Body); d.Decode(&document) == nil && http.Header(answer.Header).Get("Content-Type") == "application/json" {
		return append(all, inJSON(document)...)
	}
	return append(all, inText()...)
}

func decoder(body []byte) *json.Decoder {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return d
}

// leaf is a place in a document, with what it is reached by.
type leaf struct {
	keys  []any
	value any
}

func (l leaf) String() string {
	path := "$.body"
	for _, key := range l.keys {
		if n, ok := key.(int); ok {
			path += fmt.Sprintf("[%d]", n)
		} else {
			path += fmt.Sprintf(".%v", key)
		}
	}
	return path
}

// leaves lists every place of a document, of lists the first two elements.
func leaves(keys []any, v any) []leaf {
	all := []leaf{{keys, v}}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, leaves(append(slices.Clone(keys), name), v[name])...)
		}
	case []any:
		for n, element := range v[:min(2, len(v))] {
			all = append(all, leaves(append(slices.Clone(keys), n), element)...)
		}
	}
	return all
}

const clock = "2006-01-02 15:04:05"

// inJSON lists the faults of each place of a document.
func inJSON(document any) []mutant {
	var all []mutant
	add := func(class string, l leaf, change func(v any) (any, bool)) {
		if _, ok := change(l.value); ok {
			all = append(all, mutant{class, l.String(), func(m *compare.Message) bool { return edit(m, l.keys, change) }})
		}
	}
	for _, l := range leaves(nil, document) {
		if len(l.keys) > 0 {
			if _, member := l.keys[len(l.keys)-1].(string); member {
				all = append(all, mutant{"dropped field", l.String(), func(m *compare.Message) bool { return drop(m, l.keys) }})
			}
		}
		add("wrong type", l, func(v any) (any, bool) {
			switch v := v.(type) {
			case json.Number:
				return v.String(), true
			case string:
				return 7, true
			case bool:
				return fmt.Sprint(v), true
			}
			return nil, false
		})
		add("off by one", l, func(v any) (any, bool) {
			n, ok := v.(json.Number)
			whole, err := n.Int64()
			return whole + 1, ok && err == nil
		})
		add("rounding", l, func(v any) (any, bool) {
			n, ok := v.(json.Number)
			f, err := n.Float64()
			return math.Round(f), ok && err == nil && math.Round(f) != f
		})
		add("timezone slip", l, func(v any) (any, bool) {
			text, _ := v.(string)
			at, err := time.Parse(clock, text)
			return at.Add(time.Hour).Format(clock), err == nil
		})
		add("changed order", l, func(v any) (any, bool) {
			list, _ := v.([]any)
			if len(list) < 2 {
				return nil, false
			}
			list = slices.Clone(list)
			list[0], list[1] = list[1], list[0]
			return list, true
		})
		add("truncated page", l, func(v any) (any, bool) {
			list, _ := v.([]any)
			return list[:max(0, len(list)-1)], len(list) > 0
		})
	}
	return all
}

func edit(m *compare.Message, keys []any, change func(v any) (any, bool)) bool {
	var document any
	if decoder(m.Body).Decode(&document) != nil {
		return false
	}
	changed, ok := at(document, keys, func(v any) (any, bool) { return change(v) })
	if !ok {
		return false
	}
	before := m.Body
	m.Body, _ = json.Marshal(changed)
	return !bytes.Equal(before, m.Body)
}

// at replaces the value at a place; it reports false where there is none.
func at(v any, keys []any, with func(v any) (any, bool)) (any, bool) {
	if len(keys) == 0 {
		return with(v)
	}
	switch key := keys[0].(type) {
	case string:
		object, _ := v.(map[string]any)
		below, has := object[key]
		changed, ok := at(below, keys[1:], with)
		if !has || !ok {
			return v, false
		}
		object[key] = changed
	case int:
		list, _ := v.([]any)
		if key >= len(list) {
			return v, false
		}
		changed, ok := at(list[key], keys[1:], with)
		if !ok {
			return v, false
		}
		list[key] = changed
	}
	return v, true
}

func drop(m *compare.Message, keys []any) bool {
	last := keys[len(keys)-1].(string)
	return edit(m, keys[:len(keys)-1], func(v any) (any, bool) {
		object, ok := v.(map[string]any)
		if _, has := object[last]; !ok || !has {
			return v, false
		}
		delete(object, last)
		return object, true
	})
}

// inText lists the faults of a page or a table.
func inText() []mutant {
	replace := func(class, what string, with func(found []byte) []byte) mutant {
		pattern := regexp.MustCompile(what)
		return mutant{class, "$.body", func(m *compare.Message) bool {
			before, done := m.Body, false
			m.Body = pattern.ReplaceAllFunc(m.Body, func(found []byte) []byte {
				if done {
					return found
				}
				done = true
				return with(found)
			})
			return !bytes.Equal(before, m.Body)
		}}
	}
	return []mutant{
		replace("changed order", `(?s)<td[^>]*>[^<]*</td>\s*<td[^>]*>[^<]*</td>`, func(found []byte) []byte {
			cells := regexp.MustCompile(`(?s)<td[^>]*>[^<]*</td>`).FindAll(found, -1)
			return append(slices.Clone(cells[1]), cells[0]...)
		}),
		replace("dropped field", `(?s)<td[^>]*>.*?</td>|,[^,\n]*`, func([]byte) []byte { return nil }),
		replace("off by one", `\d+\b`, func(found []byte) []byte {
			n, _ := strconv.Atoi(string(found))
			return []byte(strconv.Itoa(n + 1))
		}),
		replace("rounding", `\d+\.\d\d\b`, func(found []byte) []byte {
			f, _ := strconv.ParseFloat(string(found), 64)
			return fmt.Appendf(nil, "%.0f", f)
		}),
		replace("timezone slip", `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, func(found []byte) []byte {
			at, _ := time.Parse(clock, string(found))
			return []byte(at.Add(time.Hour).Format(clock))
		}),
		{"truncated page", "$.body", func(m *compare.Message) bool {
			end := bytes.TrimRight(m.Body, "\n")
			if html := bytes.Index(end, []byte("</html>")); html > 0 { // the end of a page is markup only
				end = end[:len(end)/2]
			}
			cut := bytes.LastIndexByte(end, '\n')
			if cut < 1 {
				return false
			}
			m.Body = m.Body[:cut+1]
			return true
		}},
		{"changed order", "$.body", func(m *compare.Message) bool {
			lines := bytes.SplitAfter(m.Body, []byte("\n"))
			if len(lines) < 4 || bytes.Equal(lines[1], lines[2]) || bytes.Contains(m.Body, []byte("<html")) {
				return false
			}
			lines[1], lines[2] = lines[2], lines[1]
			m.Body = bytes.Join(lines, nil)
			return true
		}},
	}
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
