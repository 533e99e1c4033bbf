package upstream

// Renew does what happens by itself every [Limits].Age.
func (b *Backend) Renew() { b.renew() }

// Old is how many transports are not used any more and have connections.
func (b *Backend) Old() int {
	b.closeOld()
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.old)
}
