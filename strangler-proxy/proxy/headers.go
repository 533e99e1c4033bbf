package proxy

import (
	"iter"
	"net/http"
	"sync"

	"stranglerfig/strangler-proxy/http1"
)

// Headers are those of a message. A map of them is made once somebody wants one:
// most exchanges are observed by nobody who does. A nil pointer has none. They are
// safe for concurrent use.
type Headers struct {
	lines []http1.Field // as they came
	once  sync.Once
	byKey http.Header
}

// HeadersOf makes them of a map, which becomes theirs.
func HeadersOf(h http.Header) *Headers {
	made := &Headers{byKey: h}
	made.once.Do(func() {}) // so that Map makes none
	return made
}

// ListHeaders keeps fields as they came, without those that are skipped.
func ListHeaders(fields []http1.Field, skip func(i int) bool) *Headers {
	h := &Headers{lines: make([]http1.Field, 0, len(fields))}
	for i := range fields {
		if !skip(i) {
			h.lines = append(h.lines, fields[i])
		}
	}
	return h
}

// Map returns them by their canonical names, nil where there are none. Nobody may
// change it.
func (h *Headers) Map() http.Header {
	if h == nil {
		return nil
	}
	h.once.Do(func() { h.byKey = http1.Header(h.lines, none) })
	return h.byKey
}

func none(int) bool { return false }

// Get returns the first value of a name, as [http.Header.Get] does.
func (h *Headers) Get(name string) string {
	if h == nil || h.lines == nil {
		return h.Map().Get(name)
	}
	for i := range h.lines {
		if http1.SameName(h.lines[i].Name, name) {
			return h.lines[i].Value
		}
	}
	return ""
}

// Lines returns them as they came; false where they came as a map. Nobody may change
// them.
func (h *Headers) Lines() ([]http1.Field, bool) {
	if h == nil {
		return nil, true
	}
	return h.lines, h.lines != nil
}

// All returns each name with each of its values, as they came, or else in no order.
func (h *Headers) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		if lines, listed := h.Lines(); listed {
			for i := range lines {
				if !yield(lines[i].Name, lines[i].Value) {
					return
				}
			}
			return
		}
		for name, values := range h.byKey {
			for _, value := range values {
				if !yield(name, value) {
					return
				}
			}
		}
	}
}
