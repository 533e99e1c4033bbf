package http1

import "strings"

// maxTarget bounds the target of a request line, in bytes.
const maxTarget = 8 << 10

// Request is the head of a request. Its strings are parts of the text that was
// parsed; parsing another one into it uses its lists again.
type Request struct {
	Method, Target string  // as sent
	Path, Query    string  // of the target
	HasQuery       bool    // "/a?" has one, which is empty
	Host           string  // of the Host field, or of an absolute target
	Minor          int     // of the version: 0 or 1
	Fields         []Field // as sent, but that Content-Length has no zeros in front
	Length         int64   // of the body, or [Chunked]
	Close          bool    // the connection ends after this request
	Upgrade        string  // the protocol that Connection and Upgrade ask for
	Continue       bool    // a body follows when 100 (Continue) has been answered
	Trailers       bool    // the client takes trailers

	kinds    []kind
	hosts    int
	te       int
	cl       int
	upgrades int
}

// Hop reports whether a field is about this connection, and not passed on.
func (r *Request) Hop(i int) bool { return r.kinds[i] == hop }

// Framing reports whether a field says how the body is framed.
func (r *Request) Framing(i int) bool { return r.kinds[i] == framing }

// Get returns the first value of a field.
func (r *Request) Get(name string) string { return get(r.Fields, name) }

// Parse reads a head, its empty line included. The error is a *Refusal.
func (r *Request) Parse(head string, l Limits) error {
	if len(head) > l.Head {
		return errHeadLong
	}
	*r = Request{Fields: r.Fields[:0], kinds: r.kinds[:0]}
	for strings.HasPrefix(head, "\r\n") {
		head = head[len("\r\n"):]
	}
	if strings.HasPrefix(head, "\r") {
		return errBareCR
	}
	line, head, err := cutLine(head)
	if err != nil {
		return err
	}
	if err := r.requestLine(line); err != nil {
		return err
	}
	for {
		if line, head, err = cutLine(head); err != nil {
			return err
		}
		if line == "" {
			break
		}
		if len(r.Fields) == l.Fields {
			return errFields
		}
		field, err := parseField(line)
		if err != nil {
			return err
		}
		k, err := r.look(field)
		if err != nil {
			return err
		}
		if k == framing {
			field.Value = significant(field.Value)
		}
		r.Fields, r.kinds = append(r.Fields, field), append(r.kinds, k)
	}
	return r.conclude()
}

// cutLine takes a line off a text that is known to have one.
func cutLine(text string) (line, rest string, err error) {
	n := strings.IndexByte(text, '\n')
	if n <= 0 || text[n-1] != '\r' {
		return "", "", errBareLF
	}
	return text[:n-1], text[n+1:], nil
}

func (r *Request) requestLine(line string) error {
	method, rest, ok := strings.Cut(line, " ")
	if !ok {
		return errRequestLine
	}
	if !isMethod(method) {
		return errMethod
	}
	target, version, ok := strings.Cut(rest, " ")
	switch {
	case !ok || target == "":
		return errRequestLine
	case version == "HTTP/1.1":
		r.Minor = 1
	case version == "HTTP/1.0":
	case strings.HasPrefix(version, "HTTP/") && len(version) == len("HTTP/1.1"):
		return errVersion
	default:
		return errRequestLine
	}
	r.Method = method
	return r.target(target)
}

// isMethod reports whether a text may be a method: RFC 9110, 9.1, and short.
func isMethod(text string) bool { return text != "" && len(text) <= 32 && all(text, inName) }

// target takes the target of a request line apart: a path, an absolute URL, or
// the * of OPTIONS.
func (r *Request) target(target string) error {
	for i := 0; i < len(target); i++ {
		if c := target[i]; c <= 0x20 || c == 0x7f || c == '#' {
			return errTarget
		}
	}
	r.Target = target
	switch {
	case len(target) > maxTarget:
		return errTargetLong
	case r.Method == "CONNECT":
		return errConnect
	case target == "*" && r.Method == "OPTIONS":
		r.Path = target
		return nil
	case target[0] != '/':
		return r.absolute(target)
	}
	r.Path, r.Query, r.HasQuery = strings.Cut(target, "?")
	return nil
}

