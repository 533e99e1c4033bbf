package mapping_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/mapping"
)

// TestEqualComparesNumbersByValue and everything else by kind and content.
func TestEqualComparesNumbersByValue(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, same := range [][]mapping.Value{
		{mapping.Int(12), mapping.Float(12), dec(t, "12"), dec(t, "12.00"), dec(t, "+12")},
		{mapping.Int(12), mapping.Text("12")},
		{dec(t, "19.90"), mapping.Float(19.9), mapping.Text("19.9")},
		{mapping.Int(0), mapping.Float(math.Copysign(0, -1)), dec(t, "-0.00"), mapping.Bool(false)},
		{mapping.Bool(true), mapping.Int(1), mapping.Text("1")},
		{mapping.Null(), mapping.Null()},
		{mapping.Time(noon), mapping.Time(noon.In(time.FixedZone("x", 3600)))},
		{mapping.Bytes([]byte{0, 255}), mapping.Bytes([]byte{0, 255})},
		{mapping.Int(math.MaxInt64), dec(t, "9223372036854775807")},
		{mapping.Float(math.Inf(1)), mapping.Text("Infinity")},
		{mapping.Float(math.NaN()), mapping.Float(math.NaN()), mapping.Text("NaN")},
	} {
		for _, v := range same {
			if !same[0].Equal(v) || !v.Equal(same[0]) {
				t.Errorf("%s and %s are not equal", show(same[0]), show(v))
			}
		}
	}
	different := []mapping.Value{
		mapping.Null(), mapping.Int(0), mapping.Bool(true), mapping.Float(0.5), dec(t, "0.25"), mapping.Text(""), mapping.Text("a"), mapping.Text("007"),
		mapping.Bytes(nil), mapping.Bytes([]byte("a")), mapping.Time(noon), mapping.Int(math.MaxInt64), mapping.Float(math.MaxInt64), mapping.Float(math.Inf(1)), mapping.Float(math.Inf(-1)), mapping.Float(math.NaN()), mapping.Text("NULL"), mapping.Text("true"),
	}
	for i, a := range different {
		for _, b := range different[:i] {
			if a.Equal(b) || b.Equal(a) {
				t.Errorf("%s and %s are equal", show(a), show(b))
			}
		}
	}
	if mapping.Text("007").Equal(mapping.Text("7")) || mapping.Text("1.0").Equal(mapping.Text("1.00")) {
		t.Error("two texts are equal although their letters are not")
	}
}

// TestDecimalsAreExact where binary numbers are not.
func TestDecimalsAreExact(t *testing.T) {
	for _, c := range []struct {
		in    string
		scale int
		want  int64
		ok    bool
	}{
		{"0", 2, 0, true}, {"-0.00", 2, 0, true}, {"12.5", 2, 1250, true}, {"-12.50", 1, -125, true}, {"12.55", 1, 0, false},
		{".5", 1, 5, true}, {"5.", 1, 50, true}, {"+7", 0, 7, true}, {"0.1000", 1, 1, true},
		{"92233720368547758.07", 2, math.MaxInt64, true}, {"-92233720368547758.08", 2, math.MinInt64, true}, {"92233720368547758.08", 2, 0, false},
		{"9223372036854775807", 0, math.MaxInt64, true}, {"1", 19, 0, false},
	} {
		d, err := dec(t, c.in).Decimal()
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := d.Unscaled(c.scale); n != c.want || ok != c.ok {
			t.Errorf("%s to %d decimals: %d, %t", c.in, c.scale, n, ok)
		}
	}
	for _, bad := range []string{"", ".", "-", "+", "-.", "1.2.3", "1e3", "0x10", "1_000", " 1", "1 ", "--1", "+-1", "1.-5", "1-1", "NaN", "inf", "١", strings.Repeat("9", 1001)} {
		if v, err := mapping.Dec(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, show(v))
		}
	}
	for _, bad := range []mapping.Value{mapping.Null(), mapping.Bytes([]byte("1")), mapping.Time(time.Now()), mapping.Text("x"), mapping.Float(math.NaN())} {
		if _, err := bad.Decimal(); err == nil {
			t.Errorf("%s is taken for a number", show(bad))
		}
	}
}

