package route

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"stranglerfig/migrations/change"
)

// Client is what a decision needs to know of whoever sent a request.
type Client struct {
	Bucket int  // 0 to 9999, from [Bucket]
	Chance int  // 0 to 9999, drawn anew for each request
	Fresh  bool // wrote something that the follower may not have yet
	// Override is the side that a tester's token asks for; "" where there is none.
	Override change.Side
}

// Capability is what a decision needs to know of a capability at a moment.
type Capability struct {
	Data  bool        // its data is moved, so writes obey WriteOwner alone
	Known bool        // somebody has named the owner of its writes
	Held  bool        // writes wait
	Owner change.Side // of the writes
	Epoch uint64
	Stale bool // the follower is too far behind to answer reads

	// Reverse is the percentage of the reads that the service answers that are
	// mirrored back to the monolith while its data follows the service's.
	Reverse float64
	// Isolated says that there is a store of its own to which writes that the
	// monolith answers are mirrored.
	Isolated bool
}

// Decision is who answers, and why.
type Decision struct {
	Side   change.Side `json:"side"`
	Mirror bool        `json:"mirror"` // send a copy to the other side, or a write to the isolated store, and compare
	Hold   bool        `json:"hold"`   // the write waits until writes are released
	Epoch  uint64      `json:"epoch"`
	Reason string      `json:"reason"`
}

// Bucket hashes a client's key into 10,000 buckets: the same on every replica,
// and independent from route to route only through the salt.
func Bucket(salt, key string) int {
	sum := sha256.Sum256([]byte(salt + "\x00" + key))
	return int(binary.BigEndian.Uint64(sum[:8]) % 10_000)
}

// Decide says who answers a request for a route; r is nil where none is
// declared.
//
// Writes of a capability whose data moves obey the write owner and nothing
// else, because the databases do. Reads obey the route's word, except that a
// client reads what it has written and that nobody reads a stale follower. A
// tester's override stands in the place of the word, for reads alone.
func Decide(r *Route, method string, cl Client, c Capability) Decision {
	if r == nil {
		return Decision{Side: change.Monolith, Reason: "no route is declared, so the monolith answers"}
	}
	if r.WritesWith(method) {
		return decideWrite(r, c)
	}
	d := decideRead(r, cl)
	d.Epoch = c.Epoch
	if !c.Data || !c.Known {
		return d
	}
	if d.Side == c.Owner {
		d.Mirror = d.Mirror || cl.Override == "" && mirrorsBack(d.Side, cl, c)
		return d
	}
	switch {
	case c.Stale:
		d.Side, d.Mirror = c.Owner, false
		d.Reason = "the " + string(c.Owner.Other()) + "'s data is too far behind, so the write owner answers"
	case cl.Fresh:
		d.Side, d.Mirror = c.Owner, false
		d.Reason = "the client has just written, so the write owner answers"
	}
	return d
}

// mirrorsBack reports whether a read that the service answers is mirrored to the
// monolith: while the monolith's data follows, what it would answer is known,
// and a way back that nobody looks at is none.
func mirrorsBack(side change.Side, cl Client, c Capability) bool {
	return side == change.Service && !c.Stale && float64(cl.Chance) < c.Reverse*100
}

// WritesWith reports whether a request with a method is a write of the route. A
// route that was declared without a method reads with the methods that read.
func (r *Route) WritesWith(method string) bool {
	return r.Writes && (r.method != "" || !Reads(method))
}

func decideWrite(r *Route, c Capability) Decision {
	if !c.Data {
		side := change.Monolith
		if r.Owner.Stage == Service {
			side = change.Service
		}
		return Decision{Side: side, Mirror: c.Isolated && side == change.Monolith, Reason: r.ownedBy(side)}
	}
	d := Decision{Side: c.Owner, Epoch: c.Epoch, Hold: c.Held || !c.Known, Mirror: c.Isolated && c.Known && c.Owner == change.Monolith}
	switch {
	case !c.Known:
		d.Side, d.Reason = change.Monolith, "the owner of the writes is not known yet, so they wait"
	case c.Held:
		d.Reason = "a switch is under way, so writes wait"
	default:
		d.Reason = "the " + string(c.Owner) + " owns the writes of " + r.Capability + " at epoch " + strconv.FormatUint(c.Epoch, 10)
	}
	return d
}

func decideRead(r *Route, cl Client) Decision {
	if cl.Override != "" {
		return Decision{Side: cl.Override, Reason: "a tester's override asks for the " + string(cl.Override)}
	}
	switch r.Owner.Stage {
	case Shadow:
		d := Decision{Side: change.Monolith, Mirror: r.Owner.Takes(cl.Bucket), Reason: "the monolith answers a shadow route; this request is not in its share"}
		if d.Mirror {
			d.Reason = "the monolith answers, the service is mirrored and compared"
		}
		return d
	case Canary:
		if r.Owner.Takes(cl.Bucket) {
			return Decision{Side: change.Service, Reason: "bucket " + strconv.Itoa(cl.Bucket) + " is within " + r.Owner.String()}
		}
		return Decision{Side: change.Monolith, Reason: "bucket " + strconv.Itoa(cl.Bucket) + " is outside " + r.Owner.String()}
	case Service:
		return Decision{Side: change.Service, Reason: r.ownedBy(change.Service)}
	}
	return Decision{Side: change.Monolith, Reason: r.ownedBy(change.Monolith)}
}

// sayOwner says once and for all what ownedBy says of the route's word.
func (r *Route) sayOwner() {
	r.owned = ""
	if side, whole := r.Owner.whole(); whole {
		r.owned = r.ownedBy(side)
	}
}

// ownedBy says that the route's word names a side. For a route of a table that
// was said when it was compiled.
func (r *Route) ownedBy(side change.Side) string {
	switch {
	case r.owned == "":
	case r.Owner.Stage == Service && side == change.Service, r.Owner.Stage == Monolith && side == change.Monolith:
		return r.owned
	}
	what := " is owned by the "
	if r.Writes {
		what = " is a write route owned by the "
	}
	return "route " + strconv.Quote(r.ID) + what + string(side)
}
