// Package api is the language of the admin API: its documents, and a client
// for them. The server is package control, which owns what they mean.
package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"stranglerfig/migrations/change"
)

// Status is where everything stands.
type Status struct {
	Config       string       `json:"config"`            // path of the file
	Problem      string       `json:"problem,omitempty"` // why the file on disk is not in force
	Listen       string       `json:"listen"`
	PID          int          `json:"pid"`
	Since        time.Time    `json:"since"`
	Backends     []Backend    `json:"backends"`
	Capabilities []Capability `json:"capabilities"`
}

// Backend is how the monolith or a service is doing. Counts are since the
// backend was made: at the start, or when the file last changed something of it.
type Backend struct {
	Name           string           `json:"name"`
	Breaker        string           `json:"breaker"` // closed, open or half-open
	BreakerOpened  int64            `json:"breaker_opened"`
	UnderWay       int64            `json:"under_way"` // requests now
	Connections    int64            `json:"connections"`
	Idle           int              `json:"idle"`    // of them, over HTTP/1.1
	Waiting        int64            `json:"waiting"` // requests, for a connection
	Refused        map[string]int64 `json:"refused"` // by reason: requests, connections, breaker
	Retries        int64            `json:"retries"`
	RetriesRefused int64            `json:"retries_refused"`
	Fallbacks      int64            `json:"fallbacks"`
	Endpoints      []Endpoint       `json:"endpoints"`
}

// Endpoint is how one address of a backend is doing.
type Endpoint struct {
	URL        string           `json:"url"`
	State      string           `json:"state"` // usable, sick or ejected
	UnderWay   int64            `json:"under_way"`
	Outcomes   map[string]int64 `json:"outcomes"` // of requests: well, failed, slow, unreachable, undecided
	Ejections  int64            `json:"ejections"`
	ChecksWell int64            `json:"checks_well"`
	ChecksIll  int64            `json:"checks_ill"`
}

// Failures counts the requests that speak against the endpoint.
func (e Endpoint) Failures() int64 {
	return e.Outcomes["failed"] + e.Outcomes["slow"] + e.Outcomes["unreachable"]
}

// Capability is where one capability stands.
type Capability struct {
	Name       string    `json:"name"`
	Service    string    `json:"service"`
	Health     Finding   `json:"health"`
	WriteOwner string    `json:"write_owner"`
	Epoch      uint64    `json:"epoch,omitempty"`
	Held       int       `json:"held"` // writes waiting now
	Routes     []Route   `json:"routes"`
	Data       *Data     `json:"data,omitempty"`
	Gates      []Finding `json:"gates"` // of a write cutover
	Shadow     []Shadow  `json:"shadow,omitempty"`
	// Calibration says how the monolith differs from itself; nil where nobody has
	// looked, or only at another build.
	Calibration *Calibration `json:"calibration,omitempty"`
}

// Route is one route, with what is wanted, what is obeyed, and why they differ.
type Route struct {
	ID         string `json:"route"`
	Capability string `json:"capability"`
	Writes     bool   `json:"writes"`
	Wanted     string `json:"wanted"`
	Actual     string `json:"actual"`
	Why        string `json:"why,omitempty"`
}

// Data is where a capability's data stands.
type Data struct {
	State    string            `json:"state"`
	Owner    change.Side       `json:"owner"`
	Epoch    uint64            `json:"epoch"`
	Live     bool              `json:"live"` // both streams run
	Lag      int64             `json:"lag"`  // log entries the follower has not applied
	Verified time.Time         `json:"verified,omitzero"`
	Tables   []change.Progress `json:"tables,omitempty"`
	Problem  string            `json:"problem,omitempty"`
	Paused   string            `json:"paused,omitempty"` // why it is
	// Kept is how much log each database keeps for the move, and LogBudget how
	// much it may, in bytes.
	Kept      map[change.Side]int64 `json:"kept"`
	LogBudget int64                 `json:"log_budget"`
	Last      json.RawMessage       `json:"last_switch,omitempty"`
}

// Writer is somebody who was seen writing a capability's tables.
type Writer struct {
	change.Sighting
	// Known says that the file declares the application as a writer.
	Known bool `json:"known"`
}

