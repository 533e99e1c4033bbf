package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// The messages that this package writes into the log.
const (
	applierPrefix = "strangler.applier" // content: the id of the side of the move
	markerPrefix  = "strangler.marker"  // content: the id, a newline, the token
	emptiedPrefix = "strangler.emptied" // content: the id, a newline, the partition
)

// transaction is what one transaction did to the mapped tables.
type transaction struct {
	xid     uint32
	ours    bool // an applier's
	end     change.Position
	changes []logged
	marker  string
	bytes   int   // of the changed rows
	err     error // it did something that cannot be followed
}

// A transaction is held whole until it is applied. One that is larger than this
// would take the memory of everything else that the process does.
const (
	mostChanges = 500_000
	mostBytes   = 256 << 20
)

// logged is a change as the log has it.
type logged struct {
	change.Change
	id    string // of table and key
	moved bool   // its key changed: what is absent belonged to another key
}

// streamed is a table as the log describes it.
type streamed struct {
	table   int   // index of the mapped table
	columns []int // mapped column -> column of the tuple
	oids    []uint32
	err     error // it is no longer the table that the move was made for
}

// take takes one message of the log.
func (f *feed) take(m any) error {
	switch m := m.(type) {
	case beginMessage:
		f.open = &transaction{xid: m.xid}
		return nil
	case relationMessage:
		f.describe(m)
		return nil
	case otherMessage:
		return nil
	case noteMessage:
		f.note(m)
		return nil
	}
	if f.open == nil {
		return fmt.Errorf("the log has a %T outside of any transaction", m)
	}
	switch m := m.(type) {
	case commitMessage:
		f.commit(change.Position(m.end))
	case truncateMessage:
		f.truncated(m)
	case insertMessage:
		f.put(m.relation, nil, m.row)
	case updateMessage:
		f.put(m.relation, m.old, m.row)
	case deleteMessage:
		f.remove(m.relation, m.old)
	}
	return nil
}

// note takes a message that this package wrote, for this side of the move.
func (f *feed) note(m noteMessage) {
	if f.open == nil || !m.transactional {
		return
	}
	id, token, _ := strings.Cut(string(m.content), "\n")
	if id != f.id {
		return
	}
	switch m.prefix {
	case applierPrefix:
		f.open.ours, f.open.changes = true, nil
	case markerPrefix:
		f.open.marker = token
	case emptiedPrefix:
		f.fail(fmt.Errorf("partition %s was truncated during the move, %s", token, emptyingAdvice))
	}
}

// describe takes the definition of a table. It comes before the table's first
// change and again when it has been altered.
func (f *feed) describe(m relationMessage) {
	table, ok := f.mapped[m.id]
	if !ok {
		f.tables[m.id] = &streamed{err: fmt.Errorf("table %s.%s is published with the move but is not mapped: take it out of the publication, then resume the move", m.schema, m.name)}
		return
	}
	s := &streamed{table: table}
	l := f.layouts[table]
	if m.name != l.name {
		s.err = fmt.Errorf("table %s was renamed from %s during the move: undo it and resume the move, or cancel the move and start again", l.name, m.name)
	}
	for _, c := range m.columns {
		s.oids = append(s.oids, c.oid)
	}
	for i, name := range l.table.Columns {
		at := slices.IndexFunc(m.columns, func(c wireColumn) bool { return c.name == name })
		switch {
		case at < 0:
			s.err = fmt.Errorf("column %s of table %s came or went during the move: undo it and resume the move, or cancel the move and start again", name, l.name)
			at = 0
		case m.columns[at].oid == l.types[i].declared:
			s.oids[at] = l.types[i].oid // what a domain is over
		case kindOf(m.columns[at].oid) != kindOf(l.types[i].oid):
			s.err = fmt.Errorf("column %s of table %s changed its type during the move: undo it and resume the move, or cancel the move and start again", name, l.name)
		}
		s.columns = append(s.columns, at)
	}
	f.tables[m.id] = s
}

// changed returns the table of a change, nil where the change does not matter
// or cannot be followed.
func (f *feed) changed(relation uint32) *streamed {
	s := f.tables[relation]
	switch {
	case f.open.ours || f.open.err != nil:
		return nil
	case s == nil:
		f.fail(fmt.Errorf("the log has a change of table %d, which it has not described", relation))
		return nil
	case s.err != nil:
		f.fail(s.err)
		return nil
	}
	return s
}

// fail marks the open transaction as one that cannot be followed.
func (f *feed) fail(err error) {
	if f.open.err == nil {
		f.open.err = err
	}
}

const emptyingAdvice = "which cannot be followed row by row: resume the move and let a verification repair the other side; use DELETE while a move is under way"

