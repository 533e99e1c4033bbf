package match

// Covers reports whether a rule of this path is about the value at another, or
// about something above it.
func (p Path) Covers(value Path) bool {
	if len(p) > len(value) {
		return false
	}
	for i, s := range p {
		if !s.accepts(value[i]) {
			return false
		}
	}
	return true
}

func (s Step) accepts(value Step) bool {
	switch s.kind {
	case anyStep:
		return true
	case anyIndex:
		return value.kind == indexed
	}
	return s == value
}
