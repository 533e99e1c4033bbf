package compare

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// element is an element of an XML or HTML document, without comments,
// processing instructions and layout.
type element struct {
	name     string   // without prefix, for reports
	names    []string // that a rule may call it by
	key      string   // its namespace and its name: what it is
	text     string   // all text directly in it, each stretch without space around it
	outline  []string // its children by key, and stretches of text, in order
	children []*element
	attrs    []attribute // by key
}

type attribute struct {
	name  string
	names []string
	key   string
	value string
}

// textMark stands for a stretch of text in an outline.
const textMark = "#text"

// xml compares the texts as XML documents. The errors say why one is none.
func (c *comparison) xml(expected, actual string) (errExpected, errActual error) {
	e, errExpected := parseXML(expected)
	if errExpected != nil {
		return errExpected, nil
	}
	a, errActual := parseXML(actual)
	if errActual != nil {
		return nil, errActual
	}
	c.documents(e, a)
	return nil, nil
}

// xmlReader makes elements of the tokens of a document.
type xmlReader struct {
	decoder *xml.Decoder
	open    []*element
	scopes  []map[string]string // namespaces by prefix, for each open element
	root    *element
	count   int
}

// mostElements bounds the elements of a document that is read.
const mostElements = 250_000

var errElements = fmt.Errorf("more than %d elements", mostElements)

// parseXML reads a document. Namespaces are resolved here, because rules may
// call an element by the prefix that the document uses.
func parseXML(text string) (*element, error) {
	r := xmlReader{decoder: xml.NewDecoder(strings.NewReader(text))}
	// The text was decoded already, whatever its declaration says.
	r.decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	for {
		token, err := r.decoder.RawToken()
		if errors.Is(err, io.EOF) {
			return r.end()
		}
		if err != nil {
			return nil, err
		}
		if err := r.token(token); err != nil {
			line, column := r.decoder.InputPos()
			return nil, fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
	}
}

func (r *xmlReader) end() (*element, error) {
	switch {
	case len(r.open) > 0:
		return nil, fmt.Errorf("it ends within <%s>", r.open[len(r.open)-1].name)
	case r.root == nil:
		return nil, errors.New("it has no element")
	}
	return r.root, nil
}

func (r *xmlReader) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return r.start(t)
	case xml.EndElement:
		return r.close(t)
	case xml.CharData:
		return r.chars(string(t))
	}
	return nil
}

func (r *xmlReader) start(t xml.StartElement) error {
	if len(r.open) == 0 && r.root != nil {
		return errors.New("a second element follows the first")
	}
	if len(r.open) >= deepest {
		return errDeep
	}
	if r.count++; r.count > mostElements {
		return errElements
	}
	scope := r.scope(t.Attr)
	e := &element{name: t.Name.Local}
	if e.key, e.names = resolve(t.Name, scope, scope[""]); e.key == "" {
		return fmt.Errorf("the prefix %s is not bound to a namespace", t.Name.Space)
	}
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		key, names := resolve(a.Name, scope, "") // which has no default namespace
		if key == "" {
			return fmt.Errorf("the prefix %s is not bound to a namespace", a.Name.Space)
		}
		e.attrs = append(e.attrs, attribute{a.Name.Local, marked(names), key, a.Value})
	}
	if err := e.sortAttributes(); err != nil {
		return err
	}
	if len(r.open) == 0 {
		r.root = e
	} else {
		r.open[len(r.open)-1].add(e)
	}
	r.open, r.scopes = append(r.open, e), append(r.scopes, scope)
	return nil
}

// scope is the namespaces in force within an element.
func (r *xmlReader) scope(attrs []xml.Attr) map[string]string {
	outer := map[string]string{"xml": "http://www.w3.org/XML/1998/namespace"}
	if len(r.scopes) > 0 {
		outer = r.scopes[len(r.scopes)-1]
	}
	inner := outer
	for _, a := range attrs {
		prefix, ok := "", a.Name.Space == "" && a.Name.Local == "xmlns"
		if a.Name.Space == "xmlns" {
			prefix, ok = a.Name.Local, true
		}
		if !ok {
			continue
		}
		if len(inner) == len(outer) {
			inner = maps.Clone(outer)
		}
		inner[prefix] = a.Value
	}
	return inner
}

// resolve returns what a name stands for, and what rules may call it; no key if
// its prefix stands for nothing.
func resolve(name xml.Name, scope map[string]string, space string) (key string, names []string) {
	names = []string{name.Local}
	if name.Space != "" {
		bound, ok := scope[name.Space]
		if !ok {
			return "", nil
		}
		space = bound
		names = append(names, name.Space+":"+name.Local)
	}
	if space == "" {
		return name.Local, names
	}
	return space + " " + name.Local, append(names, space+":"+name.Local)
}

// marked writes names as rules write those of attributes.
func marked(names []string) []string {
	for i := range names {
		names[i] = "@" + names[i]
	}
	return names
}

func (e *element) sortAttributes() error {
	slices.SortFunc(e.attrs, func(a, b attribute) int { return strings.Compare(a.key, b.key) })
	for i := 1; i < len(e.attrs); i++ {
		if e.attrs[i].key == e.attrs[i-1].key {
			return fmt.Errorf("<%s> has the attribute %s twice", e.name, e.attrs[i].name)
		}
	}
	return nil
}

func (r *xmlReader) close(t xml.EndElement) error {
	if len(r.open) == 0 {
		return fmt.Errorf("</%s> closes nothing", t.Name.Local)
	}
	last := r.open[len(r.open)-1]
	if last.name != t.Name.Local {
		return fmt.Errorf("</%s> where </%s> is due", t.Name.Local, last.name)
	}
	r.open, r.scopes = r.open[:len(r.open)-1], r.scopes[:len(r.scopes)-1]
	return nil
}

func (r *xmlReader) chars(text string) error {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
	case len(r.open) == 0:
		return errors.New("text outside of the element")
	default:
		r.open[len(r.open)-1].addText(trimmed)
	}
	return nil
}

func (e *element) add(child *element) {
	e.children = append(e.children, child)
	e.outline = append(e.outline, child.key)
}

func (e *element) addText(text string) {
	e.text += text
	if n := len(e.outline); n == 0 || e.outline[n-1] != textMark {
		e.outline = append(e.outline, textMark)
	}
}

// attribute finds an attribute by its key.
func (e *element) attribute(key string) (attribute, bool) {
	i, ok := slices.BinarySearchFunc(e.attrs, key, func(a attribute, key string) int { return strings.Compare(a.key, key) })
	if !ok {
		return attribute{}, false
	}
	return e.attrs[i], true
}

// show is an element for reports: its tag, and its text if that is all there is.
func (e *element) show() string {
	var b strings.Builder
	b.WriteString("<" + e.name)
	for _, a := range e.attrs {
		fmt.Fprintf(&b, " %s=%q", a.name, a.value)
	}
	switch {
	case len(e.children) > 0:
		b.WriteString(">…</" + e.name + ">")
	case e.text != "":
		b.WriteString(">" + e.text + "</" + e.name + ">")
	default:
		b.WriteString("/>")
	}
	return b.String()
}
