package pair

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// ids are the keys of both sides that stand for each other.
type ids struct {
	keys  []map[string]change.Key     // by table: the monolith's to the service's
	text  map[string]map[string][]int // the tables in which one of the service's stands for one of the monolith's
	words map[string][]int            // the last words of names that hold keys, and of which tables; nil for any
	older *ids                        // what was learned before these; nil where nothing was
}

// keyWords end names of columns and members that hold keys, whatever the tables
// are called.
var keyWords = []string{"id", "ids", "no", "nr", "number", "key", "ref", "reference", "code", "uuid"}

// stand reports whether a key of the service's stands for one of the monolith's,
// as texts, in one of some tables; no tables are all of them.
func (i *ids) stand(ours, theirs string, in []int) bool {
	held := i.text[ours][theirs]
	if in == nil && len(held) > 0 || slices.ContainsFunc(held, func(table int) bool { return slices.Contains(in, table) }) {
		return true
	}
	return i.older != nil && i.older.stand(ours, theirs, in)
}

func newIDs(plan *mapping.Plan) *ids {
	i := &ids{text: map[string]map[string][]int{}, words: map[string][]int{}}
	for n, t := range plan.Tables {
		i.keys = append(i.keys, map[string]change.Key{})
		for _, table := range []string{t.To, t.From} {
			word := lastWord(table)
			i.words[word] = append(i.words[word], n)
			if one := strings.TrimSuffix(word, "s"); one != word {
				i.words[one] = append(i.words[one], n)
			}
		}
	}
	for _, t := range plan.Tables {
		for _, n := range t.TargetKey() {
			i.words[lastWord(t.Columns()[n].To)], i.words[lastWord(t.Columns()[n].From)] = nil, nil
		}
	}
	for _, word := range keyWords {
		i.words[word] = nil
	}
	return i
}

// refers reports whether a column or a member is called like one that holds keys,
// and two numbers in it stand for each other there: a number elsewhere, such as an
// amount, must be the same on both sides, even if it happens to be a key of
// something. What is called like a table holds that one's keys.
func (i *ids) refers(name, ours, theirs string) bool {
	in, holds := i.words[lastWord(name)]
	return holds && i.stand(ours, theirs, in)
}

var wordEnds = regexp.MustCompile(`[^\pL\pN]+|(\p{Ll})(\p{Lu})`)

// lastWord is the last word of a name such as order_id, orderId or shop.orders, in
// small letters.
func lastWord(name string) string {
	words := strings.Fields(wordEnds.ReplaceAllString(name, "$1 $2"))
	if len(words) == 0 {
		return ""
	}
	return strings.ToLower(words[len(words)-1])
}

func (i *ids) learn(table int, ours, theirs change.Key) {
	i.keys[table][mapping.EncodeKey(ours)] = theirs
	for n := range ours {
		a, b := ours[n].String(), theirs[n].String()
		if i.text[a] == nil {
			i.text[a] = map[string][]int{}
		}
		if !slices.Contains(i.text[a][b], table) {
			i.text[a][b] = append(i.text[a][b], table)
		}
	}
}

// theirs is the service's key for one of the monolith's.
func (i *ids) theirs(table int, key change.Key) change.Key {
	if other, ok := i.keys[table][mapping.EncodeKey(key)]; ok {
		return other
	}
	return key
}

var digits = regexp.MustCompile(`\d+`)

// same reports whether two values of a column say the same. What the mapping
// computes, such as an amount, is no key.
func (i *ids) same(column mapping.Column, a, b string) bool {
	switch column.Transform().Kind {
	case "rename", "cast":
		return i.alike(column.To, a, b)
	case "time":
		return a == b || near(a, b)
	}
	return a == b
}

// alike reports whether two values of a name say the same: they are equal, or
// equal but for keys that stand for each other and for moments, also within a
// text or a JSON document.
func (i *ids) alike(name, a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	if decode(a, &x) && decode(b, &y) {
		return i.alikeJSON(name, x, y)
	}
	if number.MatchString(a) || number.MatchString(b) {
		return i.refers(name, a, b)
	}
	return near(a, b) || i.stand(a, b, nil) || i.alikeText(a, b)
}

var number = regexp.MustCompile(`^[+-]?[\d.]+([eE][+-]?\d+)?$`)

func decode(text string, into *any) bool {
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(into) == nil
}

func (i *ids) alikeJSON(name string, x, y any) bool {
	switch x := x.(type) {
	case map[string]any:
		other, ok := y.(map[string]any)
		if !ok || len(x) != len(other) {
			return false
		}
		for member := range x {
			if there, has := other[member]; !has || !i.alikeJSON(member, x[member], there) {
				return false
			}
		}
		return true
	case []any:
		other, ok := y.([]any)
		if !ok || len(x) != len(other) {
			return false
		}
		for n := range x {
			if !i.alikeJSON(name, x[n], other[n]) {
				return false
			}
		}
		return true
	case json.Number:
		other, ok := y.(json.Number)
		return ok && i.alike(name, x.String(), other.String())
	case string:
		other, ok := y.(string)
		return ok && i.alike(name, x, other)
	}
	return x == y
}

// alikeText reports whether two texts differ in numbers only, and those are
// keys that stand for each other, such as in INV-000017.
func (i *ids) alikeText(a, b string) bool {
	if digits.ReplaceAllString(a, "0") != digits.ReplaceAllString(b, "0") {
		return false
	}
	ours, theirs := digits.FindAllString(a, -1), digits.FindAllString(b, -1)
	for n := range ours {
		x, y := strings.TrimLeft(ours[n], "0"), strings.TrimLeft(theirs[n], "0")
		if ours[n] != theirs[n] && !i.stand(x, y, nil) {
			return false
		}
	}
	return true
}

// layouts are the forms of moments in the databases and in what they keep.
var layouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"}

// near reports whether two texts are moments of one form that lie next to each
// other.
func near(a, b string) bool {
	for _, layout := range layouts {
		x, err := time.Parse(layout, a)
		if err != nil {
			continue
		}
		y, err := time.Parse(layout, b)
		return err == nil && x.Sub(y).Abs() <= apart
	}
	return false
}
