package control

import "time"

const (
	workFor = 500 * time.Microsecond
	restFor = 500 * time.Microsecond
)

// pace lets large work be done beside requests. A goroutine that computes for
// long keeps those waiting that are to run on the same processor, and with two
// of these that is every other request.
type pace struct{ rested time.Time }

// pause rests for a moment after each stretch of work.
func (p *pace) pause() {
	now := time.Now()
	switch worked := now.Sub(p.rested); {
	case p.rested.IsZero():
		p.rested = now
	case worked >= workFor:
		time.Sleep(restFor)
		p.rested = time.Now()
	}
}
