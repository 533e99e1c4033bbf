package engine

import (
	"strings"
	"testing"
	"time"
)

// TestAPredictionIsTheSumOfItsParts, and warns where no switch could end in time.
func TestAPredictionIsTheSumOfItsParts(t *testing.T) {
	p := predict([]StepTime{{"bump", 100}, {"hold", 3}, {"fence", 1}, {"drain", 12}, {"verify", 4}, {"unfence", 2.5}, {"release", 50}})
	if want := "predicted pause 22.5 ms: hold 3.0, lock 1.0, marker 12.0, touched keys 4.0, claim ~2.5"; p.String() != want {
		t.Errorf("%s, want %s", p, want)
	}
	if text := p.tooLong(23 * time.Millisecond); text != "" {
		t.Error(text)
	}
	if text := p.tooLong(22 * time.Millisecond); !strings.Contains(text, "hold.wait (22ms)") {
		t.Error(text)
	}
}