func (f *feed) truncated(m truncateMessage) {
	for _, relation := range m.relations {
		if s := f.changed(relation); s != nil {
			f.fail(fmt.Errorf("table %s was truncated during the move, %s", f.layouts[s.table].name, emptyingAdvice))
		}
	}
}

// put takes an inserted or updated row. A row whose key has changed is the end
// of one row and the beginning of another.
func (f *feed) put(relation uint32, old, row []wireValue) {
	s := f.changed(relation)
	if s == nil {
		return
	}
	for i, v := range row {
		if v.absent && i < len(old) && !old[i].absent && old[i].text != nil {
			row[i] = old[i]
		}
	}
	values, absent, err := f.row(s, row)
	if err != nil {
		f.fail(err)
		return
	}
	key := keyOf(f.layouts[s.table].table, values)
	moved := false
	if old != nil {
		before, err := f.key(s, old)
		if err != nil {
			f.fail(err)
			return
		}
		if mapping.EncodeKey(before) != mapping.EncodeKey(key) {
			moved = true
			f.add(change.Change{Table: s.table, Kind: change.Delete, Key: before}, false)
		}
	}
	f.add(change.Change{Table: s.table, Kind: change.Put, Key: key, Row: values, Absent: absent}, moved)
}

func (f *feed) remove(relation uint32, old []wireValue) {
	s := f.changed(relation)
	if s == nil {
		return
	}
	key, err := f.key(s, old)
	if err != nil {
		f.fail(err)
		return
	}
	f.add(change.Change{Table: s.table, Kind: change.Delete, Key: key}, false)
}

func (f *feed) add(c change.Change, moved bool) {
	for _, v := range c.Row {
		f.open.bytes += len(v.Text())
	}
	if len(f.open.changes) >= mostChanges || f.open.bytes > mostBytes {
		f.open.changes = nil
		f.fail(fmt.Errorf("one transaction changed more than %d rows or %d MiB of table %s, which is more than is held in memory: resume the move and let a verification repair the other side; change rows in slices while a move is under way",
			mostChanges, mostBytes>>20, f.layouts[c.Table].table.Name))
		return
	}
	f.open.changes = append(f.open.changes, logged{c, rowID(c.Table, c.Key), moved})
}

// rowID identifies a row by its table and key.
func rowID(table int, key change.Key) string { return strconv.Itoa(table) + mapping.EncodeKey(key) }

// row decodes the mapped columns of a tuple, and lists those that are absent
// from it.
func (f *feed) row(s *streamed, tuple []wireValue) (row change.Row, absent []int, err error) {
	t := f.layouts[s.table].table
	row = make(change.Row, len(s.columns))
	for i, at := range s.columns {
		if row[i], err = s.value(tuple, at); err != nil {
			return nil, nil, valueError(t.Name, t.Columns[i], err)
		}
		if tuple[at].absent {
			absent = append(absent, i)
		}
	}
	return row, absent, nil
}

// key decodes the key columns of a tuple, which may have no others.
func (f *feed) key(s *streamed, tuple []wireValue) (change.Key, error) {
	t := f.layouts[s.table].table
	key := make(change.Key, len(t.Key))
	for i, c := range t.Key {
		v, err := s.value(tuple, s.columns[c])
		if err != nil {
			return nil, valueError(t.Name, t.Columns[c], err)
		}
		if v.IsNull() {
			return nil, fmt.Errorf("the log of table %s lacks column %s of the key: make it part of the replica identity, then resume the move", t.Name, t.Columns[c])
		}
		key[i] = v
	}
	return key, nil
}

func (s *streamed) value(tuple []wireValue, at int) (mapping.Value, error) {
	if at >= len(tuple) {
		return mapping.Value{}, fmt.Errorf("the log has %d columns of it, not %d", len(tuple), at+1)
	}
	return decode(s.oids[at], tuple[at].text)
}

// commit ends the open transaction and queues it if it means something.
func (f *feed) commit(end change.Position) {
	t := *f.open
	f.open = nil
	if t.ours || (len(t.changes) == 0 && t.marker == "" && t.err == nil) {
		return
	}
	t.end = end
	f.last = end
	f.unseen.commits(writer{t.xid, end})
	for _, c := range t.changes {
		f.touched[c.id] = touch{end, c.Table, c.Key}
	}
	if len(f.touched) > touchedLimit || t.err != nil {
		f.touched, f.floor = map[string]touch{}, end
	}
	if end > f.dropped {
		f.queue = append(f.queue, t)
		f.queued += max(1, len(t.changes))
		f.held += t.bytes
	}
}
