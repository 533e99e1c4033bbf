package match

// Keys returns the steps of a path that names one place: a text for a member of
// an object, an int for an element of an array. It reports false for a path
// with wildcards.
func (p Path) Keys() ([]any, bool) {
	keys := make([]any, len(p))
	for n, s := range p {
		switch s.kind {
		case field:
			keys[n] = s.name
		case indexed:
			keys[n] = s.index
		default:
			return nil, false
		}
	}
	return keys, true
}
