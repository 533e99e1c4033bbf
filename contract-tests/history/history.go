// Package history keeps a log of operations as their clients saw them, and
// checks it against what the databases hold in the end.
//
// Every write carries an idempotency key of its own. A client that was told
// yes has an acknowledged write; one that was told no, a failed one; one that
// was told nothing it can rely on (timeout, reset, 5xx), an unknown one, which
// may or may not have happened. Start at [Log.Begin] and end with [Check].
//
// The set check is linear in the number of operations: an acknowledged key
// that is absent was lost, a key that is present more than once was doubled,
// and a failed key that is present was resurrected.
package history

import (
	"sort"
	"sync"
	"time"
)

// Outcome is what a client knows of its operation.
type Outcome string

// The outcomes. Pending is an operation that never ended, which counts as
// unknown.
const (
	Pending Outcome = "pending"
	OK      Outcome = "ok"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Operation is one write as its client saw it.
type Operation struct {
	Kind    string // which set it belongs to, such as "order" or "payment"
	Key     string // unique within its kind
	Begin   time.Time
	End     time.Time
	Outcome Outcome
	Note    string
}

// Log is a history under way. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	ops []*Operation
	now func() time.Time
}

// New returns an empty log; now is its clock.
func New(now func() time.Time) *Log { return &Log{now: now} }

// Begin records that an operation was sent. The returned function records its
// outcome; only its first call counts.
func (l *Log) Begin(kind, key string) func(o Outcome, note string) {
	op := &Operation{Kind: kind, Key: key, Begin: l.now(), Outcome: Pending}
	l.mu.Lock()
	l.ops = append(l.ops, op)
	l.mu.Unlock()
	return func(o Outcome, note string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if op.Outcome == Pending {
			op.Outcome, op.Note, op.End = o, note, l.now()
		}
	}
}

// Operations returns a copy of what was recorded.
func (l *Log) Operations() []Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	ops := make([]Operation, len(l.ops))
	for i, op := range l.ops {
		ops[i] = *op
	}
	return ops
}

// Classify names the outcome of an HTTP write by its status; 0 stands for no
// answer at all. Redirects count as success; 4xx is a refusal that wrote
// nothing; anything else tells nothing.
func Classify(status int) Outcome {
	switch {
	case status >= 200 && status < 400:
		return OK
	case status >= 400 && status < 500:
		return Failed
	}
	return Unknown
}

// Result is what a check found. Keys are sorted.
type Result struct {
	Operations  int      `json:"operations"`
	Acked       int      `json:"acked"`
	Failed      int      `json:"failed"`
	Unknown     int      `json:"unknown"`
	Lost        []string `json:"lost,omitempty"`
	Doubled     []string `json:"doubled,omitempty"`
	Resurrected []string `json:"resurrected,omitempty"`
}

// Clean reports whether nothing was lost, doubled or resurrected.
func (r Result) Clean() bool {
	return len(r.Lost) == 0 && len(r.Doubled) == 0 && len(r.Resurrected) == 0
}

// Check compares the operations of a kind with how often each key is present
// in the end.
func Check(ops []Operation, kind string, present map[string]int) Result {
	var r Result
	for _, op := range ops {
		if op.Kind != kind {
			continue
		}
		r.Operations++
		n := present[op.Key]
		switch op.Outcome {
		case OK:
			r.Acked++
			if n == 0 {
				r.Lost = append(r.Lost, op.Key)
			}
		case Failed:
			r.Failed++
			if n > 0 {
				r.Resurrected = append(r.Resurrected, op.Key)
			}
		default:
			r.Unknown++
		}
		if n > 1 {
			r.Doubled = append(r.Doubled, op.Key)
		}
	}
	sort.Strings(r.Lost)
	sort.Strings(r.Doubled)
	sort.Strings(r.Resurrected)
	return r
}

// Add sums two results.
func (r Result) Add(o Result) Result {
	return Result{
		Operations: r.Operations + o.Operations, Acked: r.Acked + o.Acked, Failed: r.Failed + o.Failed, Unknown: r.Unknown + o.Unknown,
		Lost:        append(append([]string(nil), r.Lost...), o.Lost...),
		Doubled:     append(append([]string(nil), r.Doubled...), o.Doubled...),
		Resurrected: append(append([]string(nil), r.Resurrected...), o.Resurrected...),
	}
}
