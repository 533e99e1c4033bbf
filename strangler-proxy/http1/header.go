package http1

import "net/textproto"

// Header makes a map of fields by their canonical names, as net/http has it,
// without those that are skipped.
func Header(fields []Field, skip func(i int) bool) map[string][]string {
	h := make(map[string][]string, len(fields))
	values := make([]string, len(fields)) // one piece of memory for all
	for i := range fields {
		if skip(i) {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(fields[i].Name)
		if have, more := h[name]; more {
			h[name] = append(have, fields[i].Value)
			continue
		}
		values[0] = fields[i].Value
		h[name], values = values[:1:1], values[1:]
	}
	return h
}
