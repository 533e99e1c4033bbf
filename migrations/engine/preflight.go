package engine

import (
	"context"
	"fmt"
	"slices"

	"stranglerfig/migrations/change"
)

// preflight refuses where something forbids the move.
func (m *move) preflight(ctx context.Context) error {
	plan, err := m.look(ctx)
	if err != nil {
		return err
	}
	for _, problems := range plan.Problems {
		if slices.ContainsFunc(problems, func(p change.Problem) bool { return p.Fatal }) {
			return &PreflightError{Problems: plan.Problems}
		}
	}
	return nil
}

// look looks at both databases, and holds the one against the other.
func (m *move) look(ctx context.Context) (Plan, error) {
	plan := Plan{Problems: map[change.Side][]change.Problem{}, Disk: map[change.Side]change.Footprint{}}
	for side, role := range roles {
		problems, err := m.db(side).Preflight(ctx, role)
		if err != nil {
			return plan, fmt.Errorf("preflight of the %s's database: %w", side, err)
		}
		plan.Problems[side] = problems
	}
	leader, follower := m.db(change.Monolith), m.db(change.Service)
	if matcher, ok := follower.(change.Matcher); ok {
		problems, err := matcher.Match(ctx, leader, m.spec.Plan)
		if err != nil {
			return plan, fmt.Errorf("preflight of the service's database: %w", err)
		}
		plan.Problems[change.Service] = append(plan.Problems[change.Service], problems...)
	}
	estimator, ok := follower.(change.Estimator)
	if fatal := func(p change.Problem) bool { return p.Fatal }; !ok || slices.ContainsFunc(slices.Concat(plan.Problems[change.Monolith], plan.Problems[change.Service]), fatal) {
		return plan, nil // what is missing has no size
	}
	f, ok, err := estimator.Footprint(ctx, leader, m.spec.Plan)
	if err != nil {
		return plan, fmt.Errorf("preflight of the service's database: %w", err)
	}
	if ok {
		plan.Disk[change.Service] = f
		plan.Problems[change.Service] = append(plan.Problems[change.Service], tooLittle(f)...)
	}
	return plan, nil
}

// tooLittle judges the room that there is: an estimate forbids a move only where
// not even the rows by themselves would fit.
func tooLittle(f change.Footprint) []change.Problem {
	const hint = "make room on the disk of the service's database, or move fewer columns"
	switch {
	case f.Free < 0 || f.Free >= f.Total():
		return nil
	case f.Free < f.Rows:
		return []change.Problem{{Fatal: true, Subject: "disk", Hint: hint,
			Text: fmt.Sprintf("has %s free, and the rows alone take about %s", Size(f.Free), Size(f.Rows))}}
	}
	return []change.Problem{{Subject: "disk", Hint: hint,
		Text: fmt.Sprintf("has %s free, and the copy takes about %s while it lasts", Size(f.Free), Size(f.Total()))}}
}
