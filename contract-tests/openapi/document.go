package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"stranglerfig/contract-tests/contract"
)

// recognise refuses what is no description at all, by its outermost members: a
// library that reads descriptions tells of its own types where somebody gave the
// wrong file.
func recognise(data []byte) error {
	root, err := document(data)
	if err != nil {
		return err
	}
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: the document is %s (accepted: an OpenAPI description, an object with openapi, info and paths)", max(root.Line, 1), kindOf(root))
	}
	version, swagger := member(root, "openapi"), member(root, "swagger")
	switch {
	case version == nil && swagger != nil:
		return fmt.Errorf("line %d: swagger %s is not read (accepted: openapi 3.0 and 3.1); convert it first", swagger.Line, swagger.Value)
	case version == nil:
		return errors.New("it has no member openapi, so it is no OpenAPI description (accepted: openapi 3.0 and 3.1)")
	case version.Kind != yaml.ScalarNode || version.Tag != "!!str" || !supported(version.Value):
		return fmt.Errorf("line %d: openapi is %s (accepted: a text that begins with 3.0 or 3.1, such as \"3.0.3\")", version.Line, quotedNode(version))
	}
	return nil
}

func supported(version string) bool {
	return strings.HasPrefix(version, "3.0") || strings.HasPrefix(version, "3.1")
}

// document is the outermost node of a JSON or YAML text.
func document(data []byte) (*yaml.Node, error) {
	if text := bytes.TrimSpace(data); len(text) == 0 {
		return nil, errors.New("the file is empty (accepted: an OpenAPI description in YAML or JSON)")
	} else if text[0] == '{' || text[0] == '[' {
		return inJSON(data)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, inYAML(err)
	}
	if len(root.Content) == 0 {
		return nil, errors.New("the file holds nothing but comments (accepted: an OpenAPI description in YAML or JSON)")
	}
	return root.Content[0], nil
}

// inJSON is the outermost node of a JSON text, as far as it is asked for. YAML's
// reader refuses some JSON, such as an escaped character of two halves.
func inJSON(data []byte) (*yaml.Node, error) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(data, &members)
	var other *json.UnmarshalTypeError
	switch {
	case errors.As(err, &other):
		return &yaml.Node{Kind: yaml.SequenceNode, Line: 1}, nil
	case err != nil:
		return nil, fmt.Errorf("%sthe JSON is broken: %w", contract.Position(data, err), err)
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range []string{"openapi", "swagger"} {
		if raw, ok := members[name]; ok {
			var value yaml.Node
			if err := yaml.Unmarshal(raw, &value); err == nil && len(value.Content) > 0 {
				value.Content[0].Line = bytes.Count(data[:bytes.Index(data, []byte(`"`+name+`"`))], []byte("\n")) + 1
				root.Content = append(root.Content, &yaml.Node{Value: name}, value.Content[0])
			}
		}
	}
	return root, nil
}

// member is an object's member of a name, nil where there is none.
func member(object *yaml.Node, name string) *yaml.Node {
	for n := 0; n+1 < len(object.Content); n += 2 {
		if object.Content[n].Value == name {
			return object.Content[n+1]
		}
	}
	return nil
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "an object"
	}
	return kinds[n.Tag]
}

// kinds are what YAML's tags are called.
var kinds = map[string]string{"!!str": "a text", "!!int": "a number", "!!float": "a number", "!!bool": "true or false", "!!null": "nothing", "!!seq": "a list", "!!map": "an object", "!!timestamp": "a date"}

func quotedNode(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return kindOf(n)
	}
	if n.Tag == "!!str" {
		return strconv.Quote(n.Value)
	}
	return kindOf(n) + ", " + n.Value
}

// What YAML's reader says, and what a description's reader says of a member that
// has another kind than it should: `line 2: cannot construct !!seq into
// openapi3.Info in /info`.
var (
	atLine    = regexp.MustCompile(`^(?:line (\d+): )?(.*)$`)
	misplaced = regexp.MustCompile("^cannot (?:construct|unmarshal) (!!\\w+)(?: `(.*)`)? into .*?(?: in (/.*))?$")
)

// inYAML says in plain words what is wrong with a text that should be YAML, or
// what in it stands in the wrong place.
func inYAML(err error) error {
	text := err.Error()
	for _, before := range []string{"yaml error: ", "yaml: ", "construct errors: "} {
		if at := strings.LastIndex(text, before); at >= 0 {
			text = text[at+len(before):]
		}
	}
	found := atLine.FindStringSubmatch(strings.TrimSpace(strings.ReplaceAll(text, "\n", "; ")))
	place, what := "", found[2]
	if found[1] != "" {
		place = "line " + found[1] + ": "
	}
	wrong := misplaced.FindStringSubmatch(what)
	if wrong == nil {
		return fmt.Errorf("%sthe YAML is broken: %s", place, what)
	}
	value, where := kinds[wrong[1]], "here"
	if wrong[2] != "" {
		value += ", " + wrong[2] + ","
	}
	if wrong[3] != "" {
		where = "at " + strings.NewReplacer("~1", "/", "~0", "~").Replace(wrong[3])
	}
	return fmt.Errorf("%s%s is not what belongs %s (accepted: what OpenAPI 3.0 and 3.1 say of it)", place, value, where)
}

// accepts adds to what a description's reader refuses what it would accept.
func accepts(err error) error {
	for _, said := range [][2]string{
		{"unsupported 'type' value", "accepted: array, boolean, integer, number, object, string, and null in 3.1"},
		{"invalid paths: must be an object", "accepted: an object of paths, which may be empty"},
	} {
		if strings.Contains(err.Error(), said[0]) {
			return fmt.Errorf("%w (%s)", err, said[1])
		}
	}
	return err
}
