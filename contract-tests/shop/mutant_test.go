package shop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"stranglerfig/contract-tests/compare"
)

// mutant is a fault that is put into an answer. It reports false where the
// answer has nothing to put it into.
type mutant struct {
	class, where string
	apply        func(m *compare.Message) bool
}

// mutants lists the faults that an answer has room for.
func mutants(answer compare.Message, old [][]byte) []mutant {
	all := []mutant{{"wrong status", "$.status", func(m *compare.Message) bool {
		m.Status = map[int]int{200: 201, 201: 200, 404: 410, 409: 422, 422: 400}[m.Status]
		return m.Status != 0
	}}}
	for _, name := range []string{"Content-Type", "Location", "Etag", "Cache-Control", "Content-Disposition"} {
		if http.Header(answer.Header).Get(name) == "" {
			continue
		}
		all = append(all, mutant{"lost header", "$.header." + name, func(m *compare.Message) bool {
			delete(m.Header, name)
			return true
		}})
	}
	for _, body := range old {
		if !bytes.Equal(body, answer.Body) {
			all = append(all, mutant{"stale value", "$.body", func(m *compare.Message) bool {
				before := m.Body
				m.Body = body
				return !bytes.Equal(before, body)
			}})
			break
		}
	}
	var document any
	if d := decoder(answer.Body); d.Decode(&document) == nil && http.Header(answer.Header).Get("Content-Type") == "application/json" {
		return append(all, inJSON(document)...)
	}
	return append(all, inText()...)
}

func decoder(body []byte) *json.Decoder {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return d
}

// leaf is a place in a document, with what it is reached by.
type leaf struct {
	keys  []any
	value any
}

func (l leaf) String() string {
	path := "$.body"
	for _, key := range l.keys {
		if n, ok := key.(int); ok {
			path += fmt.Sprintf("[%d]", n)
		} else {
			path += fmt.Sprintf(".%v", key)
		}
	}
	return path
}

// leaves lists every place of a document, of lists the first two elements.
func leaves(keys []any, v any) []leaf {
	all := []leaf{{keys, v}}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, leaves(append(slices.Clone(keys), name), v[name])...)
		}
	case []any:
		for n, element := range v[:min(2, len(v))] {
			all = append(all, leaves(append(slices.Clone(keys), n), element)...)
		}
	}
	return all
}

const clock = "2006-01-02 15:04:05"

// inJSON lists the faults of each place of a document.
func inJSON(document any) []mutant {
	var all []mutant
	add := func(class string, l leaf, change func(v any) (any, bool)) {
		if _, ok := change(l.value); ok {
			all = append(all, mutant{class, l.String(), func(m *compare.Message) bool { return edit(m, l.keys, change) }})
		}
	}
	for _, l := range leaves(nil, document) {
		if len(l.keys) > 0 {
			if _, member := l.keys[len(l.keys)-1].(string); member {
				all = append(all, mutant{"dropped field", l.String(), func(m *compare.Message) bool { return drop(m, l.keys) }})
			}
		}
		add("wrong type", l, func(v any) (any, bool) {
			switch v := v.(type) {
			case json.Number:
				return v.String(), true
			case string:
				return 7, true
			case bool:
				return fmt.Sprint(v), true
			}
			return nil, false
		})
		add("off by one", l, func(v any) (any, bool) {
			n, ok := v.(json.Number)
			whole, err := n.Int64()
			return whole + 1, ok && err == nil
		})
		add("rounding", l, func(v any) (any, bool) {
			n, ok := v.(json.Number)
			f, err := n.Float64()
			return math.Round(f), ok && err == nil && math.Round(f) != f
		})
		add("timezone slip", l, func(v any) (any, bool) {
			text, _ := v.(string)
			at, err := time.Parse(clock, text)
			return at.Add(time.Hour).Format(clock), err == nil
		})
		add("changed order", l, func(v any) (any, bool) {
			list, _ := v.([]any)
			if len(list) < 2 {
				return nil, false
			}
			list = slices.Clone(list)
			list[0], list[1] = list[1], list[0]
			return list, true
		})
		add("truncated page", l, func(v any) (any, bool) {
			list, _ := v.([]any)
			return list[:max(0, len(list)-1)], len(list) > 0
		})
	}
	return all
}

