// Package change is the vocabulary of change capture: what a database must
// offer so that a move can copy it, follow it, fence it and hand it over.
//
// Start at [Database], the one interface every engine implements for either
// side of a move, and at package changetest, the conformance suite that says
// what its words mean. Package change holds no SQL and starts no goroutine.
//
// A side is never "source" or "target" for good: from Ready to Complete both
// sides are followed, each into the other, and a switch only changes which of
// the two refuses its own writers.
package change

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"stranglerfig/migrations/mapping"
)

// Side names one of the two databases of a move.
type Side string

// The two sides.
const (
	Monolith Side = "monolith"
	Service  Side = "service"
)

// Other returns the opposite side.
func (s Side) Other() Side {
	if s == Monolith {
		return Service
	}
	return Monolith
}

// Position orders the changes of one database: a log sequence number. It is
// comparable only with positions of the same database and the same capture.
type Position uint64

// Table is one side's view of a mapped table: only the columns that take part
// in the move, in the order in which a [Row] lists them.
type Table struct {
	Name    string
	Columns []string
	Key     []int // indices into Columns, at least one
}

// Row holds one value per column of its [Table].
type Row = []mapping.Value

// Key holds the values of a row's key columns, in the order of Table.Key.
type Key = []mapping.Value

// Kind says what happened to a key.
type Kind uint8

// A Put carries the row as it is after the change, inserted or updated; a
// Delete carries only the key.
const (
	Put Kind = iota + 1
	Delete
)

// Change is one row's change, in the schema of the database it was read from
// until the engine maps it.
type Change struct {
	Table int // index into the tables the database was opened with
	Kind  Kind
	Key   Key
	Row   Row // Put only
	// Absent are columns of Row, by index, that an update has left alone and whose
	// values are not there: the follower keeps its own. See [Sparse].
	Absent []int
}

// Batch is a run of changes that takes a follower from the state at From to
// the state at To when it is applied whole. Changes that this toolkit's own
// appliers made are never in it.
type Batch struct {
	From, To Position
	Changes  []Change
	// Marker is the token of the last fence that the log passed in
	// (From, To], or "". Its arrival proves that everything written before
	// that fence is in this batch or an earlier one.
	Marker string
}

// Chunk is a key range read at an exact cut: Rows are what the table held
// between After (exclusive) and Last (inclusive) at position At.
type Chunk struct {
	Table int
	After Key // nil: from the beginning
	Last  Key // nil only when the range was empty
	Rows  []Row
	At    Position
	Done  bool // no key follows Last
}

// Checkpoint is what a follower knows of a stream, kept in the follower's own
// database and moved in the transaction that applies a batch.
type Checkpoint struct {
	Position Position
	Marker   string // last marker applied
	Runner   string // token of the engine that may move it
}

// Progress is how far a table's copy or verification has come.
type Progress struct {
	Table       string
	Done, Total int64         // rows; Total is an estimate
	Rate        float64       // rows per second over the recent past
	ETA         time.Duration // 0 when unknown
	Waiting     string        // what it waits for, if it does
	Finished    bool
}

// Ownership is what a database says about who may write a move's tables here.
type Ownership struct {
	Epoch   uint64 // the epoch at which this side last became the owner; 0: never
	Attempt uint64 // coordinator attempts seen; an older one is a zombie
	Fenced  bool   // this side refuses writers other than the applier
}

// Fence asks the losing side to refuse its writers.
type Fence struct {
	Epoch  uint64        // the epoch the side must still hold
	Marker string        // unique token put into the log by the fence's transaction
	Wait   time.Duration // bound on waiting for writers in flight
}

// Claim asks the gaining side to become the owner. It is the commit point of a
// switch: one transaction that sets sequences past every key, lifts the fence
// and stores Epoch, if and only if Attempt is still current and the stored
// epoch is lower.
type Claim struct {
	Epoch   uint64
	Attempt uint64
	// Sequences are the losing side's, from its method of that name, by the
	// gaining side's columns: no number it ever gave out may be given out again.
	Sequences Sequences
}

// Sequences are, by table and then by column, the highest numbers that generators
// have given out. A column without a generator, or whose generator has given out
// nothing, is not in it.
type Sequences []map[string]int64

// Role says what a side is at the start of a move.
type Role uint8

