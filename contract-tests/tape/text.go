package tape

import (
	"regexp"
	"strings"
)

// Patterns of name and value in text: name=value and name: value, elements,
// form controls, parts of a multipart body.
var (
	assigned  = regexp.MustCompile(`(["']?)([A-Za-z][A-Za-z0-9_.-]*)(["']?\s*[:=]\s*)("[^"\r\n]*|'[^'\r\n]*|[^\s"'&<>;,]+)`)
	element   = regexp.MustCompile(`<([A-Za-z][A-Za-z0-9_.:-]*)((?:\s[^<>]*)?>)([^<]+)`)
	input     = regexp.MustCompile(`(?i)<(?:input|meta)\b[^>]*>`)
	named     = regexp.MustCompile(`(?i)\bname\s*=\s*["']?([^"'\s>]+)`)
	valued    = regexp.MustCompile(`(?i)(\b(?:value|content)\s*=\s*)("[^"]*"|'[^']*'|[^"'\s>]+)`)
	multipart = regexp.MustCompile(`(?i)(content-disposition:[^\r\n]*\bname="([^"]*)"[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n)((?s:.+?))(\r?\n--|\z)`)
	cdata     = regexp.MustCompile(`(?s)<([A-Za-z][A-Za-z0-9_.:-]*)((?:\s[^<>]*)?>\s*<!\[CDATA\[)(.*?)(\]\]>|\z)`)
)

// text redacts what is neither JSON nor a form: by names where it can see
// any, and by looks.
func (s *session) text(place, text string) string {
	before := text
	text = replaceGroups(input, text, func(g []string) string {
		name := named.FindStringSubmatch(g[0])
		if name == nil || !s.secretName(name[1]) {
			return g[0]
		}
		return replaceGroups(valued, g[0], func(v []string) string {
			return v[1] + `"` + s.secret(strings.Trim(v[2], `"'`)) + `"`
		})
	})
	text = replaceGroups(multipart, text, func(g []string) string {
		if !s.secretName(g[2]) {
			return g[0]
		}
		return g[1] + s.secret(g[3]) + g[4]
	})
	text = replaceGroups(cdata, text, func(g []string) string {
		if !s.secretName(g[1]) {
			return g[0]
		}
		return "<" + g[1] + g[2] + s.secret(g[3]) + g[4]
	})
	text = replaceGroups(element, text, func(g []string) string {
		if !s.secretName(g[1]) {
			return g[0]
		}
		return "<" + g[1] + g[2] + s.secret(g[3])
	})
	text = s.assignments(text)
	text, _ = s.values(text)
	if text != before {
		s.note(place)
	}
	return text
}

// assignments redacts what is said to be something, also within what is said:
// an attribute may hold an address with a query.
func (s *session) assignments(text string) string {
	return replaceGroups(assigned, text, func(g []string) string {
		value := strings.TrimLeft(g[4], `"'`)
		quote := g[4][:len(g[4])-len(value)]
		switch {
		case s.secretName(g[2]):
			return g[1] + g[2] + g[3] + quote + s.secret(value)
		case strings.ContainsAny(value, "=:"):
			return g[1] + g[2] + g[3] + quote + s.assignments(value)
		}
		return g[0]
	})
}

func replaceGroups(pattern *regexp.Regexp, text string, with func(groups []string) string) string {
	return pattern.ReplaceAllStringFunc(text, func(found string) string {
		return with(pattern.FindStringSubmatch(found))
	})
}
