package tape

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"stranglerfig/contract-tests/match"
)

// edit replaces a stretch of bytes.
type edit struct {
	from, to int
	with     []byte
}

// json redacts token by token, so that order and layout stay as they were. It
// reports false for what is not JSON. Of a truncated document the part that
// could not be read is dropped.
func (s *session) json(place string, body Body) (Body, bool) {
	walk := tokens{session: s, place: place, body: body}
	end, err := walk.run()
	if err != nil {
		if !s.truncated {
			return nil, false
		}
		body = body[:end]
	}
	clean := Body{}
	from := 0
	for _, e := range walk.edits {
		clean = append(clean, body[from:e.from]...)
		clean = append(clean, e.with...)
		from = e.to
	}
	return append(clean, body[from:]...), true
}

// tokens walks over JSON and collects edits.
type tokens struct {
	*session
	place string
	body  Body
	edits []edit
	stack []level
}

// level is an object or array that is open.
type level struct {
	object bool
	key    string // of the member under way
	value  bool   // a key was read, its value is next
	secret bool   // everything inside is
}

// run returns how far it could read.
func (t *tokens) run() (int, error) {
	d := json.NewDecoder(bytes.NewReader(t.body))
	d.UseNumber()
	for {
		before := int(d.InputOffset())
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(t.stack) == 0 {
			return len(t.body), nil
		}
		if err != nil {
			return before, err
		}
		end := int(d.InputOffset())
		if _, number := token.(json.Number); number && t.truncated && end == len(t.body) {
			return before, io.ErrUnexpectedEOF // its last digits may be missing
		}
		start := end - len(bytes.TrimLeft(t.body[before:end], " \t\r\n,:"))
		t.token(token, start, end)
	}
}

func (t *tokens) token(token json.Token, start, end int) {
	top := t.top()
	switch v := token.(type) {
	case json.Delim:
		t.delimiter(v)
		return
	case string:
		if top.object && !top.value {
			top.key, top.value = v, true
			// Keys can be data, such as a map by mail address.
			if clean, changed := t.values(v); changed {
				t.note(t.where("*"))
				t.replace(start, end, clean)
				top.key = clean
			}
			return
		}
		t.text(v, start, end)
	case json.Number:
		if t.isSecret() || isCard(string(v)) {
			t.note(t.where(""))
			t.edits = append(t.edits, edit{start, end, []byte(t.number(string(v)))})
		}
	}
	top.value = false
}

func (t *tokens) text(value string, start, end int) {
	clean, changed := t.values(value)
	if t.isSecret() {
		clean = t.secret(value)
		changed = clean != value
	}
	if changed {
		t.note(t.where(""))
		t.replace(start, end, clean)
	}
}

func (t *tokens) replace(start, end int, clean string) {
	// A string always marshals.
	quoted, _ := json.Marshal(clean)
	t.edits = append(t.edits, edit{start, end, quoted})
}

func (t *tokens) delimiter(d json.Delim) {
	switch d {
	case '{', '[':
		t.stack = append(t.stack, level{object: d == '{', secret: t.isSecret()})
	default:
		t.stack = t.stack[:len(t.stack)-1]
		t.top().value = false
	}
}

// top is the level under way; outside of the document it is a throw-away one.
func (t *tokens) top() *level {
	if len(t.stack) == 0 {
		return &level{}
	}
	return &t.stack[len(t.stack)-1]
}

func (t *tokens) isSecret() bool {
	top := t.top()
	return top.secret || top.object && t.secretName(top.key) || t.secretPlace()
}

// secretPlace reports whether the value under way stands where a configured path
// leads.
func (t *tokens) secretPlace() bool {
	if len(t.paths) == 0 || len(t.stack) == 0 {
		return false
	}
	var at match.Path
	for _, l := range t.stack {
		if l.object {
			at = append(at, match.Field(l.key))
		} else {
			at = append(at, match.Index(0)) // paths with a number mean every element
		}
	}
	return slices.ContainsFunc(t.paths, func(p match.Path) bool { return everyElement(p).Covers(at) })
}

// everyElement is a path without numbers: where in a list a secret stands says
// nothing.
func everyElement(p match.Path) match.Path {
	out := slices.Clone(p)
	for n := range out {
		if keys, ok := out[n : n+1].Keys(); ok {
			if _, number := keys[0].(int); number {
				out[n] = match.AnyIndex()
			}
		}
	}
	return out
}

// where is the place of the value under way. Indices become *, so that the
// list stays short.
func (t *tokens) where(last string) string {
	var path match.Path
	for i, l := range t.stack {
		switch {
		case !l.object:
			path = append(path, match.AnyIndex())
		case i == len(t.stack)-1 && last == "*":
			path = append(path, match.AnyStep())
		default:
			path = append(path, match.Field(l.key))
		}
	}
	return t.place + path.String()[1:]
}
