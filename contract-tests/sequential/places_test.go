package sequential

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestPlacesAreStoredWithoutThoseThatAreEmpty(t *testing.T) {
	p := make(Places, clients)
	p[3], p[1023] = 7, 1
	raw, err := json.Marshal(p)
	if err != nil || string(raw) != `{"of":1024,"at":[3,7,1023,1]}` {
		t.Fatalf("%s, %v", raw, err)
	}
	var again Places
	if err := json.Unmarshal(raw, &again); err != nil || !slices.Equal(again, p) {
		t.Errorf("%v, %v", again, err)
	}
	all, err := json.Marshal([]uint32(p)) // as it was stored before
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(all, &again); err != nil || !slices.Equal(again, p) {
		t.Errorf("of what was stored before: %v, %v", again, err)
	}
}

// TestPlacesThatAreNoneAreNone, so that whoever counts begins anew, and no file
// makes us take more memory than we ever stored.
func TestPlacesThatAreNoneAreNone(t *testing.T) {
	for _, raw := range []string{`{"of":-1,"at":[]}`, `{"of":1000000000,"at":[]}`, `{"of":4,"at":[1]}`, `null`} {
		p := Places{1}
		if err := json.Unmarshal([]byte(raw), &p); err != nil || len(p) != 0 {
			t.Errorf("%s: %v, %v", raw, p, err)
		}
	}
	var p Places
	if err := json.Unmarshal([]byte(`{"of":2,"at":[1,5,9,9]}`), &p); err != nil || !slices.Equal(p, Places{0, 5}) {
		t.Errorf("%v, %v", p, err)
	}
	if err := json.Unmarshal([]byte(`{"of":"x"}`), &p); err == nil {
		t.Error("what is no number of places is taken for one")
	}
}
