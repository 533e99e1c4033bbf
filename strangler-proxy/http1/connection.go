package http1

// maxNominated bounds how many fields Connection may name.
const maxNominated = 16

// connection is what the Connection fields of a head say.
type connection struct {
	fields               []Field
	kinds                []kind
	lenient              bool // names of fields that stay anyway are read over
	close, keep, upgrade bool
	nominated            int
}

// read reads the Connection fields and marks the fields they name as being
// about the connection.
func (c *connection) read() error {
	for i := range c.fields {
		if f := &c.fields[i]; c.kinds[i] == hop && SameName(f.Name, "Connection") {
			if err := words(f.Value, c.word); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *connection) word(word string) error {
	switch {
	case SameName(word, "close"):
		c.close = true
		return nil
	case SameName(word, "keep-alive"):
		c.keep = true
		return nil
	case SameName(word, "upgrade"):
		c.upgrade = true
		return nil
	case endToEnd(word) && c.lenient:
		return nil
	case endToEnd(word):
		return errNominated
	}
	if c.nominated++; c.nominated > maxNominated {
		return errNominations
	}
	for i := range c.fields {
		if SameName(c.fields[i].Name, word) {
			c.kinds[i] = hop
		}
	}
	return nil
}

// endToEnd reports whether a field must reach the owner: a client that could
// have the proxy leave it out would be somebody else, or somewhere else, to
// the backend.
func endToEnd(name string) bool {
	return SameName(name, "Host") || SpellsLike(name, "Content-Length") || SpellsLike(name, "Transfer-Encoding") || SameName(name, "Trailer") ||
		SameName(name, "Cookie") || SameName(name, "Authorization") || SameName(name, "Forwarded") || SpellsLike(name, "X-Real-IP") ||
		BeginsLike(name, "X-Forwarded-")
}
