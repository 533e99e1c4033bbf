package shadow

// Gather has what looks alike wait for ever to be compared.
func (s *Shadow) Gather() { s.reads.gathering.Store(true) }
