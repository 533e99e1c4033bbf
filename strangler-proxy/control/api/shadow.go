package api

import "time"

// Shadow is what mirroring found on a route in one direction.
type Shadow struct {
	Route        string           `json:"route"`
	Direction    string           `json:"direction"` // forward, reverse or isolated
	Since        time.Time        `json:"since,omitzero"`
	Compared     int64            `json:"compared"` // matched, noise, allowed and mismatched
	Matched      int64            `json:"matched"`
	Noise        int64            `json:"noise"`      // differ as the monolith differs from itself
	Fleeting     int64            `json:"fleeting"`   // of matched and noise: differed at first, and agreed when both were asked again
	Allowed      int64            `json:"allowed"`    // differ in ways that a person allows
	Mismatched   int64            `json:"mismatched"` // differ otherwise
	Incomparable int64            `json:"incomparable"`
	Dropped      int64            `json:"dropped"`
	Reasons      map[string]int64 `json:"reasons,omitempty"` // of what was incomparable or dropped
	Stop         Stop             `json:"stop"`
	Latency      Latency          `json:"latency"`
	Differences  []Difference     `json:"differences,omitempty"`
	More         int64            `json:"more,omitempty"`
	Rows         *Rows            `json:"rows,omitempty"` // that the isolated store has written, where they are compared
}

// Rows counts the rows that an isolated store has written, by what became of
// holding them against the monolith's.
type Rows struct {
	Alike     int64 `json:"alike"`
	Different int64 `json:"different"`
	Skewed    int64 `json:"skewed"`  // differ, but may have done so before, or move on and on
	Unknown   int64 `json:"unknown"` // which row of the monolith's they are cannot be told
	Failed    int64 `json:"failed"`  // could not be looked at
}

// Stop is where the stop rule stands.
type Stop struct {
	P0        float64       `json:"p0"`
	P1        float64       `json:"p1"`
	Alpha     float64       `json:"alpha"`
	LogE      float64       `json:"log_e"`     // enough at -ln(alpha)
	Missing   int           `json:"missing"`   // clean comparisons still asked for
	Remaining time.Duration `json:"remaining"` // time over which they must still spread, in nanoseconds
	Enough    bool          `json:"enough"`
}

// Latency compares how long both sides took for the same requests, in
// milliseconds.
type Latency struct {
	Pairs    int64              `json:"pairs"`
	Slower   int64              `json:"slower"`  // pairs in which the service took longer than it may
	Verdict  string             `json:"verdict"` // not slower, slower or unsettled: of Typical and Tails together
	At       string             `json:"at"`      // the quantile at which that shows
	Typical  string             `json:"typical"` // the verdict on half of the pairs
	Tails    []Tail             `json:"tails,omitempty"`
	Monolith map[string]float64 `json:"monolith,omitempty"` // p50, p95, p99
	Service  map[string]float64 `json:"service,omitempty"`
}

// Tail is the verdict on a quantile of each side's own answers.
type Tail struct {
	Quantile string `json:"quantile"` // p95 or p99
	Verdict  string `json:"verdict"`
	Monolith Span   `json:"monolith"`
	Service  Span   `json:"service"`
}

// Span is between what a quantile lies, in milliseconds.
type Span struct {
	Above float64 `json:"above"`
	UpTo  float64 `json:"up_to,omitempty"` // 0 where no bound is known yet
}

// Difference is one distinct difference with an example, without secrets.
type Difference struct {
	ID          string     `json:"id"`
	Times       int64      `json:"times"`
	First       time.Time  `json:"first,omitzero"`
	Last        time.Time  `json:"last,omitzero"`
	Example     string     `json:"example"`
	Path        string     `json:"path"`
	Kind        string     `json:"kind"`
	Expected    string     `json:"expected"`
	Actual      string     `json:"actual"`
	Rule        string     `json:"rule,omitempty"`
	Fingerprint string     `json:"fingerprint"`
	Allowance   *Allowance `json:"allowance,omitempty"` // that holds
}

// Allowance is a named person's word that a difference is meant, until a moment.
type Allowance struct {
	ID          string    `json:"id"` // of the difference
	Capability  string    `json:"capability"`
	Route       string    `json:"route"`
	Fingerprint string    `json:"fingerprint"`
	Reason      string    `json:"reason"`
	By          string    `json:"by"`
	At          time.Time `json:"at"`
	Until       time.Time `json:"until"`
	Revoked     bool      `json:"revoked,omitempty"`
}

// AllowRequest allows a difference, or takes that back.
type AllowRequest struct {
	ID     string    `json:"id"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"`
	Revoke bool      `json:"revoke,omitempty"`
	By     string    `json:"by"`
}

// Shadows is everything about mirroring a capability.
type Shadows struct {
	Capability  string       `json:"capability"`
	Routes      []Shadow     `json:"routes"`
	Calibration *Calibration `json:"calibration,omitempty"`
	Allowances  []Allowance  `json:"allowances,omitempty"` // also those that have expired
}

// RestartRequest begins the comparisons of a capability anew.
type RestartRequest struct {
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// CalibrateRequest asks the monolith the same twice, for a while.
type CalibrateRequest struct {
	For time.Duration `json:"for"`
	By  string        `json:"by"`
}

// Calibration is how the monolith was found to differ from itself.
type Calibration struct {
	At      time.Time     `json:"at"`
	By      string        `json:"by"`
	Build   string        `json:"build"`          // of the monolith
	Void    string        `json:"void,omitempty"` // why it is not in force
	Pairs   int64         `json:"pairs"`          // asked at the same time
	Lagged  int64         `json:"lagged"`
	Lag     time.Duration `json:"lag"` // between the two of a lagged pair, in nanoseconds
	Learned []Learned     `json:"learned"`
	// Unexplained is what differed in a way that no matcher covers.
	Unexplained []string `json:"unexplained,omitempty"`
}

// Learned is one place in which the monolith differs from itself, and what both
// sides' values must still fulfil there.
type Learned struct {
	Route   string `json:"route"`
	Status  int    `json:"status"`
	Path    string `json:"path"`
	Matcher string `json:"matcher"`
	Flips   int64  `json:"flips"`   // pairs in which it differed
	Samples int64  `json:"samples"` // values that were seen
}

// ExitCode is what the capability's comparisons amount to: yes, no where
// something differs that nobody allows, not enough where a route that is
// mirrored forward has to be compared more often, or none is.
func (s Shadows) ExitCode() int {
	code, forward := ExitYes, false
	for _, r := range s.Routes {
		if r.Direction != "forward" {
			continue
		}
		forward = true
		switch {
		case r.Mismatched > 0:
			return ExitNo
		case !r.Stop.Enough:
			code = ExitNotEnough
		}
	}
	if !forward {
		return ExitNotEnough
	}
	return code
}
