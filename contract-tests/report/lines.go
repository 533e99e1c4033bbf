package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/verify"
)

// line is one line of a message as it is shown.
type line struct {
	text string
	path string // of the value it shows, as differences name it; "" if none
}

// within reports whether the line shows the value at a path or a part of it.
func (l line) within(path string) bool {
	rest, ok := strings.CutPrefix(l.path, path)
	return ok && l.path != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// lines lays a message out: its status, the headers that names tells, and the
// body, JSON with a line for each value.
func lines(e *verify.Exhibit, names []string) []line {
	all := []line{{strconv.Itoa(e.Status), "$.status"}}
	for _, name := range names {
		for key, values := range e.Header {
			if strings.EqualFold(key, name) {
				all = append(all, line{name + ": " + strings.Join(values, ", "), "$.header." + name})
			}
		}
	}
	switch document, err := match.Decode([]byte(e.Body)); {
	case e.Free:
		all = append(all, line{text: "(any body)"})
	case err == nil:
		all = append(append(all, line{}), layOut("", "", match.Path{}, document)...)
	case e.Body != "":
		all = append(all, line{})
		for n, text := range strings.Split(e.Body, "\n") {
			all = append(all, line{text, fmt.Sprintf("$.body:line %d", n+1)})
		}
	}
	if e.Cut > 0 {
		all = append(all, line{text: fmt.Sprintf("… and %d bytes more", e.Cut)})
	}
	return all
}

// layOut writes a JSON value with its members by name, so that two documents
// can be held against each other.
func layOut(indent, before string, path match.Path, v any) []line {
	here := "$.body" + path.String()[1:]
	var open, shut string
	var below []line
	next := func(before string, step match.Step, v any) {
		below = append(below, layOut(indent+"  ", before, append(slices.Clone(path), step), v)...)
	}
	switch v := v.(type) {
	case map[string]any:
		open, shut = "{", "}"
		for _, name := range slices.Sorted(maps.Keys(v)) {
			next(written(name)+": ", match.Field(name), v[name])
		}
	case []any:
		open, shut = "[", "]"
		for n, element := range v {
			next("", match.Index(n), element)
		}
	default:
		return []line{{indent + before + written(v), here}}
	}
	if len(below) == 0 {
		return []line{{indent + before + open + shut, here}}
	}
	return append(append([]line{{indent + before + open, here}}, below...), line{text: indent + shut})
}

func written(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Row is a line of two messages side by side. A side that has nothing to show
// there is empty.
type Row struct {
	Left, Right           string
	LeftClass, RightClass string // "", "other" where they differ, "wrong" where that counts
}

// longest is how many lines of a message are aligned with another's. Longer
// ones are shown one beside the other as they are.
const longest = 2000

// align puts equal lines of two messages beside each other.
func align(left, right []line, wrong []compare.Difference) []Row {
	class := func(l line) string {
		for _, d := range wrong {
			if l.within(d.Path) {
				return "wrong"
			}
		}
		return "other"
	}
	var rows []Row
	// What is only left and only right between two common lines stands beside
	// each other.
	flush := func(l, r []line) {
		for n := range max(len(l), len(r)) {
			row := Row{}
			if n < len(l) {
				row.Left, row.LeftClass = l[n].text, class(l[n])
			}
			if n < len(r) {
				row.Right, row.RightClass = r[n].text, class(r[n])
			}
			rows = append(rows, row)
		}
	}
	i, j := 0, 0
	for _, pair := range common(left, right) {
		flush(left[i:pair[0]], right[j:pair[1]])
		rows = append(rows, Row{Left: left[pair[0]].text, Right: right[pair[1]].text})
		i, j = pair[0]+1, pair[1]+1
	}
	flush(left[i:], right[j:])
	return rows
}

// common finds a longest common subsequence of lines, by the textbook table of
// lengths; pairs of indices.
func common(left, right []line) [][2]int {
	if len(left) > longest || len(right) > longest {
		return nil
	}
	width := len(right) + 1
	length := make([]uint16, (len(left)+1)*width)
	for i := len(left) - 1; i >= 0; i-- {
		for j := len(right) - 1; j >= 0; j-- {
			if left[i].text == right[j].text {
				length[i*width+j] = length[(i+1)*width+j+1] + 1
			} else {
				length[i*width+j] = max(length[(i+1)*width+j], length[i*width+j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(left) && j < len(right); {
		switch {
		case left[i].text == right[j].text:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case length[(i+1)*width+j] >= length[i*width+j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}
