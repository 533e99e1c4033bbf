package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The messages of pgoutput, protocol version 1, as far as a move needs them.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
type (
	beginMessage struct {
		xid uint32
	}
	commitMessage struct {
		end uint64 // LSN after the commit record
	}
	// relationMessage describes a table before the first change of it, and
	// again after its definition has changed.
	relationMessage struct {
		id           uint32
		schema, name string
		columns      []wireColumn
	}
	insertMessage struct {
		relation uint32
		row      []wireValue
	}
	// updateMessage has the old row, or its replica identity, only where the
	// identity has changed or is the whole row.
	updateMessage struct {
		relation uint32
		old, row []wireValue
	}
	deleteMessage struct {
		relation uint32
		old      []wireValue
	}
	truncateMessage struct {
		relations []uint32
	}
	// noteMessage is what pg_logical_emit_message wrote.
	noteMessage struct {
		transactional bool
		prefix        string
		content       []byte
	}
	// otherMessage is one that says nothing about rows: an origin or a type.
	otherMessage struct{ kind byte }
)

type wireColumn struct {
	name string
	oid  uint32
}

// wireValue is one column of a tuple. An absent one was not written again
// because it is stored out of line and has not changed.
type wireValue struct {
	text   []byte // nil: NULL
	absent bool
}

// parseMessage decodes one message. What it returns shares nothing with data.
func parseMessage(data []byte) (any, error) {
	if len(data) == 0 {
		return nil, errShort
	}
	r := &reader{rest: data[1:]}
	m := r.message(data[0])
	if r.err != nil {
		return nil, fmt.Errorf("pgoutput message %q: %w", data[0], r.err)
	}
	return m, nil
}

// isChange reports whether a message of a kind is a change of a row.
func isChange(kind byte) bool { return kind == 'I' || kind == 'U' || kind == 'D' }

var errShort = errors.New("it ends too early")

// reader reads fields in network order. After an error it returns zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) message(kind byte) any {
	switch kind {
	case 'B':
		r.take(8 + 8) // end of the transaction, time
		return beginMessage{xid: r.uint32()}
	case 'C':
		r.take(1 + 8) // flags, and the start of the commit record
		return commitMessage{end: r.uint64()}
	case 'R':
		return r.relation()
	case 'I':
		m := insertMessage{relation: r.uint32()}
		r.expect('N')
		m.row = r.tuple()
		return m
	case 'U':
		m := updateMessage{relation: r.uint32()}
		tag := r.byte()
		if tag == 'K' || tag == 'O' {
			m.old = r.tuple()
			tag = r.byte()
		}
		r.check(tag, 'N')
		m.row = r.tuple()
		return m
	case 'D':
		m := deleteMessage{relation: r.uint32()}
		if tag := r.byte(); tag != 'K' {
			r.check(tag, 'O')
		}
		m.old = r.tuple()
		return m
	case 'T':
		return r.truncate()
	case 'M':
		m := noteMessage{transactional: r.byte()&1 != 0}
		r.take(8) // LSN
		m.prefix = r.string()
		m.content = bytes.Clone(r.take(int(r.uint32())))
		return m
	case 'O', 'Y':
		return otherMessage{kind}
	}
	r.fail(fmt.Errorf("it is of no kind that protocol version 1 has"))
	return nil
}

func (r *reader) relation() relationMessage {
	m := relationMessage{id: r.uint32(), schema: r.string(), name: r.string()}
	r.take(1) // replica identity
	for range r.uint16() {
		r.take(1) // whether it belongs to the key
		c := wireColumn{name: r.string(), oid: r.uint32()}
		r.take(4) // type modifier
		if r.err != nil {
			break
		}
		m.columns = append(m.columns, c)
	}
	return m
}

func (r *reader) truncate() truncateMessage {
	var m truncateMessage
	n := r.uint32()
	r.take(1) // cascade, restart identity
	for ; n > 0 && r.err == nil; n-- {
		m.relations = append(m.relations, r.uint32())
	}
	return m
}

func (r *reader) tuple() []wireValue {
	n := int(r.uint16())
	if r.err != nil {
		return nil
	}
	values := make([]wireValue, 0, n)
	for range n {
		switch kind := r.byte(); kind {
		case 'n':
			values = append(values, wireValue{})
		case 'u':
			values = append(values, wireValue{absent: true})
		case 't':
			text := r.take(int(r.uint32()))
			values = append(values, wireValue{text: append([]byte{}, text...)})
		default:
			r.fail(fmt.Errorf("a column is of kind %q, not text", kind))
			return nil
		}
	}
	return values
}

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.rest) {
		r.fail(errShort)
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) string() string {
	if r.err != nil {
		return ""
	}
	end := bytes.IndexByte(r.rest, 0)
	if end < 0 {
		r.fail(errShort)
		return ""
	}
	s := string(r.rest[:end])
	r.rest = r.rest[end+1:]
	return s
}

func (r *reader) expect(tag byte) { r.check(r.byte(), tag) }

func (r *reader) check(got, want byte) {
	if got != want {
		r.fail(fmt.Errorf("%q stands where %q is expected", got, want))
	}
}

// fail keeps the first error.
func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}
