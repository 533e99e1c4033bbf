package shadow

import (
	"time"

	"stranglerfig/contract-tests/compare"
)

// Verdict of one comparison.
type Verdict string

// The verdicts.
const (
	Match        Verdict = "match"
	Noise        Verdict = "noise"        // they differ as the monolith differs from itself
	Mismatch     Verdict = "mismatch"     // they differ, and nothing excuses it
	Incomparable Verdict = "incomparable" // which says nothing; the reason says why
	Dropped      Verdict = "dropped"      // not asked; the reason says why
)

// Reason says why nothing was compared.
type Reason string

// The reasons of incomparable answers.
const (
	Unreachable Reason = "unreachable"      // no answer came
	TimedOut    Reason = "timeout"          // none in time
	Failing     Reason = "both-failing"     // 5xx on both sides
	Broken      Reason = "monolith-failing" // 5xx of the monolith's, so that there is nothing to hold the service to
	InMotion    Reason = "state-skew"       // the data changed while the sides were asked, or is not the same on an isolated store
	Behind      Reason = "not-followed"     // the data did not arrive on the other side in time
	TooLong     Reason = "too-long"         // a body is longer than what is kept
	Longer      Reason = "longer"           // that of the side that was asked is, and what the client was answered is not
	Endless     Reason = "stream"           // events without an end
	NoBackend   Reason = "no-backend"       // there is nobody to ask
	Busy        Reason = "busy"             // the side has enough to do with clients' requests
	Defect      Reason = "defect"           // of ours, which the comparison met
)

// The reasons of dropped requests.
const (
	QueueFull Reason = "queue-full" // as many waited as may
	Waited    Reason = "waited"     // it waited for longer than a request may take
)

// Direction says who answered the client, and who was asked the same.
type Direction string

// The directions.
const (
	Forward  Direction = "forward"  // the monolith answered, the service was asked
	Reverse  Direction = "reverse"  // the service answered, the monolith was asked
	Isolated Direction = "isolated" // the monolith answered a write, a store of its own was asked
)

// finding is the outcome of one comparison.
type finding struct {
	verdict     Verdict
	reason      Reason
	differences []compare.Difference // of a mismatch, with their secrets
	// expected and actual are the monolith's and the service's answers of a
	// mismatch.
	expected, actual compare.Message
	// fleeting says that the answers differed at first and agreed when both sides
	// were asked again, although the side that answered the client said the same.
	fleeting bool
	// monolith and service are how long the sides took; 0 where one of them gave
	// no answer, unless it was waited for in vain.
	monolith, service time.Duration
	// rows are those that an isolated store has written, as far as it is known
	// what they are worth; differ are those of which it is not yet, and left the
	// differences between those that differ for good, without secrets.
	rows   RowCount
	differ []differing
	left   []compare.Difference
}

func incomparable(why Reason) finding { return finding{verdict: Incomparable, reason: why} }