// Verdict of a gate.
type Verdict string

// The verdicts. Missing means that nobody has looked, or not lately, or at
// something else: which is a no with a command to get on.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Missing Verdict = "missing"
	Waived  Verdict = "waived"
)

// Finding is what a gate says.
type Finding struct {
	Gate    string  `json:"gate"`
	Route   string  `json:"route,omitempty"` // of a gate that is asked for each route
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Command string  `json:"command,omitempty"` // what would settle it
}

// Open reports whether the finding lets one pass.
func (f Finding) Open() bool { return f.Verdict == Pass || f.Verdict == Waived }

// The answers to whether something may be cut over.
const (
	AnswerYes       = "yes"
	AnswerNo        = "no"         // something is known to be wrong
	AnswerNotEnough = "not enough" // evidence is missing
)

// Admission is whether a route, or a capability's writes and data, may belong
// to the service now.
type Admission struct {
	Capability string    `json:"capability"`
	Route      string    `json:"route,omitempty"`
	Answer     string    `json:"answer"`
	Owner      string    `json:"owner"` // the owner word obeyed now, of a capability that of its writes
	Findings   []Finding `json:"findings"`
}

// Admitted is what the ledger keeps of the moment in which a cutover was
// admitted: what every gate said, and on what.
type Admitted struct {
	Admission
	Contract      string   `json:"contract,omitempty"` // digest of the contract, a copy of which is in the state's folder
	Config        string   `json:"config,omitempty"`   // digest of the capability's config
	MonolithBuild string   `json:"monolith_build,omitempty"`
	ServiceBuild  string   `json:"service_build,omitempty"`
	Shadow        []Shadow `json:"shadow,omitempty"`
	Problem       string   `json:"problem,omitempty"` // why one of them is missing
}

// ExitCode is the exit code of the answer.
func (a Admission) ExitCode() int {
	switch a.Answer {
	case AnswerYes:
		return ExitYes
	case AnswerNo:
		return ExitNo
	}
	return ExitNotEnough
}

// Step is one step of the playbook.
type Step struct {
	Name    string `json:"name"`
	State   string `json:"state"` // done, next, later
	Text    string `json:"text,omitempty"`
	Command string `json:"command,omitempty"`
}

// Playbook is the ladder of one capability.
type Playbook struct {
	Capability string    `json:"capability"`
	Steps      []Step    `json:"steps"`
	Needs      []Finding `json:"needs,omitempty"` // of the next step
	Command    string    `json:"command,omitempty"`
}

// Entry is one entry of the ledger.
type Entry struct {
	Seq        int64           `json:"seq"`
	At         time.Time       `json:"at"`
	Capability string          `json:"capability,omitempty"`
	Kind       string          `json:"kind"`
	Actor      string          `json:"actor"`
	Text       string          `json:"text"`
	Detail     json.RawMessage `json:"detail,omitempty"`
	Hash       string          `json:"hash"`
}

// ExplainRequest asks what would happen to a request.
type ExplainRequest struct {
	Method  string              `json:"method"`
	Target  string              `json:"target"`
	Host    string              `json:"host,omitempty"`
	Headers map[string][]string `json:"headers,omitempty"`
}

// EvidenceRequest files the result of a check.
type EvidenceRequest struct {
	Capability    string          `json:"capability"`
	Kind          string          `json:"kind"`
	Verdict       string          `json:"verdict"`
	Summary       string          `json:"summary"`
	Details       json.RawMessage `json:"details,omitempty"`
	Contract      string          `json:"contract,omitempty"`
	Config        string          `json:"config,omitempty"`
	MonolithBuild string          `json:"monolith_build,omitempty"`
	ServiceBuild  string          `json:"service_build,omitempty"`
	By            string          `json:"by"`
}

// FaultRequest breaks a link for at most Lease.
type FaultRequest struct {
	Kind   string        `json:"kind"`
	Delay  time.Duration `json:"delay,omitempty"`
	Jitter time.Duration `json:"jitter,omitempty"`
	Bytes  int64         `json:"bytes,omitempty"`
	Lease  time.Duration `json:"lease"`
}

