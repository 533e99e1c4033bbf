package engine

import (
	"context"
	"errors"
	"fmt"

	"stranglerfig/migrations/change"
)

// Observe notes from now on, or no longer, who writes the tables of a move, in
// every database that can tell its writers apart. It refuses where the
// monolith's cannot: that is where forgotten writers are.
func (e *Engine) Observe(asked context.Context, capability string, on bool) error {
	return e.exclusively(asked, capability, func(ctx context.Context, m *move) error {
		if err := m.reconnect(ctx); err != nil {
			return err
		}
		if _, ok := m.db(change.Monolith).(change.Observer); !ok {
			return errors.New("a database of the monolith's kind cannot tell its writers apart: look for them in what is deployed")
		}
		for _, side := range sides {
			if o, ok := m.db(side).(change.Observer); ok {
				if err := o.Observe(ctx, on); err != nil {
					return fmt.Errorf("observe the %s's database: %w", side, err)
				}
			}
		}
		text := "the writers of its tables are noted"
		if !on {
			text = "the writers of its tables are no longer noted"
		}
		return m.save(ctx, "observe", text, nil)
	})
}

// Writers returns who was seen writing the tables of a move, by side.
func (e *Engine) Writers(asked context.Context, capability string) (map[change.Side][]change.Sighting, error) {
	seen := map[change.Side][]change.Sighting{}
	err := e.exclusively(asked, capability, func(ctx context.Context, m *move) error {
		if err := m.reconnect(ctx); err != nil {
			return err
		}
		observed := false
		for _, side := range sides {
			o, ok := m.db(side).(change.Observer)
			if !ok {
				continue
			}
			all, err := o.Sightings(ctx)
			if errors.Is(err, change.ErrNotObserved) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read who writes the %s's database: %w", side, err)
			}
			seen[side], observed = all, true
		}
		if !observed {
			return fmt.Errorf("%w of %s: strangler data prepare %[2]s --observe begins to", change.ErrNotObserved, capability)
		}
		return nil
	})
	return seen, err
}
