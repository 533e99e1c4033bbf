package evidence

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/verify"
)

//go:embed pack.html
var page string

var pages = template.Must(template.New("pack").Funcs(template.FuncMap{
	"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 MST") },
	"json": indented, "rules": rules, "text": readable, "target": target, "headers": headers,
	"states": states,
}).Parse(page))

// Write writes the pack as one HTML file that refers to nothing outside itself.
// Every value is escaped.
func (p *Pack) Write(w io.Writer) error {
	// Rendered whole before the first byte is written, so that a failure leaves
	// no half of a page behind.
	var b bytes.Buffer
	if err := pages.Execute(&b, p); err != nil {
		return fmt.Errorf("write the evidence pack: %w", err)
	}
	_, err := w.Write(verify.Visible(b.Bytes()))
	return err
}

// longestBody bounds what is shown of each body.
const longestBody = 8 << 10

func readable(body []byte) string {
	switch {
	case len(body) == 0:
		return ""
	case !utf8.Valid(body):
		return fmt.Sprintf("%d bytes that are no text", len(body))
	case json.Valid(body):
		return cut(indented(body))
	}
	return cut(string(body))
}

func cut(text string) string {
	if len(text) <= longestBody {
		return text
	}
	return strings.ToValidUTF8(text[:longestBody], "") + fmt.Sprintf("\n… (%d bytes in all)", len(text))
}

// indented lays JSON out for people; what is none is shown as it is.
func indented(raw []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

func rules(r match.Rules) string {
	if r.Empty() {
		return ""
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return indented(raw)
}

func target(r contract.Request) string {
	if len(r.Query) == 0 {
		return r.Method + " " + r.Path
	}
	return r.Method + " " + r.Path + "?" + url.Values(r.Query).Encode()
}

func headers(h map[string][]string) string {
	var lines []string
	for name, values := range h {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func states(all []contract.State) string {
	if len(all) == 0 {
		return ""
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
