package match

// Covers reports whether a rule of this path is about the value at another, or
// about something above it.
func (p Path) Covers(value Path) bool { return p.covers(value) }
