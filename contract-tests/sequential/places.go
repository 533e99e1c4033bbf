package sequential

import "encoding/json"

// Places are counts of things that are told apart by a hash, as far as there are
// places for them. Most are 0, and are left out where they are stored.
type Places []uint32

// storedPlaces lists the counts that are not 0, each after its place.
type storedPlaces struct {
	Of int      `json:"of"` // places
	At []uint32 `json:"at"`
}

// MarshalJSON implements [json.Marshaler].
func (p Places) MarshalJSON() ([]byte, error) {
	s := storedPlaces{Of: len(p), At: []uint32{}}
	for place, n := range p {
		if n > 0 {
			s.At = append(s.At, uint32(place), n)
		}
	}
	return json.Marshal(s)
}

// UnmarshalJSON implements [json.Unmarshaler]. It also reads what was stored
// before, which was a list of all of them. What is neither is nothing.
func (p *Places) UnmarshalJSON(raw []byte) error {
	*p = nil
	if raw[0] == '[' {
		return json.Unmarshal(raw, (*[]uint32)(p))
	}
	var s storedPlaces
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if s.Of < 0 || s.Of > max(clients, shapes) || len(s.At)%2 != 0 {
		return nil
	}
	*p = make(Places, s.Of)
	for i := 0; i < len(s.At); i += 2 {
		if place := s.At[i]; int(place) < s.Of {
			(*p)[place] = s.At[i+1]
		}
	}
	return nil
}
