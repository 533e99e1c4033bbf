package engine

import (
	"context"
	"errors"
	"fmt"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
	"stranglerfig/migrations/mapping"
)

// claim hands the loser's sequences to the gainer and makes it the owner.
func (sw *switching) claim(ctx context.Context, s cutover.Move) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	sequences, err := sw.m.db(s.Owner).Sequences(ctx)
	if err != nil {
		return fmt.Errorf("read the loser's sequences: %w", err)
	}
	return sw.m.db(s.To).Claim(ctx, change.Claim{Epoch: s.Epoch + 1, Attempt: sw.attempt, Sequences: mapSequences(sw.m.spec.Plan, s.Owner, sequences)})
}

// mapSequences names the columns of a side's sequences as the other side does.
// What a transform makes another number of is left out.
func mapSequences(plan *mapping.Plan, from change.Side, given change.Sequences) change.Sequences {
	mapped := make(change.Sequences, len(given))
	for i, numbers := range given {
		mapped[i] = map[string]int64{}
		for _, c := range plan.Tables[i].Columns() {
			here, there := c.From, c.To
			if from == change.Service {
				here, there = there, here
			}
			if n, ok := numbers[here]; ok && c.From != "" && c.Transform().Kind != "scale" {
				mapped[i][there] = n
			}
		}
	}
	return mapped
}

// ask finds out, after a bump has killed every claim under way, whether one
// had been committed before.
func (sw *switching) ask(ctx context.Context, s cutover.Move) (cutover.Event, error) {
	var o change.Ownership
	err := sw.untilDone(ctx, "ask", func(ctx context.Context) (err error) {
		o, err = sw.m.db(s.To).Owner(ctx)
		return err
	})
	if err == nil && o.Epoch > s.Epoch {
		return cutover.Claimed, nil
	}
	return cutover.Unclaimed, err
}

// unfence lets the loser's writers in again. A loser that never was fenced, or
// whose epoch is not the one the ledger remembers, must not keep everyone
// waiting: what counts is that the gainer has not claimed.
func (sw *switching) unfence(ctx context.Context, s cutover.Move) error {
	err := sw.m.db(s.Owner).Unfence(ctx, s.Epoch)
	if !errors.Is(err, change.ErrStaleEpoch) {
		return err
	}
	loser, err := sw.m.db(s.Owner).Owner(ctx)
	if err != nil || !loser.Fenced {
		return err
	}
	gainer, err := sw.m.db(s.To).Owner(ctx)
	if err != nil {
		return err
	}
	if gainer.Epoch > loser.Epoch {
		return fmt.Errorf("the %s claimed epoch %d: %w", s.To, gainer.Epoch, change.ErrStaleEpoch)
	}
	return sw.m.db(s.Owner).Unfence(ctx, loser.Epoch)
}
