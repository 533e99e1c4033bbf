package shadow

import (
	"crypto/sha256"
	"net/url"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/strangler-proxy/proxy"
)

// An isolated store is sent writes one after the other; the monolith had some of
// them at the same time, in an order that nobody knows, and had some that the
// store has missed. Writes about one thing, such as a payment of an invoice and
// its being voided, may end otherwise for that alone.

// footprint is a write that a client has made, and a thing that it was about.
type footprint struct {
	thing   string
	at, end time.Time
}

// contests are the writes of late, and what the isolated stores may have otherwise
// than the monolith. The zero value is one of which nothing is known.
type contests struct {
	ring []footprint // the oldest at next, once it is full
	next int
	// skewed are things that a store has missed a write about, or has written
	// otherwise, in two generations.
	skewed, older map[string]bool
}

const (
	footprints  = 4096    // remembered
	skewedMost  = 5_000   // things in one generation
	bodyForUses = 4 << 10 // bytes of a body, at most, that is looked into for things
	// longestThing is how many bytes of what clients call a thing are remembered; of
	// a longer one it is a digest.
	longestThing = 64
)

// things are what a write is about, by its route's wildcards and by what a
// contract's chains use: of a capability, because that is what a store is for.
func (s *Shadow) things(x *proxy.Exchange) []string {
	var all []string
	add := func(value string) {
		if len(value) > longestThing {
			sum := sha256.Sum256([]byte(value))
			value = string(sum[:])
		}
		if thing := x.Route.Capability + "\x00" + value; !slices.Contains(all, thing) {
			all = append(all, thing)
		}
	}
	_, pattern, _ := strings.Cut(x.Route.ID, "/")
	pattern, _, _ = strings.Cut(pattern, " ")
	values := strings.Split(strings.TrimPrefix(x.Path, "/"), "/")
	for n, segment := range strings.Split(pattern, "/") {
		if strings.HasPrefix(segment, "{") && n < len(values) {
			add(values[n])
		}
	}
	uses := s.o.Identifiers(x.Route.Capability, x.Route.ID).Uses
	if len(uses) == 0 || len(x.Body) > bodyForUses {
		return all
	}
	query, _ := url.ParseQuery(x.Query) // what does not parse names nothing
	q := contract.Request{Path: x.Path, Query: query, Header: x.Header.Map(), Body: x.Body}
	for _, u := range uses {
		if value, there := u.Asks(q); there {
			add(url.PathEscape(value))
		}
	}
	return all
}

// note remembers a write and what it was about. The caller holds the lock.
func (c *contests) note(x *proxy.Exchange, things []string) {
	for _, thing := range things {
		f := footprint{thing, x.At, answered(x)}
		if len(c.ring) < footprints {
			c.ring = append(c.ring, f)
			continue
		}
		c.ring[c.next] = f
		c.next = (c.next + 1) % footprints
	}
}

// skew remembers that a store may have things otherwise from now on. The caller
// holds the lock.
func (c *contests) skew(things []string) {
	for _, thing := range things {
		if len(c.skewed) >= skewedMost {
			c.older, c.skewed = c.skewed, nil
		}
		if c.skewed == nil {
			c.skewed = map[string]bool{}
		}
		c.skewed[thing] = true
	}
}

// contested reports whether a write of x's time, about one of the same things,
// may explain that it ended otherwise on the store. The caller holds the lock.
func (c *contests) contested(x *proxy.Exchange, things []string) bool {
	if len(things) > 0 && len(c.ring) == footprints && c.ring[c.next].at.After(x.At) {
		return true // what was there then is forgotten
	}
	self := map[string]bool{}
	for _, f := range c.ring {
		switch {
		case !slices.Contains(things, f.thing) || f.end.Before(x.At) || f.at.After(answered(x)):
		case f.at.Equal(x.At) && f.end.Equal(answered(x)) && !self[f.thing]:
			self[f.thing] = true
		default:
			return true
		}
	}
	return slices.ContainsFunc(things, func(thing string) bool { return c.skewed[thing] || c.older[thing] })
}

// contested reports so of a write.
func (s *Shadow) contested(x *proxy.Exchange) bool {
	things := s.things(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contests.contested(x, things)
}

// noteWrite remembers a write of a client's; missed says that the store is not
// sent it.
func (s *Shadow) noteWrite(x *proxy.Exchange, missed bool) {
	things := s.things(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contests.note(x, things)
	if missed {
		s.contests.skew(things)
	}
}
