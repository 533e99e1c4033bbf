// Package route decides, purely, who answers a request: it canonicalises the
// path, finds the route in a compiled table, and applies the route's owner
// word and the capability's write owner. It does no I/O and knows no clock.
//
// Start at [Canonical], [Compile] and [Decide].
package route

import (
	"fmt"
	"strconv"
	"strings"

	"stranglerfig/migrations/change"
)

// Stage is the first word of an owner.
type Stage uint8

// The stages of a route, in the order of the ladder.
const (
	Monolith Stage = iota // the monolith answers
	Shadow                // the monolith answers, the service is mirrored and compared
	Canary                // a sticky share of clients is answered by the service
	Service               // the service answers
)

var stages = [...]string{"monolith", "shadow", "canary", "service"}

func (s Stage) String() string { return stages[s] }

// Owner is the owner word of a route. Share is the percentage of a shadow or a
// canary, from 0.01 to 100.
type Owner struct {
	Stage Stage
	Share float64
}

// AcceptedOwners is what an error message says about owner words.
const AcceptedOwners = "monolith, shadow [N%], canary N%, service"

// ParseOwner reads an owner word.
func ParseOwner(text string) (Owner, error) {
	fields := strings.Fields(text)
	bad := func() error { return fmt.Errorf("%q is not an owner: accepted are %s", text, AcceptedOwners) }
	if len(fields) == 0 || len(fields) > 2 {
		return Owner{}, bad()
	}
	for i, name := range stages {
		if fields[0] != name {
			continue
		}
		o := Owner{Stage: Stage(i), Share: 100}
		switch {
		case len(fields) == 2 && (o.Stage == Shadow || o.Stage == Canary):
			share, err := strconv.ParseFloat(strings.TrimSuffix(fields[1], "%"), 64)
			if err != nil || !strings.HasSuffix(fields[1], "%") || !(share >= 0.01 && share <= 100) { // NaN is neither
				return Owner{}, fmt.Errorf("%q is not a share: accepted are 0.01%% to 100%%, such as %q", fields[1], fields[0]+" 10%")
			}
			o.Share = share
		case len(fields) == 2, o.Stage == Canary:
			return Owner{}, bad()
		}
		return o, nil
	}
	return Owner{}, bad()
}

func (o Owner) String() string {
	switch {
	case o.Stage == Canary, o.Stage == Shadow && o.Share != 100:
		return o.Stage.String() + " " + strconv.FormatFloat(o.Share, 'f', -1, 64) + "%"
	}
	return o.Stage.String()
}

// Above reports whether o gives the service more than p does: a step up the
// ladder, which gates guard. Steps down are always free.
func (o Owner) Above(p Owner) bool {
	return o.Stage > p.Stage || o.Stage == p.Stage && o.Share > p.Share
}

// whole returns the side that answers every request, if one does.
func (o Owner) whole() (side change.Side, whole bool) {
	switch o.Stage {
	case Monolith:
		return change.Monolith, true
	case Service:
		return change.Service, true
	}
	return "", false
}

// Takes reports whether a bucket, from 0 to 9999, falls into the share.
func (o Owner) Takes(bucket int) bool { return float64(bucket) < o.Share*100 }