// The two roles. Leading starts as the owner (epoch 1, unfenced), Following
// starts fenced at epoch 0.
const (
	Leading Role = iota + 1
	Following
)

// Problem is something preflight found. A Fatal one refuses the move.
type Problem struct {
	Fatal   bool   `json:"fatal"`
	Subject string `json:"subject"` // table, column or setting
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`
}

func (p Problem) String() string { return p.Subject + ": " + p.Text }

// The errors a caller decides on.
var (
	// ErrClaimRefused: a newer attempt or epoch is stored; this coordinator
	// is a zombie and must not go on.
	ErrClaimRefused = errors.New("claim refused: a newer attempt or epoch is stored")
	// ErrStaleEpoch: the side's epoch is not the one the caller believed.
	ErrStaleEpoch = errors.New("the stored epoch is not the expected one")
	// ErrStaleRunner: another engine has taken over the stream or the copy, or
	// it has moved on; applying would be a second time.
	ErrStaleRunner = errors.New("it has been taken over or has moved on")
	// ErrFenceTimeout: writers in flight did not end within the bound.
	ErrFenceTimeout = errors.New("writers did not end within the bound")
	// ErrCannotFollow: the log has something that cannot be followed, or has
	// lost something that should have been. Trying again does not help: the
	// move is paused until a person has looked, and resumes with a log that
	// begins anew and a verification that repairs.
	ErrCannotFollow = errors.New("cannot be followed any further")
	// ErrForgotten: the log does not reach back to the position, or ends before
	// it: the database was restored or replaced, or its log was cut. It is an
	// ErrCannotFollow.
	ErrForgotten = fmt.Errorf("the log does not hold the position to read from, so changes were missed: %w", ErrCannotFollow)
	// ErrIncomplete: of a row that is not there only some columns were given.
	ErrIncomplete = errors.New("a row of which only some columns were given is not there")
	// ErrUnfinished: an index or a constraint cannot be built before the copy,
	// parts of which were cut at different times, has been followed for a while.
	ErrUnfinished = errors.New("an index or a constraint cannot be built with the rows that are there")
	// ErrNotObserved: nobody notes who writes.
	ErrNotObserved = errors.New("nobody notes who writes")
	// ErrNotPrepared: the control tables are missing.
	ErrNotPrepared = errors.New("the database is not prepared for this move")
)

// Database is one side of one move. Implementations are safe for concurrent
// use. Every method is safe to repeat after a crash.
//
// Order of calls over a move's life: Preflight, Prepare, then on the leading
// side ReadChunk with LoadChunk on the other, TakeStream once per engine and
// stream, Read with Apply until Unprepare. Fence, Unfence, BumpAttempt, Claim
// and Owner belong to a switch and may come at any time after Prepare.
type Database interface {
	// Tables returns the tables the database was opened with.
	Tables() []Table
	// Close releases every connection.
	Close() error

	// Preflight looks without changing anything and reports every problem.
	Preflight(ctx context.Context, role Role) ([]Problem, error)
	// Prepare installs control tables, capture and fence for the role. It
	// does not reset an ownership that exists.
	Prepare(ctx context.Context, role Role) error
	// PrepareStatements returns what Prepare would run.
	PrepareStatements(ctx context.Context, role Role) ([]string, error)
	// Unprepare removes everything Prepare installed; with truncate, also
	// the rows of the mapped tables (never set for a side that owns them).
	Unprepare(ctx context.Context, truncate bool) error

	// Count estimates a table's rows.
	Count(ctx context.Context, table int) (int64, error)
	// ReadChunk reads up to limit rows after a key, at an exact cut.
	ReadChunk(ctx context.Context, table int, after Key, limit int) (Chunk, error)
	// EndCopy lets go of what a copy holds on to in the database that is read.
	// A copy that goes on takes it again.
	EndCopy(ctx context.Context) error
	// LoadChunk stores a chunk and its record in one transaction, replacing
	// rows of the same keys. Its Rows are mapped; its After and Last are still
	// keys of the side it was read from, which is where a copy resumes. One that
	// does not go on where the last one ended is refused with ErrStaleRunner:
	// another copy has taken over.
	LoadChunk(ctx context.Context, c Chunk) error
	// Loaded returns where a table's copy stands.
	Loaded(ctx context.Context, table int) (Loaded, error)

	// Head returns the current end of the change log.
	Head(ctx context.Context) (Position, error)
	// Read returns changes after from, up to about limit of them. An empty
	// batch with To == from means nothing is new. A row may have values of a
	// later time than To, but then the change that brought them is still to come.
	Read(ctx context.Context, from Position, limit int) (Batch, error)
	// Retained returns about how many bytes of log the move keeps from being
	// recycled.
	Retained(ctx context.Context) (int64, error)
	// Release lets go of all of it, so that the database is never endangered by
	// a move that stands still. The log cannot be followed after that; Recut
	// begins it anew.
	Release(ctx context.Context) error
	// Recut begins the log anew and returns where: everything written after
	// that will be in it, and what was missed is for a verification to find.
	// What was retained before is let go.
	Recut(ctx context.Context) (Position, error)
	// Restart moves a stream to a position in a log that began anew, and takes
	// it away from whoever had it.
	Restart(ctx context.Context, stream string, at Position) error
	// Acknowledge lets the log forget changes up to a position that is
	// durable on the follower.
	Acknowledge(ctx context.Context, upTo Position) error
	// TakeStream makes runner the only one that may Apply to the stream,
	// creating it at start if it does not exist.
	TakeStream(ctx context.Context, stream, runner string, start Position) (Checkpoint, error)
	// Apply applies a mapped batch and moves the checkpoint in one
	// transaction, or returns ErrStaleRunner and changes nothing.
	Apply(ctx context.Context, stream, runner string, b Batch) error
	// Stream returns the checkpoint without taking the stream.
	Stream(ctx context.Context, stream string) (Checkpoint, error)

	// Fence makes this side refuse its writers, after those in flight have
	// ended, and writes the marker. Returns ErrStaleEpoch or ErrFenceTimeout
	// and changes nothing otherwise.
	Fence(ctx context.Context, f Fence) error
	// Unfence lets writers in again if the side still holds epoch and no
	// higher epoch was claimed here.
	Unfence(ctx context.Context, epoch uint64) error
	// BumpAttempt raises and returns the attempt, which kills every older
	// coordinator's Claim.
	BumpAttempt(ctx context.Context) (uint64, error)
	// Sequences returns for each mapped column the highest number its generator
	// has given out.
	Sequences(ctx context.Context) (Sequences, error)
	// Claim is described at [Claim]. Returns ErrClaimRefused.
	Claim(ctx context.Context, c Claim) error
	// Owner returns the stored ownership, or ErrNotPrepared.
	Owner(ctx context.Context) (Ownership, error)

	// Scan reads rows in key order without capturing a position, for verify.
	Scan(ctx context.Context, table int, after Key, limit int) ([]Row, error)
	// Lookup returns the row of each key, nil where there is none. It sees
	// whatever Read has told of: a verification holds it against a follower that
	// may have that already.
	Lookup(ctx context.Context, table int, keys []Key) ([]Row, error)
	// Touched returns the distinct keys that this side's own writers changed
	// after since, at most limit of them, and whether that was all. Their
	// Kind and Row are not set.
	Touched(ctx context.Context, since Position, limit int) ([]Change, bool, error)
	// Prove stores rows of a table in a transaction that is rolled back, and
	// returns how many they were, or the first refusal. Those that somebody is at
	// work on may be left out, but not all of them: the side may be the one that
	// leads, and its writers are not to wait or be turned away. Returns
	// ErrFenceTimeout where all of them stay locked.
	Prove(ctx context.Context, table int, rows []Row) (int, error)
	// Repair puts or deletes keys the way an applier would, so that they are not
	// captured, all in one transaction.
	Repair(ctx context.Context, changes ...Change) error
	// Retire renames a table out of the way at the end of a move.
	Retire(ctx context.Context, suffix string) error
}

// Loaded is where the copy of a table stands.
type Loaded struct {
	Last Key // of the source: the copy resumes after it
	Rows int64
	At   Position // of the first chunk: streaming must start here
	Done bool
}

// KeyString renders a key for people and for logs.
func KeyString(k Key) string {
	parts := make([]string, len(k))
	for i, v := range k {
		parts[i] = v.String()
	}
	return strings.Join(parts, ",")
}
