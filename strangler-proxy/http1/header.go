package http1

import "net/http"

// Header makes a map of fields, without those that are skipped.
func Header(fields []Field, skip func(i int) bool) http.Header {
	h := make(http.Header, len(fields))
	values := make([]string, len(fields)) // one piece of memory for all
	for i := range fields {
		if skip(i) {
			continue
		}
		name := http.CanonicalHeaderKey(fields[i].Name)
		if have, more := h[name]; more {
			h[name] = append(have, fields[i].Value)
			continue
		}
		values[0] = fields[i].Value
		h[name], values = values[:1:1], values[1:]
	}
	return h
}
