package conformance

import (
	"strings"
	"testing"
)

// stage is a listener in front of a backend that is played by a script: both
// ends are read and written byte for byte.
type stage struct {
	*cell
	script *script
}

// TestOnTheWire runs what both ends must be watched for byte by byte.
func TestOnTheWire(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			if listener.h2 || backend.h2 {
				continue
			}
			t.Run(listener.name+" to "+backend.name, func(t *testing.T) {
				t.Parallel()
				var s *stage
				if !holds(t, func(t testing.TB) { s = newStage(t, listener, backend) }) {
					return
				}
				for _, part := range [][]scene{headScenes, framingScenes, connectionScenes} {
					for _, p := range part {
						check(t, p.name, func(t testing.TB) { p.keep(t, s) })
					}
				}
				for _, p := range aloneScenes {
					check(t, p.name, func(t testing.TB) { p.keep(t, newStage(t, listener, backend)) })
				}
			})
		}
	}
}

// newStage raises one; more goes into strangler.yaml.
func newStage(t testing.TB, listener, backend kind, more ...string) *stage {
	t.Helper()
	s := &stage{cell: &cell{listener: listener, id: newIdentity(t)}}
	s.script = newScript(t, backend, s.id)
	s.front = start(t, listener.listener(s.id)+"monolith: "+backend.backend(s.script.address, s.id)+"\n"+strings.Join(more, ""))
	s.isWell(t)
	return s
}

// scene is a case on a stage.
type scene struct {
	name string
	keep func(t testing.TB, s *stage)
}
