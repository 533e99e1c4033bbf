package verify

import (
	"context"

	"stranglerfig/migrations/change"
)

// pair is a key's row on both sides, the owner's also as the follower should
// store it.
type pair struct {
	key             change.Key
	owner, follower change.Row
	want            change.Row
	err             error // the owner's row cannot be mapped
}

func (p pair) equal() bool { return p.err == nil && sameRow(p.want, p.follower) }

func sameRow(a, b change.Row) bool {
	if (a == nil) != (b == nil) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func suspects(pairs []pair) []change.Key {
	var keys []change.Key
	for _, p := range pairs {
		if !p.equal() {
			keys = append(keys, p.key)
		}
	}
	return keys
}

// pairs looks keys up on both sides. The owner comes second: an owner's row that is
// what it was before the follower's was read was that meanwhile as well, and the
// follower cannot be ahead of it.
func (v *verification) pairs(ctx context.Context, i int, keys []change.Key) ([]pair, error) {
	pairs := make([]pair, len(keys))
	var mapped []change.Key
	var at []int // indices into pairs of the keys that can be mapped
	for j, key := range keys {
		pairs[j].key = key
		there, err := v.followerKey(i, key)
		if err != nil {
			pairs[j].err = err
			continue
		}
		mapped, at = append(mapped, there), append(at, j)
	}
	followers, err := v.Follower.Lookup(ctx, i, mapped)
	if err != nil {
		return nil, err
	}
	owners, err := v.Owner.Lookup(ctx, i, keys)
	if err != nil {
		return nil, err
	}
	mapRow := v.Plan.Tables[i].Forward
	if v.OwnerSide == change.Service {
		mapRow = v.Plan.Tables[i].Inverse
	}
	for j, row := range owners {
		pairs[j].owner = row
	}
	for n, j := range at {
		p := &pairs[j]
		p.follower = followers[n]
		if p.owner != nil {
			p.want, p.err = mapRow(p.owner)
		}
	}
	return pairs, nil
}

func (v *verification) ownerKey(i int, follower change.Key) (change.Key, error) {
	if v.OwnerSide == change.Monolith {
		return v.Plan.Tables[i].InverseKey(follower)
	}
	return v.Plan.Tables[i].ForwardKey(follower)
}

func (v *verification) followerKey(i int, owner change.Key) (change.Key, error) {
	if v.OwnerSide == change.Monolith {
		return v.Plan.Tables[i].ForwardKey(owner)
	}
	return v.Plan.Tables[i].InverseKey(owner)
}
