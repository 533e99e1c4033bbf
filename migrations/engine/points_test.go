package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// TestEveryOperationPassesItsNamedPointsInOrder takes a move through its life
// twice, to its cancellation and to its completion.
func TestEveryOperationPassesItsNamedPointsInOrder(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	var mu sync.Mutex
	var passed []string
	w.restart(engine.Options{At: func(point string) {
		mu.Lock()
		defer mu.Unlock()
		if len(passed) == 0 || passed[len(passed)-1] != point { // a chunk more is the same point
			passed = append(passed, point)
		}
	}})
	w.ready()
	must(t, w.engine.Cancel(ctx, "billing"))
	w.ready()
	_, err := w.engine.Rehearse(ctx, "billing", nil)
	must(t, err)
	for _, to := range []change.Side{change.Service, change.Monolith, change.Service} {
		_, err := w.engine.Switch(ctx, "billing", to, "", nil)
		must(t, err)
	}
	must(t, w.engine.Complete(ctx, "billing", "billing"))
	var want []string
	for _, operation := range []string{"prepare", "copy", "verify", "cancel", "prepare", "copy", "verify", "rehearsal", "cutover", "rollback", "cutover", "complete"} {
		want = append(want, engine.Points(operation)...)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(passed, want) {
		t.Errorf("passed:\n%s\nwant:\n%s", strings.Join(passed, "\n"), strings.Join(want, "\n"))
	}
}
