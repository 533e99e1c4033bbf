package mapping_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/mapping"
)

// column compiles one column's transform.
func column(t testing.TB, spec mapping.ColumnSpec) mapping.Column {
	t.Helper()
	return plan(t, spec).Tables[0].Columns()[1]
}

// plan compiles a table of an id and some columns.
func plan(t testing.TB, specs ...mapping.ColumnSpec) *mapping.Plan {
	t.Helper()
	columns := []mapping.ColumnSpec{{To: "id", From: "no"}}
	for i, s := range specs {
		s.To = fmt.Sprint("to", i)
		if s.Constant == nil {
			s.From = fmt.Sprint("from", i)
		}
		columns = append(columns, s)
	}
	p, problems := mapping.Compile(mapping.Spec{Capability: "c", Tables: []mapping.TableSpec{{To: "t", From: "f", Key: []string{"id"}, Columns: columns}}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

func number(n int) *int { return &n }

func text(s string) *string { return &s }

func dec(t testing.TB, s string) mapping.Value {
	t.Helper()
	v, err := mapping.Dec(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// show tells a value with its kind.
func show(v mapping.Value) string { return mapping.EncodeKey([]mapping.Value{v}) }

// any value at all, often of the sort that transforms meet.
func anyValue(r *rand.Rand) mapping.Value {
	digits := strconv.Itoa(r.IntN(100_000))
	switch r.IntN(14) {
	case 0:
		return mapping.Null()
	case 1:
		return mapping.Bool(r.IntN(2) == 0)
	case 2:
		return mapping.Int(int64(r.Uint64()))
	case 3:
		return mapping.Int(int64(r.IntN(7) - 3))
	case 4:
		return mapping.Float(float64(r.IntN(2_000_000)-1_000_000) / math.Pow(10, float64(r.IntN(5))))
	case 5:
		return mapping.Float(math.Float64frombits(r.Uint64()))
	case 6:
		return mapping.Float([]float64{0, math.Copysign(0, -1), math.Inf(1), math.NaN(), math.MaxFloat64, 5e-324}[r.IntN(6)])
	case 7:
		v, _ := mapping.Dec([]string{"", "-"}[r.IntN(2)] + digits + "." + strconv.Itoa(r.IntN(1000)))
		return v
	case 8:
		return mapping.Text([]string{"", "-", "+", "0", "00"}[r.IntN(5)] + digits)
	case 9:
		return mapping.Text(digits + []string{".5", ".50", ".", "e3", ".-5", " "}[r.IntN(6)])
	case 10:
		return mapping.Text([]string{"", "a", "A", "1", "0", "-2", "true", "NULL", "inf", "NaN", "0x10", "1_000", "\xff", "ü"}[r.IntN(14)])
	case 11:
		return mapping.Bytes([]byte(digits))
	default:
		return mapping.Text(time.Unix(r.Int64N(8e9)-4e9, 0).UTC().Format("2006-01-02 15:04:05"))
	}
}

// invertible is every transform that has a way back.
var invertible = map[string]mapping.ColumnSpec{
	"rename":       {},
	"scale 0":      {Scale: number(0)},
	"scale 2":      {Scale: number(2)},
	"scale 18":     {Scale: number(18)},
	"integer enum": {Enum: []mapping.EnumPair{{From: "0", To: "zero"}, {From: "1", To: "one"}, {From: "-2", To: "void"}}},
	"text enum":    {Enum: []mapping.EnumPair{{From: "a", To: "A"}, {From: "A", To: "a"}, {From: "1", To: "x"}, {From: "00", To: "y"}}},
	"time":         {Time: "2006-01-02 15:04:05", Zone: "Europe/Berlin"},
	"odd time":     {Time: "02.01.06 15h04m05", Zone: "America/New_York"},
	"cast text":    {Cast: "text"},
	"cast int":     {Cast: "int"},
	"cast bool":    {Cast: "bool"},
	"cast decimal": {Cast: "decimal"},
	"cast float":   {Cast: "float"},
}

// TestWhatIsAcceptedComesBackAsItWas: for every transform and any value, there
// and back is the same value, unless the way there refused it.
func TestWhatIsAcceptedComesBackAsItWas(t *testing.T) {
	for name, spec := range invertible {
		t.Run(name, func(t *testing.T) {
			c, r, accepted := column(t, spec), rand.New(rand.NewPCG(1, 2)), 0
			for range 20_000 {
				v := anyValue(r)
				there, err := c.There(v)
				if err != nil {
					continue
				}
				accepted++
				back, err := c.Back(there)
				if err != nil {
					t.Fatalf("%s becomes %s, which has no way back: %v", show(v), show(there), err)
				}
				if !back.Equal(v) && !same(back, v) {
					t.Fatalf("%s becomes %s and comes back as %s", show(v), show(there), show(back))
				}
			}
			if accepted < 100 {
				t.Errorf("only %d values were accepted, which proves little", accepted)
			}
		})
	}
}

// same holds for what is not equal to itself as a number, such as NaN.
func same(a, b mapping.Value) bool { return a.Kind() == b.Kind() && show(a) == show(b) }

// TestWhatTheServiceWritesSurvivesTheWayBack and comes forward again as it was:
// a rollback and another cutover lose nothing.
func TestWhatTheServiceWritesSurvivesTheWayBack(t *testing.T) {
	for name, value := range map[string]func(r *rand.Rand) mapping.Value{
		"scale 2":      func(r *rand.Rand) mapping.Value { return mapping.Int(int64(r.Uint64())) },
		"scale 18":     func(r *rand.Rand) mapping.Value { return mapping.Int(int64(r.Uint64())) },
		"integer enum": func(r *rand.Rand) mapping.Value { return mapping.Text([]string{"zero", "one", "void"}[r.IntN(3)]) },
		"text enum":    func(r *rand.Rand) mapping.Value { return mapping.Text([]string{"A", "a", "x", "y"}[r.IntN(4)]) },
		"cast text":    func(r *rand.Rand) mapping.Value { return mapping.Text(strconv.Itoa(r.IntN(1000) - 500)) },
		"cast int":     func(r *rand.Rand) mapping.Value { return mapping.Int(int64(r.Uint64())) },
		"cast bool":    func(r *rand.Rand) mapping.Value { return mapping.Bool(r.IntN(2) == 0) },
		"cast decimal": func(r *rand.Rand) mapping.Value { return dec(t, fmt.Sprintf("%d.%02d", r.IntN(1e6), r.IntN(100))) },
		"cast float":   func(r *rand.Rand) mapping.Value { return mapping.Float(r.NormFloat64()) },
		"time": func(r *rand.Rand) mapping.Value {
			return mapping.Text(time.Unix(r.Int64N(8e9)-4e9, 0).UTC().Format("2006-01-02T15:04:05Z"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := column(t, invertible[name]), rand.New(rand.NewPCG(3, 4))
			for range 5_000 {
				v := value(r)
				back, err := c.Back(v)
				if err != nil {
					t.Fatalf("%s has no way back: %v", show(v), err)
				}
				again, err := c.There(back)
				if err != nil || (!again.Equal(v) && !anHourEarlier(again, v)) {
					t.Fatalf("%s becomes %s and comes forward as %s (%v)", show(v), show(back), show(again), err)
				}
			}
		})
	}
}

// anHourEarlier holds where the clocks were put back: see the documentation of
// the time transform.
func anHourEarlier(got, want mapping.Value) bool {
	a, errA := time.Parse(time.RFC3339, got.Text())
	b, errB := time.Parse(time.RFC3339, want.Text())
	return errA == nil && errB == nil && a.Add(time.Hour).Equal(b)
}

// TestEveryLocalTimeOfAZoneComesBack around each change of its clocks, in fixed
// and other layouts.
func TestEveryLocalTimeOfAZoneComesBack(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "Europe/Dublin"} {
		for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05.000000", "02/01/2006 03:04:05 PM", "2006-01-02T15:04:05-07:00", time.RFC1123Z} {
			loc, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			c, r := column(t, mapping.ColumnSpec{Time: layout, Zone: zone}), rand.New(rand.NewPCG(5, 6))
			for range 300 {
				at := time.Unix(r.Int64N(3e9)-1e9, 0).In(loc)
				if _, end := at.ZoneBounds(); !end.IsZero() {
					at = end.Add(time.Duration(r.Int64N(int64(6*time.Hour))) - 3*time.Hour)
				}
				v := mapping.Text(at.Format(layout))
				there, err := c.There(v)
				if err != nil {
					t.Fatalf("%s, %q: %v", zone, v, err)
				}
				back, err := c.Back(there)
				if err != nil || back.Text() != v.Text() {
					t.Fatalf("%s: %q becomes %q and comes back as %q (%v)", zone, v, there, back, err)
				}
			}
		}
	}
}

// TestTimesThatCannotComeBackAreRefused, and those read twice are the earlier.
func TestTimesThatCannotComeBackAreRefused(t *testing.T) {
	for _, c := range []struct{ layout, zone, local, want, refusal string }{
		{"2006-01-02 15:04:05", "Europe/Berlin", "2026-07-01 10:00:00", "2026-07-01T08:00:00Z", ""},
		{"2006-01-02 15:04:05", "Europe/Berlin", "2026-03-29 02:30:00", "", "does not exist in Europe/Berlin"},
		{"02.01.2006 15:04:05", "Europe/Berlin", "29.03.2026 02:30:00", "", "does not exist in Europe/Berlin"},
		{"2006-01-02 15:04:05", "Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z", ""},
		{"02.01.2006 15:04:05", "Europe/Berlin", "25.10.2026 02:30:00", "2026-10-25T00:30:00Z", ""},
		{"2006-01-02 15:04:05", "America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00Z", ""},
		{"2006-01-02 15:04:05", "Australia/Lord_Howe", "2026-04-05 01:45:00", "2026-04-04T14:45:00Z", ""},
		{"2006-01-02 15:04:05 -07:00", "Europe/Berlin", "2026-10-25 02:30:00 +01:00", "2026-10-25T01:30:00Z", ""},
		{"2006-01-02 15:04:05 -07:00", "Europe/Berlin", "2026-07-01 10:00:00 -05:00", "", "does not exist in"},
		{"2006-01-02 15:04:05.000", "UTC", "2026-07-01 10:00:00.250", "2026-07-01T10:00:00.25Z", ""},
		{"2006-01-02 15:04:05", "UTC", "2026-07-01 10:00:00.250", "", "is not a time like"},
		{"2006-01-02 15:04:05", "UTC", "9999-12-31 23:59:59", "9999-12-31T23:59:59Z", ""},
		{"2006-01-02 15:04:05", "America/New_York", "9999-12-31 23:59:59", "", "is not a time like"},
		{"2006-01-02 15:04:05", "Europe/Berlin", "0000-01-01 00:00:00", "", "is not a time like"},
		{"2006-01-02 15:04:05", "UTC", "0000-00-00 00:00:00", "", "is not a time like"},
		{"2006-01-02 15:04:05", "UTC", "2026-02-30 02:00:00", "", "does not exist in"},
		{"2006-01-02 15:04:05", "UTC", "2026-04-31 12:00:00", "", "is not a time like"},
		{"2006-01-02 15:04:05", "UTC", "2026-04-30 24:00:00", "", "is not a time like"},
		{"2006-01-02 15:04:05", "UTC", "2026-04-30", "", "is not a time like"},
		{"2006-01-02 15:04:05", "UTC", "", "", "is not a time like"},
	} {
		got, err := column(t, mapping.ColumnSpec{Time: c.layout, Zone: c.zone}).There(mapping.Text(c.local))
		switch {
		case c.refusal != "":
			if err == nil || !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("%s in %s: %q, %v, want %q", c.local, c.zone, got, err, c.refusal)
			}
		case err != nil || got.Text() != c.want:
			t.Errorf("%s in %s: %q, %v, want %s", c.local, c.zone, got, err, c.want)
		}
	}
}

// TestInstantsThatTheMonolithCannotHoldAreRefused rather than shortened.
func TestInstantsThatTheMonolithCannotHoldAreRefused(t *testing.T) {
	for _, c := range []struct{ layout, zone, instant, want string }{
		{"2006-01-02 15:04:05", "Europe/Berlin", "2026-07-01T08:00:00Z", "2026-07-01 10:00:00"},
		{"2006-01-02 15:04:05.000", "UTC", "2026-07-01T08:00:00.25Z", "2026-07-01 08:00:00.250"},
		{"2006-01-02 15:04:05", "UTC", "2026-07-01T08:00:00.25Z", ""},
		{"2006-01-02 15:04:05.00", "UTC", "2026-07-01T08:00:00.125Z", ""},
		{"06-01-02 15:04:05", "UTC", "2068-07-01T08:00:00Z", "68-07-01 08:00:00"},
		{"06-01-02 15:04:05", "UTC", "2070-07-01T08:00:00Z", ""},
		{"2006-01-02 15:04:05", "Europe/Berlin", "9999-12-31T23:30:00Z", ""},
		{"2006-01-02 15:04:05", "America/New_York", "0000-01-01T00:00:00Z", ""},
		{"2006-01-02 15:04:05", "UTC", "2026-02-30T02:00:00Z", ""},
		{"2006-01-02 15:04:05", "UTC", "2026-07-01T08:00:00+02:00", ""},
		{"2006-01-02 15:04:05", "UTC", "2026-07-01 08:00:00", ""},
		{"2006-01-02 15:04:05", "UTC", "yesterday", ""},
	} {
		got, err := column(t, mapping.ColumnSpec{Time: c.layout, Zone: c.zone}).Back(mapping.Text(c.instant))
		if (c.want == "") != (err != nil) || got.Text() != c.want {
			t.Errorf("%s as %q in %s: %q, %v, want %q", c.instant, c.layout, c.zone, got, err, c.want)
		}
	}
}

// TestWhatTransformsRefuse and what they say.
func TestWhatTransformsRefuse(t *testing.T) {
	for _, c := range []struct {
		spec mapping.ColumnSpec
		v    mapping.Value
		want string
	}{
		{mapping.ColumnSpec{Scale: number(2)}, dec(t, "1.005"), "1.005 has more than 2 decimals or is too large"},
		{mapping.ColumnSpec{Scale: number(2)}, mapping.Float(0.125), "0.125 has more than 2 decimals"},
		{mapping.ColumnSpec{Scale: number(2)}, mapping.Int(math.MaxInt64), "is too large"},
		{mapping.ColumnSpec{Scale: number(2)}, mapping.Text("free"), `"free" is not a decimal number`},
		{mapping.ColumnSpec{Scale: number(2)}, mapping.Bool(true), "true is not a number"},
		{mapping.ColumnSpec{Scale: number(2)}, mapping.Float(math.Inf(1)), "is not a decimal number"},
		{invertible["integer enum"], mapping.Int(7), "7 is not a listed value (enum -2: void, 0: zero, 1: one)"},
		{invertible["integer enum"], mapping.Text("01"), "01 is not a listed value"},
		{invertible["integer enum"], mapping.Float(1), "1 is not a listed value"},
		{invertible["text enum"], mapping.Text("b"), "b is not a listed value"},
		{mapping.ColumnSpec{Cast: "int"}, mapping.Float(1.5), "1.5 cannot be cast to int without changing it"},
		{mapping.ColumnSpec{Cast: "int"}, mapping.Text("007"), "007 cannot be cast to int"},
		{mapping.ColumnSpec{Cast: "bool"}, mapping.Int(2), "2 cannot be cast to bool"},
		{mapping.ColumnSpec{Cast: "float"}, mapping.Int(1<<53 + 1), "cannot be cast to float"},
		{mapping.ColumnSpec{Cast: "float"}, mapping.Text("inf"), "inf cannot be cast to float"},
		{mapping.ColumnSpec{Cast: "decimal"}, mapping.Text("1e3"), "1e3 cannot be cast to decimal"},
		{mapping.ColumnSpec{Cast: "text"}, mapping.Bytes([]byte("x")), "1 bytes cannot be cast to text"},
	} {
		if got, err := column(t, c.spec).There(c.v); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s, %v, want %q", show(c.v), show(got), err, c.want)
		}
	}
	if _, err := column(t, mapping.ColumnSpec{Scale: number(2)}).Back(mapping.Text("5")); err == nil || !strings.Contains(err.Error(), "5 is not an integer") {
		t.Error(err)
	}
	if _, err := column(t, invertible["text enum"]).Back(mapping.Text("lost")); err == nil || !strings.Contains(err.Error(), "lost is not a listed name") {
		t.Error(err)
	}
}

// TestNullStaysNull on either way, except that a constant is one everywhere.
func TestNullStaysNull(t *testing.T) {
	for name, spec := range invertible {
		c := column(t, spec)
		if v, err := c.There(mapping.Null()); err != nil || !v.IsNull() {
			t.Errorf("%s there: %s, %v", name, show(v), err)
		}
		if v, err := c.Back(mapping.Null()); err != nil || !v.IsNull() {
			t.Errorf("%s back: %s, %v", name, show(v), err)
		}
	}
	if v, err := column(t, mapping.ColumnSpec{Constant: text("EUR")}).There(mapping.Null()); err != nil || v.Text() != "EUR" {
		t.Errorf("constant: %s, %v", show(v), err)
	}
}

// TestRowsAndKeysAreMappedTogether: rows in each side's own order, keys like
// the rows they belong to, and an error that names table, key and column.
func TestRowsAndKeysAreMappedTogether(t *testing.T) {
	p, problems := mapping.Compile(mapping.Spec{Capability: "c", Tables: []mapping.TableSpec{{To: "t", From: "f", Key: []string{"code", "id"}, Columns: []mapping.ColumnSpec{
		{To: "currency", Constant: text("EUR")}, {To: "id", From: "no"}, {To: "cents", From: "amount", Scale: number(2)}, {To: "code", From: "c", Enum: []mapping.EnumPair{{From: "1", To: "one"}}},
	}}}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	table := p.Tables[0]
	if got := fmt.Sprint(table.SourceColumns(), table.SourceKey(), table.TargetColumns(), table.TargetKey()); got != "[no amount c] [2 0] [currency id cents code] [3 1]" {
		t.Error(got)
	}
	row := []mapping.Value{mapping.Int(7), dec(t, "12.50"), mapping.Int(1)}
	there, err := table.Forward(row)
	if err != nil || mapping.EncodeKey(there) != `["EUR",7,1250,"one"]` {
		t.Fatalf("%s, %v", mapping.EncodeKey(there), err)
	}
	back, err := table.Inverse(there)
	if err != nil || mapping.EncodeKey(back) != mapping.EncodeKey(row) {
		t.Errorf("%s, %v", mapping.EncodeKey(back), err)
	}
	key, err := table.ForwardKey([]mapping.Value{mapping.Int(1), mapping.Int(7)})
	if err != nil || mapping.EncodeKey(key) != `["one",7]` {
		t.Errorf("%s, %v", mapping.EncodeKey(key), err)
	}
	if key, err = table.InverseKey(key); err != nil || mapping.EncodeKey(key) != `[1,7]` {
		t.Errorf("%s, %v", mapping.EncodeKey(key), err)
	}
	if key, err = table.ForwardKey(nil); err != nil || key != nil {
		t.Errorf("no key: %v, %v", key, err)
	}
	row[1] = mapping.Text("free")
	if _, err := table.Forward(row); err == nil || err.Error() != `table f, key [1,7], column amount: "free" is not a decimal number` {
		t.Error(err)
	}
	there[2] = mapping.Text("free")
	if _, err := table.Inverse(there); err == nil || err.Error() != `table t, key ["one",7], column cents: free is not an integer` {
		t.Error(err)
	}
}
