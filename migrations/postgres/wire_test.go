package postgres

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"

	"stranglerfig/migrations/mapping"
)

// bytesOf joins the fields of a message: integers in network order by their
// width, texts with a NUL after them, bytes as they are.
func bytesOf(fields ...any) []byte {
	var b []byte
	for _, f := range fields {
		switch f := f.(type) {
		case byte:
			b = append(b, f)
		case uint16:
			b = binary.BigEndian.AppendUint16(b, f)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, f)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, f)
		case string:
			b = append(append(b, f...), 0)
		case []byte:
			b = append(b, f...)
		}
	}
	return b
}

// textField is a column of a tuple.
func textField(s string) []byte { return bytesOf(byte('t'), uint32(len(s)), []byte(s)) }

// messages are one of each kind, and what they mean.
var messages = map[string]struct {
	wire []byte
	want any
}{
	"begin":  {bytesOf(byte('B'), uint64(7), uint64(8), uint32(9)), beginMessage{xid: 9}},
	"commit": {bytesOf(byte('C'), byte(0), uint64(7), uint64(0x1_0000_0002), uint64(9)), commitMessage{end: 0x1_0000_0002}},
	"relation": {
		bytesOf(byte('R'), uint32(5), "public", "items", byte('d'), uint16(2), byte(1), "id", uint32(20), uint32(math.MaxUint32), byte(0), "code", uint32(25), uint32(math.MaxUint32)),
		relationMessage{5, "public", "items", []wireColumn{{"id", 20}, {"code", 25}}},
	},
	"insert": {
		bytesOf(byte('I'), uint32(5), byte('N'), uint16(3), textField("1"), byte('n'), textField("")),
		insertMessage{5, []wireValue{{text: []byte("1")}, {}, {text: []byte{}}}},
	},
	"update": {
		bytesOf(byte('U'), uint32(5), byte('N'), uint16(2), textField("1"), byte('u')),
		updateMessage{5, nil, []wireValue{{text: []byte("1")}, {absent: true}}},
	},
	"update of a key": {
		bytesOf(byte('U'), uint32(5), byte('K'), uint16(2), textField("1"), byte('n'), byte('N'), uint16(2), textField("2"), textField("ü")),
		updateMessage{5, []wireValue{{text: []byte("1")}, {}}, []wireValue{{text: []byte("2")}, {text: []byte("ü")}}},
	},
	"update of a whole row": {
		bytesOf(byte('U'), uint32(5), byte('O'), uint16(1), textField("1"), byte('N'), uint16(1), textField("2")),
		updateMessage{5, []wireValue{{text: []byte("1")}}, []wireValue{{text: []byte("2")}}},
	},
	"delete": {
		bytesOf(byte('D'), uint32(5), byte('K'), uint16(1), textField("1")),
		deleteMessage{5, []wireValue{{text: []byte("1")}}},
	},
	"delete of a whole row": {
		bytesOf(byte('D'), uint32(5), byte('O'), uint16(1), textField("1")),
		deleteMessage{5, []wireValue{{text: []byte("1")}}},
	},
	"truncate": {bytesOf(byte('T'), uint32(2), byte(1), uint32(5), uint32(6)), truncateMessage{[]uint32{5, 6}}},
	"note": {
		bytesOf(byte('M'), byte(1), uint64(7), "strangler.marker", uint32(3), []byte("a\nb")),
		noteMessage{true, "strangler.marker", []byte("a\nb")},
	},
	"origin": {bytesOf(byte('O'), uint64(7), "elsewhere"), otherMessage{'O'}},
	"type":   {bytesOf(byte('Y'), uint32(7), "public", "mood"), otherMessage{'Y'}},
}

