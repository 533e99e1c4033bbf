package compare

import (
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// html compares the texts as HTML documents, as a browser would read them:
// unclosed elements are closed, and what an HTML page must have is there. Runs
// of white space are one space, except where it shows; the classes of an element
// are a set.
func (c *comparison) html(expected, actual string) (errExpected, errActual error) {
	e, errExpected := parseHTML(expected)
	if errExpected != nil {
		return errExpected, nil
	}
	a, errActual := parseHTML(actual)
	if errActual != nil {
		return nil, errActual
	}
	c.documents(e, a)
	return nil, nil
}

func parseHTML(text string) (*element, error) {
	document, err := html.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	count := 0
	for range document.Descendants() {
		if count++; count > 2*mostElements { // stretches of text are nodes, too
			return nil, errElements
		}
	}
	for n := range document.ChildNodes() {
		if n.Type == html.ElementNode {
			return htmlElement(n, 0)
		}
	}
	return &element{name: "html", key: "html"}, nil
}

// keepsSpace lists the elements in which white space shows or means something.
var keepsSpace = []string{"pre", "textarea", "script", "style"}

func htmlElement(n *html.Node, depth int) (*element, error) {
	if depth > deepest {
		return nil, errDeep
	}
	e := &element{name: n.Data, names: []string{n.Data}, key: strings.TrimSpace(n.Namespace + " " + n.Data)}
	for _, a := range n.Attr {
		if slices.ContainsFunc(e.attrs, func(b attribute) bool { return b.key == a.Key }) {
			continue // the first counts
		}
		e.attrs = append(e.attrs, attribute{a.Key, []string{"@" + a.Key}, a.Key, htmlValue(a)})
	}
	if err := e.sortAttributes(); err != nil {
		return nil, err
	}
	for child := range n.ChildNodes() {
		switch child.Type {
		case html.TextNode:
			text := child.Data
			if !slices.Contains(keepsSpace, n.Data) {
				text = strings.Join(strings.Fields(text), " ")
			}
			if strings.TrimSpace(text) != "" {
				e.addText(text)
			}
		case html.ElementNode:
			inner, err := htmlElement(child, depth+1)
			if err != nil {
				return nil, err
			}
			e.add(inner)
		}
	}
	return e, nil
}

// htmlValue is an attribute's value; of a list of words their order and
// repetition mean nothing.
func htmlValue(a html.Attribute) string {
	switch a.Key {
	case "class", "rel":
		words := strings.Fields(a.Val)
		slices.Sort(words)
		return strings.Join(slices.Compact(words), " ")
	}
	return a.Val
}