// RecordRequest records a capability's live traffic for a while.
type RecordRequest struct {
	Capability string        `json:"capability"`
	For        time.Duration `json:"for"`
	Sample     float64       `json:"sample,omitempty"` // share of the clients, 0 is all
	Count      uint64        `json:"count,omitempty"`  // exchanges at most, 0 is no bound
	Bytes      int64         `json:"bytes,omitempty"`  // of the tape at most, 0 is 256 MiB
	Cover      float64       `json:"cover,omitempty"`  // share of the traffic that the contract is to cover, 0 is 99.9 %
}

// Recorded is the result of recording.
type Recorded struct {
	Exchanges int64           `json:"exchanges"`
	Dropped   int64           `json:"dropped"`   // the queue was full
	Unsampled int64           `json:"unsampled"` // not drawn
	Beyond    int64           `json:"beyond"`    // came when the tape was full
	Tape      string          `json:"tape"`      // the redacted raw recording
	Covered   int             `json:"covered"`   // exchanges of a sort that the contract has
	Counted   int             `json:"counted"`   // of so many that say something
	Left      json.RawMessage `json:"left,omitempty"`
	Loose     json.RawMessage `json:"loose,omitempty"` // places that are about what other capabilities made up
	Contract  json.RawMessage `json:"contract"`
}

// OperateRequest carries the options of an operation on a capability.
type OperateRequest struct {
	Confirm string `json:"confirm,omitempty"` // complete
	Repair  bool   `json:"repair,omitempty"`  // verify
	Anew    bool   `json:"anew,omitempty"`    // verify: do not go on where one was interrupted
	All     bool   `json:"all,omitempty"`     // verify: send every difference
	Stop    bool   `json:"stop,omitempty"`    // observe: no longer
	DryRun  bool   `json:"dry_run,omitempty"` // prepare
	Why     string `json:"why,omitempty"`     // cutover, rollback
	By      string `json:"by,omitempty"`
	// Effects are what the sides of the declared pair wrote: rehearse.
	Effects *Effects `json:"effects,omitempty"`
}

// Effects are what the two sides of a pair were found to write while a contract
// was replayed on them.
type Effects struct {
	Contract      string           `json:"contract"` // its digest
	MonolithBuild string           `json:"monolith_build,omitempty"`
	ServiceBuild  string           `json:"service_build,omitempty"`
	Verdict       string           `json:"verdict"` // of the verification
	Summary       string           `json:"summary"`
	Rows          map[string]int64 `json:"rows"` // compared, by the service's tables
}

// Sum is how many rows were compared.
func (e Effects) Sum() int64 {
	var sum int64
	for _, n := range e.Rows {
		sum += n
	}
	return sum
}

// Event is one line of a long operation's answer: progress while it runs, and
// one result or error at the end.
type Event struct {
	Progress *change.Progress `json:"progress,omitempty"`
	Step     *StepTime        `json:"step,omitempty"`
	Text     string           `json:"text,omitempty"`
	// Difference is one that a verification found, where all were asked for.
	Difference json.RawMessage `json:"difference,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"`
	Error      *Error          `json:"error,omitempty"`
}

// StepTime is one step of a switch.
type StepTime struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

// Error is an error that a person can act on. Code is the exit code of the
// command that meets it.
type Error struct {
	Text string          `json:"error"`
	Hint string          `json:"hint,omitempty"`
	Code int             `json:"code"`
	Data json.RawMessage `json:"data,omitempty"`
}

func (e *Error) Error() string { return e.Text }

// NoCapability is the error of a name that no capability has.
func NoCapability(name string, declared []string) *Error {
	hint := "strangler.yaml declares none yet; the README shows a first one"
	if len(declared) > 0 {
		hint = "declared are: " + strings.Join(slices.Sorted(slices.Values(declared)), ", ")
	}
	return &Error{Text: fmt.Sprintf("no capability is called %q", name), Hint: hint, Code: ExitNo}
}

// Exit codes of every verb.
const (
	ExitYes       = 0
	ExitNo        = 1
	ExitNotEnough = 2 // not enough evidence to say yes
	ExitFailed    = 3 // the tool itself could not do its work
)