// TestDecimalsAreWrittenWithTheirScale, and read again as the same number.
func TestDecimalsAreWrittenWithTheirScale(t *testing.T) {
	for _, c := range []struct {
		n     int64
		scale int
		want  string
	}{{0, 2, "0.00"}, {5, 2, "0.05"}, {-5, 2, "-0.05"}, {1250, 2, "12.50"}, {7, 0, "7"}, {math.MinInt64, 2, "-92233720368547758.08"}, {math.MinInt64, 18, "-9.223372036854775808"}} {
		if got := mapping.FormatUnscaled(c.n, c.scale); got != c.want {
			t.Errorf("%d / 10^%d is written %s, want %s", c.n, c.scale, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 5_000 {
		n, scale := int64(r.Uint64())>>r.IntN(64), r.IntN(19)
		d, err := dec(t, mapping.FormatUnscaled(n, scale)).Decimal()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := d.Unscaled(scale); !ok || got != n {
			t.Fatalf("%d / 10^%d is read as %d", n, scale, got)
		}
		if again := mapping.FormatDecimal(d); again != mapping.FormatUnscaled(n, scale) {
			t.Fatalf("%s is written %s", mapping.FormatUnscaled(n, scale), again)
		}
	}
}

// TestAKeyIsReadAsItWasWritten whatever it holds, and no two are written alike.
func TestAKeyIsReadAsItWasWritten(t *testing.T) {
	written := map[string]string{}
	r := rand.New(rand.NewPCG(9, 10))
	for range 20_000 {
		key := make([]mapping.Value, r.IntN(4))
		for i := range key {
			if key[i] = anyValue(r); r.IntN(10) == 0 {
				key[i] = mapping.Time(time.Unix(r.Int64N(4e9), r.Int64N(1e9)))
			}
		}
		text := mapping.EncodeKey(key)
		again, err := mapping.DecodeKey(text)
		if err != nil || len(again) != len(key) {
			t.Fatalf("%s: %v, %v", text, again, err)
		}
		if got := fmt.Sprintf("%q", again); got != fmt.Sprintf("%q", key) || mapping.EncodeKey(again) != text {
			t.Fatalf("%q is written %s and read %s", key, text, got)
		}
		exact := ""
		for _, v := range key {
			exact += fmt.Sprintf("%d %q %q|", v.Kind(), v.String(), v.Text())
		}
		if other, ok := written[text]; ok && other != exact {
			t.Fatalf("%s is written for %s and for %s", text, exact, other)
		}
		written[text] = exact
	}
}

// TestKeysOfTriggersAreRead: the JSON that databases write by themselves.
func TestKeysOfTriggersAreRead(t *testing.T) {
	for in, want := range map[string]string{
		`[]`: `[]`, `[1,"a"]`: `[1,"a"]`, `[null,true]`: `[null,true]`, `[ 1.5 ]`: `[{"float":"1.5"}]`, `[1.0e+300]`: `[{"float":"1e+300"}]`, `["\u00fc"]`: `["ü"]`, `["<&>"]`: `["<&>"]`,
	} {
		key, err := mapping.DecodeKey(in)
		if got := mapping.EncodeKey(key); err != nil || got != want {
			t.Errorf("%s is read as %s, %v", in, got, err)
		}
	}
	for _, bad := range []string{``, `{`, `1`, `{"a":1}`, `[[1]]`, `[{}]`, `[{"what":"1"}]`, `[{"dec":"x"}]`, `[{"dec":1}]`, `[1e999]`, `[{"bytes":"?"}]`, `[{"time":"noon"}]`, "[\"\xff\"]"} {
		if key, err := mapping.DecodeKey(bad); err == nil {
			t.Errorf("%q is read as %v", bad, key)
		}
	}
}

// FuzzDecodeKey: whatever is read is written in a form that reads the same.
func FuzzDecodeKey(f *testing.F) {
	for _, seed := range []string{`[1,"a"]`, `[null]`, `[true,1.5]`, `[{"dec":"1.50"}]`, `[{"float":"NaN"}]`, `[{"bytes":"AP8="}]`, `[{"text":"/w=="}]`, `[{"time":"2026-07-01T08:00:00.5Z"}]`, `[-0.0,1e5]`, `["\ud800"]`, `[{}]`, `nonsense`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		key, err := mapping.DecodeKey(in)
		if err != nil {
			return
		}
		text := mapping.EncodeKey(key)
		again, err := mapping.DecodeKey(text)
		if err != nil {
			t.Fatalf("%q is read and written as %s, which is not read: %v", in, text, err)
		}
		if twice := mapping.EncodeKey(again); twice != text {
			t.Fatalf("%q is written as %s and then as %s", in, text, twice)
		}
	})
}