func edit(m *compare.Message, keys []any, change func(v any) (any, bool)) bool {
	var document any
	if decoder(m.Body).Decode(&document) != nil {
		return false
	}
	changed, ok := at(document, keys, func(v any) (any, bool) { return change(v) })
	if !ok {
		return false
	}
	before := m.Body
	m.Body, _ = json.Marshal(changed)
	return !bytes.Equal(before, m.Body)
}

// at replaces the value at a place; it reports false where there is none.
func at(v any, keys []any, with func(v any) (any, bool)) (any, bool) {
	if len(keys) == 0 {
		return with(v)
	}
	switch key := keys[0].(type) {
	case string:
		object, _ := v.(map[string]any)
		below, has := object[key]
		changed, ok := at(below, keys[1:], with)
		if !has || !ok {
			return v, false
		}
		object[key] = changed
	case int:
		list, _ := v.([]any)
		if key >= len(list) {
			return v, false
		}
		changed, ok := at(list[key], keys[1:], with)
		if !ok {
			return v, false
		}
		list[key] = changed
	}
	return v, true
}

func drop(m *compare.Message, keys []any) bool {
	last := keys[len(keys)-1].(string)
	return edit(m, keys[:len(keys)-1], func(v any) (any, bool) {
		object, ok := v.(map[string]any)
		if _, has := object[last]; !ok || !has {
			return v, false
		}
		delete(object, last)
		return object, true
	})
}

// inText lists the faults of a page or a table.
func inText() []mutant {
	replace := func(class, what string, with func(found []byte) []byte) mutant {
		pattern := regexp.MustCompile(what)
		return mutant{class, "$.body", func(m *compare.Message) bool {
			before, done := m.Body, false
			m.Body = pattern.ReplaceAllFunc(m.Body, func(found []byte) []byte {
				if done {
					return found
				}
				done = true
				return with(found)
			})
			return !bytes.Equal(before, m.Body)
		}}
	}
	return []mutant{
		replace("changed order", `(?s)<td[^>]*>[^<]*</td>\s*<td[^>]*>[^<]*</td>`, func(found []byte) []byte {
			cells := regexp.MustCompile(`(?s)<td[^>]*>[^<]*</td>`).FindAll(found, -1)
			return append(slices.Clone(cells[1]), cells[0]...)
		}),
		replace("dropped field", `(?s)<td[^>]*>.*?</td>|,[^,\n]*`, func([]byte) []byte { return nil }),
		replace("off by one", `\d+\b`, func(found []byte) []byte {
			n, _ := strconv.Atoi(string(found))
			return []byte(strconv.Itoa(n + 1))
		}),
		replace("rounding", `\d+\.\d\d\b`, func(found []byte) []byte {
			f, _ := strconv.ParseFloat(string(found), 64)
			return fmt.Appendf(nil, "%.0f", f)
		}),
		replace("timezone slip", `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, func(found []byte) []byte {
			at, _ := time.Parse(clock, string(found))
			return []byte(at.Add(time.Hour).Format(clock))
		}),
		{"truncated page", "$.body", func(m *compare.Message) bool {
			end := bytes.TrimRight(m.Body, "\n")
			if html := bytes.Index(end, []byte("</html>")); html > 0 { // the end of a page is markup only
				end = end[:len(end)/2]
			}
			cut := bytes.LastIndexByte(end, '\n')
			if cut < 1 {
				return false
			}
			m.Body = m.Body[:cut+1]
			return true
		}},
		{"changed order", "$.body", func(m *compare.Message) bool {
			lines := bytes.SplitAfter(m.Body, []byte("\n"))
			if len(lines) < 4 || bytes.Equal(lines[1], lines[2]) || bytes.Contains(m.Body, []byte("<html")) {
				return false
			}
			lines[1], lines[2] = lines[2], lines[1]
			m.Body = bytes.Join(lines, nil)
			return true
		}},
	}
}