func (r *Request) absolute(target string) error {
	var rest string
	switch {
	case HasPrefix(target, "http://"):
		rest = target[len("http://"):]
	case HasPrefix(target, "https://"):
		rest = target[len("https://"):]
	default:
		return errTarget
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Host = rest[:end]
	if r.Host == "" || !isHost(r.Host) {
		return errTarget
	}
	r.Path, r.Query, r.HasQuery = strings.Cut(rest[end:], "?")
	switch {
	case r.Path != "":
	case r.Method == "OPTIONS" && !r.HasQuery:
		r.Path = "*" // about the whole host: RFC 9112, 3.2.4
	default:
		r.Path = "/"
	}
	return nil
}

// parseField takes a line apart.
func parseField(line string) (Field, error) {
	if blank(line[0]) {
		return Field{}, errFold
	}
	colon := 0
	for colon < len(line) && classes[line[colon]]&inName != 0 {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return Field{}, errName
	}
	value := trim(line[colon+1:])
	return Field{Name: line[:colon], Value: value}, checkValue(value)
}

// checkValue refuses a value with bytes that none may have.
func checkValue(value string) error {
	for i := 0; i < len(value); i++ {
		if classes[value[i]]&inValue == 0 {
			if value[i] == '\r' {
				return errBareCR
			}
			return errValue
		}
	}
	return nil
}

// look notes what a field says about the connection or the body.
func (r *Request) look(f Field) (kind, error) {
	switch len(f.Name) {
	case 2:
		if SameName(f.Name, "TE") {
			_ = words(f.Value, func(word string) error {
				r.Trailers = r.Trailers || SameName(word, "trailers")
				return nil
			})
		}
	case 4:
		if SameName(f.Name, "Host") {
			return plain, r.host(f.Value)
		}
	case 6:
		if SameName(f.Name, "Expect") {
			if !SameName(f.Value, "100-continue") {
				return plain, errExpect
			}
			r.Continue = true
		}
	case 7:
		if SameName(f.Name, "Upgrade") {
			return hop, r.upgrade()
		}
	case 14:
		if SameName(f.Name, "Content-Length") {
			return framing, r.contentLength(f.Value)
		}
	case 17:
		if SameName(f.Name, "Transfer-Encoding") {
			return framing, r.transferEncoding(f.Value)
		}
	}
	if PerHop(f.Name) {
		return hop, nil
	}
	return plain, nil
}

func (r *Request) host(value string) error {
	switch {
	case r.hosts > 0:
		return errHosts
	case value != "" && !isHost(value):
		return errHost
	case r.Host != "" && !SameName(r.Host, value):
		return errAuthority
	}
	r.hosts, r.Host = 1, value
	return nil
}

func (r *Request) upgrade() error {
	if r.upgrades > 0 {
		return errUpgrades
	}
	r.upgrades = 1
	return nil
}

func (r *Request) contentLength(value string) error {
	n, ok := length(value)
	switch {
	case r.cl > 0:
		return errLengths
	case r.te > 0:
		return errLengthChunked
	case !ok && comma(value) >= 0:
		return errLengths
	case !ok:
		return errLength
	}
	r.cl, r.Length = 1, n
	return nil
}

func (r *Request) transferEncoding(value string) error {
	switch {
	case r.te > 0 || value == "" || comma(value) >= 0:
		return errEncoding
	case r.cl > 0:
		return errLengthChunked
	case r.Minor == 0:
		return errOldEncoding
	case !SameName(value, "chunked"):
		return errCoding
	}
	r.te, r.Length = 1, Chunked
	return nil
}

// conclude looks at what only the whole head can tell.
func (r *Request) conclude() error {
	if r.hosts == 0 && r.Minor == 1 {
		return errHostMissing
	}
	c := connection{fields: r.Fields, kinds: r.kinds}
	if err := c.read(); err != nil {
		return err
	}
	r.Close = c.close || r.Minor == 0 && !c.keep
	r.Trailers = r.Trailers && r.Minor == 1
	r.Continue = r.Continue && r.Minor == 1
	if c.upgrade && r.Minor == 1 {
		r.Upgrade = r.Get("Upgrade")
	}
	return nil
}
