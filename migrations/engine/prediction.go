package engine

import (
	"fmt"
	"time"
)

// Prediction is the pause that a switch would make now, as a rehearsal measured
// its parts, each in milliseconds.
type Prediction struct {
	MS     float64 `json:"ms"`     // all of it
	Hold   float64 `json:"hold"`   // until the writes inside have ended
	Lock   float64 `json:"lock"`   // until the fence has the loser's tables
	Marker float64 `json:"marker"` // until the fence's marker has reached the gainer
	Keys   float64 `json:"keys"`   // comparing the keys touched meanwhile
	// Claim is an estimate: a rehearsal does not claim. It opens the loser's
	// fence again, which is the same work in the other database.
	Claim float64 `json:"claim"`
}

// predict adds up what the steps of a rehearsal took.
func predict(steps []StepTime) *Prediction {
	var p Prediction
	for name, part := range map[string]*float64{"hold": &p.Hold, "fence": &p.Lock, "drain": &p.Marker, "verify": &p.Keys, "unfence": &p.Claim} {
		for _, s := range steps {
			if s.Name == name {
				*part += s.MS
			}
		}
		p.MS += *part
	}
	return &p
}

// String is what a person reads.
func (p *Prediction) String() string {
	return fmt.Sprintf("predicted pause %.1f ms: hold %.1f, lock %.1f, marker %.1f, touched keys %.1f, claim ~%.1f", p.MS, p.Hold, p.Lock, p.Marker, p.Keys, p.Claim)
}

// tooLong says that a switch would reach the bound of its pause, "" if not.
func (p *Prediction) tooLong(bound time.Duration) string {
	if p.MS <= milliseconds(bound) {
		return ""
	}
	return fmt.Sprintf("a switch would take longer than hold.wait (%s) and turn back: raise it, or find out above what takes the time", bound)
}
