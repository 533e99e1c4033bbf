package change

import (
	"context"
	"time"

	"stranglerfig/migrations/mapping"
)

// What some databases can do beside what [Database] asks of all of them. Whoever
// uses it does without where it is not offered.

// Sparse is offered by a database whose log does not repeat large values that an
// update has left alone, and whose rows can be updated without them. Between two
// of those they need not travel.
type Sparse interface {
	// ReadSparse does what Read does, but leaves them out, as Change.Absent says.
	// Apply takes such a batch and returns ErrIncomplete, having changed nothing,
	// where a row is not there that should keep them.
	ReadSparse(ctx context.Context, from Position, limit int) (Batch, error)
	// Complete puts the values in, as they are now.
	Complete(ctx context.Context, b Batch) (Batch, error)
}

// Loader is offered by a database that fills faster without some of what its
// tables have.
type Loader interface {
	// BeginLoad sets aside the indexes and constraints that a load does not
	// need, if nothing has been loaded yet. Their definitions are kept in the
	// database until they are built again.
	BeginLoad(ctx context.Context) error
	// FinishLoad builds again what was set aside. It returns ErrUnfinished
	// where rows that are not there yet stand in the way.
	FinishLoad(ctx context.Context) error
}

// Pusher is offered by a database that can copy a range from another one of
// its kind without the rows passing through this process. It must agree with
// the mapping's reference semantics.
type Pusher interface {
	// PushChunk does what ReadChunk here, mapping, and LoadChunk on target
	// would do together; ok is false when the pair or the plan does not allow
	// it, and then nothing was done.
	PushChunk(ctx context.Context, target Database, plan *mapping.Table, table int, after Key, limit int) (c Chunk, rows int64, ok bool, err error)
}

// Part is a range of a table's keys that is copied by itself, and how far its
// copy has come: its Loaded.Last begins at the key before the range.
type Part struct {
	Table, No int
	UpTo      Key // the last key of the range; nil: it ends with the table
	Loaded
}

// PartPusher is offered by a database that can copy ranges of one table to
// another database of its kind side by side, all of them at one exact cut. It
// must agree with the mapping's reference semantics.
type PartPusher interface {
	// Parts returns how the copy of a table is cut, into at most so many parts
	// where it is not yet; ok is false where the target is of another kind, or
	// the copy was begun in one piece.
	Parts(ctx context.Context, target Database, table, parts int) (all []Part, ok bool, err error)
	// PushPart copies the next rows of a part, at most limit, in one
	// transaction of the target, and returns the part as it is then. It returns
	// ErrStaleRunner where another copy has taken the part any further.
	PushPart(ctx context.Context, target Database, plan *mapping.Table, p Part, limit int) (next Part, rows int64, err error)
}

// Hasher is offered by a database that can compare ranges of its rows with those
// of a follower of its kind without the rows leaving either. What it hashes of
// its own rows is what the mapping makes of them, so that equal hashes mean that
// the follower holds what it should. ok is false where the pair or the plan does
// not allow it; rows then have to be compared one by one. A row that the mapping
// refuses makes the hashes of its range differ. The mapping must not refuse a
// range's own bounds.
type Hasher interface {
	// Bounds returns keys that cut what a table has after a key into ranges of
	// about so many rows.
	Bounds(ctx context.Context, table int, after Key, rows int64) ([]Key, error)
	// Split returns keys that cut a range into ranges of so many rows, exactly:
	// it reads every key of the range.
	Split(ctx context.Context, r Range, rows int64) ([]Key, error)
	// Digests hashes a range on both sides; side is the one of this database.
	Digests(ctx context.Context, follower Database, plan *mapping.Table, side Side, r Range) (here, there Digest, ok bool, err error)
	// Fingerprints returns every row's key, each in its own side's form.
	Fingerprints(ctx context.Context, follower Database, plan *mapping.Table, side Side, r Range) (here, there []Fingerprint, ok bool, err error)
}

// Range is a range of a table's keys: after the one, up to and with the other;
// nil is where the table begins or ends.
type Range struct {
	Table       int
	After, UpTo Key
}

// Digest is the number of rows in a range, and a hash of them.
type Digest struct{ Rows, Hash int64 }

// Fingerprint is a row's key and a hash of all of it.
type Fingerprint struct {
	Key  Key
	Hash int64
}

// Matcher is offered by a database that can be held against the one whose rows it
// is to take.
type Matcher interface {
	// Match says where the leader's rows may not fit, without looking at rows.
	Match(ctx context.Context, leader Database, plan *mapping.Plan) ([]Problem, error)
}

// Footprint is about how much room a copy takes where it goes, in bytes.
type Footprint struct {
	Rows     int64 `json:"rows"`     // with what is stored out of line
	Indexes  int64 `json:"indexes"`  // all of them
	Building int64 `json:"building"` // for a while, to build the largest of them
	Log      int64 `json:"log"`      // until it is recycled
	Free     int64 `json:"free"`     // there is now; -1: nobody can tell
}

// Total is what has to be free.
func (f Footprint) Total() int64 { return f.Rows + f.Indexes + f.Building + f.Log }

// Estimator is offered by a database that can estimate how much room the rows of
// the one it is to take them from need.
type Estimator interface {
	// Footprint estimates it from statistics, without looking at rows; ok is
	// false where the leader is of another kind.
	Footprint(ctx context.Context, leader Database, plan *mapping.Plan) (f Footprint, ok bool, err error)
}

// Observer is offered by a database that can tell its writers apart. It may be
// used whether the database is prepared or not.
type Observer interface {
	// Observe begins or ends noting who writes the mapped tables; our own
	// appliers are not noted. Ending forgets what was noted.
	Observe(ctx context.Context, on bool) error
	// Sightings returns who was seen since then, or ErrNotObserved.
	Sightings(ctx context.Context) ([]Sighting, error)
}

// Sighting is somebody who was seen writing a table.
type Sighting struct {
	Table       string    `json:"table"`
	Operation   string    `json:"operation"` // insert, update, delete or truncate
	Role        string    `json:"role"`
	Application string    `json:"application"`
	Client      string    `json:"client"`    // address, or local
	Statement   string    `json:"statement"` // the last one, its first 1,000 characters
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Sessions    int64     `json:"sessions"`
}

// Partitioned is offered by a database whose tables may have parts that come and
// go without a word in the log.
type Partitioned interface {
	// Attend takes in parts that are new, and returns an ErrCannotFollow where
	// rows came or went with one. It is to be called now and then, and before a
	// switch; Fence does the same.
	Attend(ctx context.Context) error
}

// Maintained is offered by a database that works on its tables by itself now and
// then, which keeps them from being fenced.
type Maintained interface {
	// StopMaintenance ends such work, which may take a few seconds and holds no
	// writer up. Work that somebody has asked for goes on.
	StopMaintenance(ctx context.Context) error
}

// Fickle is offered by a database that may be away for a while.
type Fickle interface {
	// Away reports whether an error means that the database could not be
	// reached or went away, so that trying again later may help.
	Away(err error) bool
	// Refresh lets go of connections that have broken unnoticed, so that what
	// comes next does not meet them.
	Refresh(ctx context.Context)
}

// Lagging is offered by a database that others replicate.
type Lagging interface {
	// Lag returns how far behind the slowest of its standbys is.
	Lag(ctx context.Context) (time.Duration, error)
}
