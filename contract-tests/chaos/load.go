package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"stranglerfig/contract-tests/history"
)

// load is the clients of an experiment at work.
type load struct {
	r        *run
	fixtures []string
	wg       sync.WaitGroup

	mu       sync.Mutex
	fault    Fault // the one that is there now
	reads    int
	writes   int
	affected int
	n        int                 // operations begun, for keys and fixtures
	seen     map[string]int      // "read 200" -> how often
	surprise map[string]surprise // statuses that were not allowed
}

// surprise is how often something was seen that is not allowed, and what the
// first such answer said: the words tell whose answer it was.
type surprise struct {
	times int
	words string
}

// surpriseWords bounds, in bytes, what is quoted of such an answer.
const surpriseWords = 200

func newLoad(r *run, fixtures []string) *load {
	return &load{r: r, fixtures: fixtures, seen: map[string]int{}, surprise: map[string]surprise{}}
}

// start lets the clients work until the returned function is called, which
// waits until each has an answer it can rely on.
func (l *load) start(ctx context.Context) (stop func()) {
	working, end := context.WithCancel(ctx)
	for kind, op := range map[string]*Operation{"read": l.r.e.Operations.Read, "write": l.r.e.Operations.Write} {
		if op == nil {
			continue
		}
		for range op.Clients {
			l.wg.Go(func() {
				for working.Err() == nil {
					l.operate(ctx, kind, op)
					pause(working, 20*time.Millisecond)
				}
			})
		}
	}
	return func() { end(); l.wg.Wait() }
}

// during says which fault is there from now on, and returns what clients did
// since the last call.
func (l *load) during(f Fault) (reads, writes, affected int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reads, writes, affected = l.reads, l.writes, l.affected
	l.reads, l.writes, l.affected, l.fault = 0, 0, 0, f
	return reads, writes, affected
}

// operate performs one operation. A write whose outcome is unknown is sent
// again with the same key until the outcome is known or the retries are used
// up, as a careful client does.
func (l *load) operate(ctx context.Context, kind string, op *Operation) {
	l.mu.Lock()
	l.n++
	n := l.n
	l.mu.Unlock()
	key := fmt.Sprintf("%s-%06d", l.r.o.Run, n)
	fixture := ""
	if len(l.fixtures) > 0 {
		fixture = l.fixtures[n%len(l.fixtures)]
	}
	end := func(history.Outcome, string) {}
	if kind == "write" {
		end = l.r.log.Begin("write", key)
	}
	outcome := history.Unknown
	for try := 0; ; try++ {
		status, err := l.try(ctx, kind, op, key, fixture)
		outcome = history.Classify(status)
		if kind == "read" || outcome != history.Unknown || try >= op.Retries || !pause(ctx, 100*time.Millisecond) {
			note := ""
			if err != nil {
				note = err.Error()
			}
			end(outcome, note)
			return
		}
	}
}

// try sends one request and notes what its client saw.
func (l *load) try(ctx context.Context, kind string, op *Operation, key, fixture string) (int, error) {
	bounded, cancel := context.WithTimeout(ctx, op.Timeout)
	defer cancel()
	start := time.Now()
	status, header, body, err := l.r.fetch(bounded, op.Request, key, fixture)
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	if kind == "read" {
		l.reads++
	} else {
		l.writes++
	}
	l.seen[kind+" "+strconv.Itoa(status)]++
	replayed := header.Get("Idempotency-Replayed") != "" || header.Get("X-Strangler-Fallback") != ""
	if history.Classify(status) == history.Unknown || replayed || (l.fault.Kind == "latency" && took >= l.fault.Delay) {
		l.affected++
	}
	if !allowed(op.Allow, status) {
		what := fmt.Sprintf("a %s saw status %d", kind, status)
		s := l.surprise[what]
		if s.times++; s.words == "" {
			s.words = words(body, err)
		}
		l.surprise[what] = s
	}
	return status, err
}

// words is what an answer said, or why there was none, in short.
func words(body []byte, err error) string {
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(body[:min(len(body), surpriseWords)]))
}

func allowed(list []int, status int) bool {
	if len(list) == 0 {
		return status >= 200 && status < 400
	}
	return contains(list, status)
}

// sum adds what was seen to a map.
func (l *load) sum(into map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, n := range l.seen {
		into[k] += n
	}
}

// surprises lists what clients saw that the experiment does not allow.
func (l *load) surprises() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for what, s := range l.surprise {
		all = append(all, fmt.Sprintf("%s (%d times), which the experiment does not allow: %q", what, s.times, s.words))
	}
	sort.Strings(all)
	return all
}

// bodyLimit bounds how much of an answer is read.
const bodyLimit = 4 << 20

// fetch sends a request of the experiment. An answer that breaks off counts as
// none: status 0.
func (r *run) fetch(ctx context.Context, q Request, key, fixture string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, q.Method, r.o.BaseURL+r.fill(q.Path, key, fixture), strings.NewReader(r.fill(q.Body, key, fixture)))
	if err != nil {
		return 0, http.Header{}, nil, err
	}
	for name, value := range q.Headers {
		req.Header.Set(name, r.fill(value, key, fixture))
	}
	if q.Body != "" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := r.client.Do(req)
	if err != nil {
		return 0, http.Header{}, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit))
	if err != nil {
		return 0, res.Header, nil, err
	}
	return res.StatusCode, res.Header, body, nil
}

// fixtures asks for what {{fixture}} stands for.
func (r *run) fixtures(ctx context.Context) ([]string, error) {
	f := r.e.Operations.Fixtures
	if f.Request.Path == "" {
		return nil, nil
	}
	status, _, body, err := r.fetch(ctx, f.Request, "", "")
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("fixtures: %s %s answered %d (%v)", f.Request.Method, f.Request.Path, status, err)
	}
	var doc any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // an id is quoted as it was sent
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("fixtures: the answer is not JSON: %w", err)
	}
	found := pick(doc, strings.Split(f.Pick, "."))
	if len(found) == 0 {
		return nil, fmt.Errorf("fixtures: %s is not in the answer of %s", f.Pick, f.Request.Path)
	}
	return found, nil
}

// pick follows field names through objects and every element of lists.
func pick(doc any, path []string) []string {
	if list, ok := doc.([]any); ok {
		var all []string
		for _, item := range list {
			all = append(all, pick(item, path)...)
		}
		return all
	}
	if len(path) == 0 {
		return []string{fmt.Sprint(doc)}
	}
	if object, ok := doc.(map[string]any); ok {
		if field, ok := object[path[0]]; ok {
			return pick(field, path[1:])
		}
	}
	return nil
}
