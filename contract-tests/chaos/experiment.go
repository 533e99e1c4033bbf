// Package chaos runs fault experiments: it states what must hold, breaks one
// link on purpose while clients read and write through it, and checks what the
// clients saw and that no write was lost or doubled.
//
// An experiment is a YAML file with the fields of the Chaos Toolkit: a steady
// state, a method, and what is always undone at the end. Start at [Load] and
// [Run]; [Links] injects the faults with an embedded toxiproxy.
//
// A run passes only if its probes ran, its operations ran, and the fault was
// felt: an experiment that exercised nothing proves nothing.
package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Experiment is one declared fault experiment.
type Experiment struct {
	Title       string     `yaml:"title"`
	Description string     `yaml:"description"`
	Capability  string     `yaml:"capability"`
	Steady      Steady     `yaml:"steady-state-hypothesis"`
	Operations  Operations `yaml:"operations"`
	Method      []Step     `yaml:"method"`
	Rollbacks   []string   `yaml:"rollbacks"` // notes for people; faults are always healed
	History     History    `yaml:"history"`
}

// Steady is what holds before the fault and again after it.
type Steady struct {
	Title  string  `yaml:"title"`
	Probes []Probe `yaml:"probes"`
	// Within is how long the system may take to be steady again; default 10 s.
	Within time.Duration `yaml:"within"`
}

// Probe is one request whose answer is within a tolerance.
type Probe struct {
	Name      string  `yaml:"name"`
	Request   Request `yaml:"request"`
	Tolerance struct {
		Status []int `yaml:"status"`
	} `yaml:"tolerance"`
}

// Request is an HTTP request; {{key}} and {{fixture}} are replaced in path,
// headers and body.
type Request struct {
	Method  string            `yaml:"method"`
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
}

// Operations are what clients do while the fault is there.
type Operations struct {
	// Fixtures lists what {{fixture}} stands for: a request whose JSON answer
	// holds a list at Pick, such as "invoices.id".
	Fixtures struct {
		Request Request `yaml:"request"`
		Pick    string  `yaml:"pick"`
	} `yaml:"fixtures"`
	Read  *Operation `yaml:"read"`
	Write *Operation `yaml:"write"`
}

// Operation is one kind of request that clients repeat.
type Operation struct {
	Request Request       `yaml:"request"`
	Clients int           `yaml:"clients"` // default 2
	Timeout time.Duration `yaml:"timeout"` // of one try; default 2 s
	// Retries is how often a write whose outcome is unknown is sent again
	// with the same idempotency key; default 20, one every 100 ms.
	Retries int `yaml:"retries"`
	// Allow lists the statuses clients may see during the whole run, 0
	// standing for no answer. Empty means only 2xx and 3xx.
	Allow []int `yaml:"allow"`
}

// Step injects one fault for a while.
type Step struct {
	Name  string        `yaml:"name"`
	Fault Fault         `yaml:"fault"`
	For   time.Duration `yaml:"for"` // default 2 s, at most 1 minute
}

// History says how to find the experiment's writes in each database: a query
// that returns (key, count). {{run}} stands for the run's key prefix.
type History struct {
	Monolith string `yaml:"monolith"`
	Service  string `yaml:"service"`
}

// Fault is a fault on a link.
type Fault struct {
	Link string `yaml:"link" json:"link"`
	// Kind is latency, hang, refuse, reset-mid-body or response-lost.
	Kind   string        `yaml:"kind" json:"kind"`
	Delay  time.Duration `yaml:"delay" json:"delay,omitempty"`   // latency; default 300 ms
	Jitter time.Duration `yaml:"jitter" json:"jitter,omitempty"` // latency
	Bytes  int64         `yaml:"bytes" json:"bytes,omitempty"`   // reset-mid-body: let through before the reset; default 200
}

// Kinds are the faults that can be injected.
var kinds = []string{"latency", "hang", "refuse", "reset-mid-body", "response-lost"}

const maxFault = time.Minute

// Load reads an experiment and checks it whole.
func Load(path string) (Experiment, error) {
	f, err := os.Open(path)
	if err != nil {
		return Experiment{}, err
	}
	defer f.Close()
	e, err := Parse(f)
	if err != nil {
		return Experiment{}, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// Parse decodes and validates an experiment; unknown fields are refused.
func Parse(r io.Reader) (Experiment, error) {
	var e Experiment
	dec := yaml.NewDecoder(r)
	dec.KnownFields(true)
	if err := dec.Decode(&e); err != nil {
		return Experiment{}, err
	}
	e.defaults()
	return e, e.validate()
}

func (e *Experiment) defaults() {
	setDefault(&e.Steady.Within, 10*time.Second)
	for _, op := range []*Operation{e.Operations.Read, e.Operations.Write} {
		if op != nil {
			setDefault(&op.Clients, 2)
			setDefault(&op.Timeout, 2*time.Second)
			setDefault(&op.Retries, 20)
		}
	}
	for i := range e.Method {
		setDefault(&e.Method[i].For, 2*time.Second)
		setDefault(&e.Method[i].Fault.Delay, 300*time.Millisecond)
		setDefault(&e.Method[i].Fault.Bytes, 200)
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (e *Experiment) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if e.Title == "" {
		bad("title: missing")
	}
	if len(e.Steady.Probes) == 0 {
		bad("steady-state-hypothesis.probes: at least one is needed to know that the system is steady")
	}
	for i, p := range e.Steady.Probes {
		if len(p.Tolerance.Status) == 0 {
			bad("steady-state-hypothesis.probes[%d].tolerance.status: missing, for example [200]", i)
		}
		checkRequest(bad, fmt.Sprintf("steady-state-hypothesis.probes[%d].request", i), p.Request)
	}
	if e.Operations.Read == nil && e.Operations.Write == nil {
		bad("operations: give read, write or both; a fault that nobody meets proves nothing")
	}
	if w := e.Operations.Write; w != nil {
		checkRequest(bad, "operations.write.request", w.Request)
		if !strings.Contains(w.Request.Headers["Idempotency-Key"], "{{key}}") {
			bad("operations.write.request.headers: an Idempotency-Key with {{key}} is needed to retry safely")
		}
		if e.History.Monolith == "" && e.History.Service == "" {
			bad("history: writes are checked by a query for each database; give monolith, service or both")
		}
	}
	if r := e.Operations.Read; r != nil {
		checkRequest(bad, "operations.read.request", r.Request)
	}
	if len(e.Method) == 0 {
		bad("method: at least one step is needed")
	}
	for i, s := range e.Method {
		if !slices.Contains(kinds, s.Fault.Kind) {
			bad("method[%d].fault.kind: %q is none of %s", i, s.Fault.Kind, strings.Join(kinds, ", "))
		}
		if s.Fault.Link == "" {
			bad("method[%d].fault.link: missing: the name of a capability, or of a link under chaos.links", i)
		}
		if s.For < 0 || s.For > maxFault {
			bad("method[%d].for: %s is not between 0 and %s", i, s.For, maxFault)
		}
	}
	return errors.Join(errs...)
}

func checkRequest(bad func(string, ...any), where string, r Request) {
	if r.Method == "" || !strings.HasPrefix(r.Path, "/") {
		bad("%s: needs a method and a path that begins with /", where)
	}
}
