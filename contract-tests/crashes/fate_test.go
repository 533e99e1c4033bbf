package crashes

import (
	"fmt"
	"strings"
	"testing"

	"stranglerfig/migrations/engine"
)

// fate is what happens to an operation: nothing, where the fault is "".
type fate struct {
	operation, point string
	fault            fault
}

func (f fate) String() string {
	if f.fault == "" {
		return f.operation
	}
	return fmt.Sprintf("%s: %s", f.point, f.fault)
}

// operations are those that have points.
var operations = []string{"prepare", "copy", "verify", "resume", "rehearsal", "cutover", "rollback", "cancel", "complete"}

// lives lists lives of a move that pass every point of every operation with a
// fault: with one, which the seed decides, or with each of them in turn.
func lives(seed uint64, all bool) (lives [][]fate) {
	rounds := 1
	if all {
		rounds = len(faults)
	}
	for round := range rounds {
		for n, end := range append(engine.Points("cancel"), engine.Points("complete")...) {
			lives = append(lives, fates(n, end, seed+uint64(round)))
		}
	}
	return lives
}

// fates is a life in which each operation meets a fault at its point of that
// number, and the last one at the end.
func fates(n int, end string, turn uint64) (life []fate) {
	meet := func(operation, point string) {
		life = append(life, fate{operation, point, faults[(turn+uint64(n+len(life)))%uint64(len(faults))]})
	}
	for _, operation := range []string{"prepare", "copy", "verify", "resume", "rehearsal", "cutover", "rollback"} {
		points := engine.Points(operation)
		switch {
		case n < len(points):
			meet(operation, points[n])
		case operation != "resume": // which needs a pause before it
			life = append(life, fate{operation: operation})
		}
		if operation == "resume" && n < len(points) {
			life = append(life, fate{operation: "repair"}) // of what the pause has missed
		}
	}
	last, _, _ := strings.Cut(end, ".")
	if last == "complete" {
		life = append(life, fate{operation: "cutover"})
	}
	meet(last, end)
	return life
}

// TestASampleMeetsEveryPointAndEveryKindOfFault looks at what would be played.
func TestASampleMeetsEveryPointAndEveryKindOfFault(t *testing.T) {
	for _, all := range []bool{false, true} {
		points, kinds, both := map[string]bool{}, map[fault]bool{}, map[fate]bool{}
		for _, life := range lives(*seed, all) {
			for _, f := range life {
				points[f.point], kinds[f.fault], both[f] = true, true, true
			}
		}
		for _, operation := range operations {
			for _, point := range engine.Points(operation) {
				if !points[point] {
					t.Errorf("all %v: %s is never met", all, point)
				}
				for _, kind := range faults {
					if !kinds[kind] || (all && !both[fate{operation, point, kind}]) {
						t.Errorf("all %v: at %s never happens: %s", all, point, kind)
					}
				}
			}
		}
	}
}