func TestEveryKindOfMessageIsDecoded(t *testing.T) {
	for name, m := range messages {
		got, err := parseMessage(m.wire)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(m.want, got, cmp.AllowUnexported(beginMessage{}, commitMessage{}, relationMessage{}, wireColumn{}, insertMessage{}, updateMessage{}, deleteMessage{}, truncateMessage{}, noteMessage{}, otherMessage{}, wireValue{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestAMessageThatIsCutOffIsAnError wherever it is cut.
func TestAMessageThatIsCutOffIsAnError(t *testing.T) {
	for name, m := range messages {
		if _, unread := m.want.(otherMessage); unread {
			continue
		}
		end := len(m.wire)
		if _, ok := m.want.(commitMessage); ok {
			end -= 8 // its time is not read
		}
		for n := range end {
			if got, err := parseMessage(m.wire[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes is read as %+v", name, n, end, got)
			}
		}
	}
}

func TestAMessageOfAnotherProtocolIsAnError(t *testing.T) {
	for name, wire := range map[string][]byte{
		"a stream's start":   bytesOf(byte('S'), uint32(1), byte(1)),
		"a binary column":    bytesOf(byte('I'), uint32(5), byte('N'), uint16(1), byte('b'), uint32(1), []byte("x")),
		"an absurd length":   bytesOf(byte('I'), uint32(5), byte('N'), uint16(1), byte('t'), uint32(math.MaxUint32)),
		"an insert of a key": bytesOf(byte('I'), uint32(5), byte('K'), uint16(0)),
	} {
		if got, err := parseMessage(wire); err == nil {
			t.Errorf("%s is read as %+v", name, got)
		}
	}
}

// FuzzAMessageNeverPanics whatever its bytes are.
func FuzzAMessageNeverPanics(f *testing.F) {
	for _, m := range messages {
		f.Add(m.wire)
	}
	f.Fuzz(func(t *testing.T, data []byte) { parseMessage(data) })
}

// TestWhatIsDecodedSharesNothingWithTheBuffer, which the next message reuses.
func TestWhatIsDecodedSharesNothingWithTheBuffer(t *testing.T) {
	wire := bytesOf(byte('I'), uint32(5), byte('N'), uint16(1), textField("kept"))
	m, err := parseMessage(wire)
	if err != nil {
		t.Fatal(err)
	}
	clear(wire)
	if got := string(m.(insertMessage).row[0].text); got != "kept" {
		t.Errorf("%q", got)
	}
}

func TestValuesAreReadFromPostgreSQLsSpelling(t *testing.T) {
	decimal := func(s string) mapping.Value {
		v, err := mapping.Dec(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		oid  uint32
		text string
		want mapping.Value
	}{
		{pgtype.BoolOID, "t", mapping.Bool(true)},
		{pgtype.BoolOID, "f", mapping.Bool(false)},
		{pgtype.Int8OID, "-9223372036854775808", mapping.Int(math.MinInt64)},
		{pgtype.NumericOID, "12.50", decimal("12.50")},
		{pgtype.NumericOID, "NaN", mapping.Text("NaN")},
		{pgtype.Float8OID, "0.1", mapping.Float(0.1)},
		{pgtype.Float8OID, "-Infinity", mapping.Float(math.Inf(-1))},
		{pgtype.Float4OID, "NaN", mapping.Text("NaN")},
		{pgtype.TextOID, "", mapping.Text("")},
		{pgtype.ByteaOID, `\x00ff`, mapping.Bytes([]byte{0, 255})},
		{pgtype.TimestamptzOID, "2024-02-29 12:00:00.5+00", mapping.Text("2024-02-29T12:00:00.5Z")},
		{pgtype.TimestamptzOID, "infinity", mapping.Text("infinity")},
		{pgtype.TimestamptzOID, "0044-03-15 00:00:00+00 BC", mapping.Text("0044-03-15 00:00:00+00 BC")},
		{pgtype.TimestampOID, "2024-02-29 12:00:00", mapping.Text("2024-02-29 12:00:00")},
		{987654, "happy", mapping.Text("happy")},
	} {
		got, err := decode(c.oid, []byte(c.text))
		if err != nil || mapping.EncodeKey([]mapping.Value{got}) != mapping.EncodeKey([]mapping.Value{c.want}) {
			t.Errorf("%q of type %d is %v (%v), want %v", c.text, c.oid, got, err, c.want)
		}
	}
	for oid, text := range map[uint32]string{pgtype.Int8OID: "x", pgtype.ByteaOID: `\x0`} {
		if v, err := decode(oid, []byte(text)); err == nil {
			t.Errorf("%q of type %d is %v", text, oid, v)
		}
	}
}

// TestNamesFitWhereverTheyAreUsed: a slot's name has few letters, an
// identifier's few bytes, and two moves never share one.
func TestNamesFitWhereverTheyAreUsed(t *testing.T) {
	seen := map[string]bool{}
	for _, move := range []string{"a", "A", "a-b", "a_b", "ü", "", strings.Repeat("long", 40), strings.Repeat("long", 41)} {
		for _, database := range []string{"one", "two"} {
			name := objectName(move, move+"/monolith", database)
			if len(name) > 50 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				t.Errorf("move %q: %q", move, name)
			}
			if seen[name] {
				t.Errorf("%q is used twice", name)
			}
			seen[name] = true
		}
	}
}
