package http1

const (
	maxChunkLine = 256 // bytes of the line before a chunk, its extensions included
	maxTrailers  = 8 << 10
	// maxOverhead is how many bytes of a body may be something else than data,
	// beyond what each chunk may have: freeOverhead and twice its data. Without a
	// bound a short body could be as long as one likes on the wire.
	maxOverhead  = 16 << 10
	freeOverhead = 16
	maxTrailing  = 64 // fields
)

// Chunks decodes a chunked body piece by piece, however it is cut: RFC 9112,
// 7.1. The zero value is at the beginning of a body. Extensions are read over.
type Chunks struct {
	at       chunkState
	size     uint64 // of the chunk, then what is left of it
	digits   int
	line     int    // bytes of this line
	overhead int    // see maxOverhead
	cr       bool   // a carriage return came last
	unnamed  bool   // a semicolon came last, and an extension must follow
	quoted   bool   // within quotes of an extension
	escaped  bool   // after a backslash in them
	trailing []byte // of a line
	trailed  int    // bytes of trailers altogether
	trailers []Field
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	inData
	afterData
	inTrailers
	ended
)

// Next looks at what was read and returns the piece of the body that it begins
// with, after n bytes were used altogether. done is true when the last chunk
// and the trailers have been read; what follows n is the next message. Without
// progress (n is len(in) and data is empty) more must be read. The error is a
// *Refusal.
func (c *Chunks) Next(in []byte) (data []byte, n int, done bool, err error) {
	for n < len(in) {
		switch c.at {
		case inData:
			take := int(min(c.size, uint64(len(in)-n)))
			data = in[n : n+take]
			n += take
			if c.size -= uint64(take); c.size == 0 {
				c.at = afterData
			}
			return data, n, false, nil
		case ended:
			return nil, n, true, nil
		case inTrailers:
			err = c.trailer(in[n])
		case afterData:
			err = c.endOfChunk(in[n])
		default:
			err = c.sizeLine(in[n])
		}
		if err != nil {
			return nil, n, false, err
		}
		n++
	}
	return nil, n, c.at == ended, nil
}

// sizeLine takes a byte of the line before a chunk.
func (c *Chunks) sizeLine(b byte) error {
	if c.line++; c.line > maxChunkLine {
		return errChunkLong
	}
	switch {
	case c.cr:
		if b != '\n' {
			return errChunkLine
		}
		return c.begin()
	case b == '\r' && c.digits > 0 && !c.unnamed && !c.quoted:
		c.cr = true
	case c.at == inExtension:
		return c.extension(b)
	case b == ';' && c.digits > 0:
		c.at, c.unnamed = inExtension, true
	default:
		digit, ok := hexDigit(b)
		if !ok {
			return errChunkSize
		}
		if c.digits++; c.digits > 15 {
			return errChunkSize
		}
		c.size = c.size<<4 | uint64(digit)
	}
	return nil
}

// extension takes a byte of the line after the size: it is read over, but must
// not let anybody think that the line ends elsewhere.
func (c *Chunks) extension(b byte) error {
	switch {
	case classes[b]&inValue == 0:
		return errChunkLine
	case c.escaped:
		c.escaped = false
	case c.quoted && b == '\\':
		c.escaped = true
	case b == '"':
		c.quoted, c.unnamed = !c.quoted, false
	case !c.quoted:
		c.unnamed = b == ';' || c.unnamed && blank(b)
	}
	return nil
}

// begin turns to what the line has announced.
func (c *Chunks) begin() error {
	const lineEnd = 2 // behind the data
	c.overhead += c.line + lineEnd - freeOverhead - 2*int(min(c.size, maxOverhead))
	if c.overhead = max(c.overhead, 0); c.overhead > maxOverhead {
		return errChunkOverhead
	}
	last := c.size == 0
	c.line, c.digits, c.cr = 0, 0, false
	if c.at = inData; last {
		c.at = inTrailers
	}
	return nil
}

func (c *Chunks) endOfChunk(b byte) error {
	switch {
	case !c.cr && b == '\r':
		c.cr = true
		return nil
	case c.cr && b == '\n':
		c.at, c.cr = inSize, false
		return nil
	}
	return errChunkEnd
}

// trailer takes a byte of the section after the last chunk.
func (c *Chunks) trailer(b byte) error {
	if c.trailed++; c.trailed > maxTrailers {
		return errTrailers
	}
	switch {
	case c.cr && b == '\n':
		c.at = ended
		return nil
	case c.cr:
		return errBareCR
	case b == '\r' && len(c.trailing) == 0:
		c.cr = true // of the empty line that ends the trailers
		return nil
	}
	c.trailing = append(c.trailing, b)
	if b != '\n' {
		return nil
	}
	line := c.trailing
	c.trailing = line[:0]
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return errBareLF
	}
	field, err := parseField(string(line[:len(line)-2]))
	if err != nil {
		return err
	}
	if len(c.trailers) == maxTrailing {
		return errTrailers
	}
	if mayTrail(field.Name) {
		c.trailers = append(c.trailers, field)
	}
	return nil
}

// Trailers returns the fields after the last chunk. Those that would frame or
// route a message, or say who sent it, are left out: they come too late to be
// looked at. (RFC 9110, 6.5.1.)
func (c *Chunks) Trailers() []Field { return c.trailers }

func mayTrail(name string) bool {
	if PerHop(name) || endToEnd(name) {
		return false
	}
	for _, early := range [...]string{
		"Set-Cookie", "Content-Encoding", "Content-Type", "Content-Range", "Expect", "Max-Forwards", "Cache-Control", "Range", "WWW-Authenticate", "Location", "Age", "Date", "Expires", "Vary", "Retry-After",
	} {
		if SameName(name, early) {
			return false
		}
	}
	return !HasPrefix(name, "If-")
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case '0' <= b && b <= '9':
		return b - '0', true
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10, true
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}
