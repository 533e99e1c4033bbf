package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"stranglerfig/strangler-proxy/route"
)

// Change is one owner word that was edited.
type Change struct {
	Route string `json:"route"`
	From  string `json:"from"`
	To    string `json:"to"`
	Line  int    `json:"line"`
}

// SetOwners edits the owner words of routes, by their IDs, in the text of a
// file; every other byte stays. Words that are right already are not changes.
func SetOwners(raw []byte, owners map[string]route.Owner) ([]byte, []Change, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, nil, fmt.Errorf("edit the config: %w", err)
	}
	words := ownerNodes(&doc)
	var changes []edit
	for id, owner := range owners {
		node, ok := words[id]
		if !ok {
			return nil, nil, fmt.Errorf("%w: %q", ErrNoRoute, id)
		}
		if have, err := route.ParseOwner(node.Value); err == nil && have == owner {
			continue
		}
		changes = append(changes, edit{Change{Route: id, From: node.Value, To: owner.String(), Line: node.Line}, node})
	}
	slices.SortFunc(changes, func(a, b edit) int {
		return cmp.Or(cmp.Compare(a.word.Line, b.word.Line), cmp.Compare(a.word.Column, b.word.Column))
	})
	lines := splitLines(string(raw))
	// From the end, so that an edit moves no word that is still to be edited.
	for _, e := range slices.Backward(changes) {
		at := e.word.Line - 1
		edited, err := replaceScalar(lines[at], e.word, e.To)
		if err != nil {
			return nil, nil, fmt.Errorf("edit line %d: %w", e.Line, err)
		}
		lines[at] = edited
	}
	return []byte(strings.Join(lines, "")), described(changes), nil
}

// edit is a change with the word that it is made to.
type edit struct {
	Change
	word *yaml.Node
}

func described(edits []edit) []Change {
	var all []Change
	for _, e := range edits {
		all = append(all, e.Change)
	}
	return all
}

// lineBreak matches what YAML takes for the end of a line.
var lineBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// splitLines splits a text after each line break, so that its lines are those
// that YAML counts.
func splitLines(text string) []string {
	var lines []string
	begin := 0
	for _, at := range lineBreak.FindAllStringIndex(text, -1) {
		lines = append(lines, text[begin:at[1]])
		begin = at[1]
	}
	return append(lines, text[begin:])
}

// SaveOwners edits a file in place, atomically. The result is checked before
// it is written, so that a good file never becomes a bad one.
func SaveOwners(path string, owners map[string]route.Owner) ([]Change, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("edit the config: %w", err)
	}
	edited, changes, err := SetOwners(raw, owners)
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	if _, err := Parse(path, edited, os.LookupEnv); err != nil {
		return nil, err
	}
	return changes, replaceFile(path, edited)
}

// replaceFile writes beside the file and renames, so that a reader sees the
// old text or the new one and a crash leaves one of them.
func replaceFile(path string, text []byte) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the config: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the config: %w", err)
	}
	return nil
}

// ownerNodes finds the scalar that holds each route's owner word.
func ownerNodes(doc *yaml.Node) map[string]*yaml.Node {
	found := map[string]*yaml.Node{}
	if len(doc.Content) == 0 {
		return found
	}
	capabilities := child(doc.Content[0], "capabilities")
	if capabilities == nil {
		return found
	}
	for i := 1; i < len(capabilities.Content); i += 2 {
		routes := child(capabilities.Content[i], "routes")
		if routes == nil {
			continue
		}
		for j := 0; j+1 < len(routes.Content); j += 2 {
			word := routes.Content[j+1]
			if word.Kind == yaml.MappingNode {
				word = child(word, "owner")
			}
			if word != nil {
				found[strings.Join(strings.Fields(routes.Content[j].Value), " ")] = word
			}
		}
	}
	return found
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// replaceScalar replaces the scalar of a node in its line.
func replaceScalar(line string, n *yaml.Node, with string) (string, error) {
	start := byteColumn(line, n.Column)
	if start > len(line) {
		return "", fmt.Errorf("column %d is beyond the line", n.Column)
	}
	old := n.Value
	switch n.Style {
	case yaml.DoubleQuotedStyle:
		old, with = `"`+n.Value+`"`, `"`+with+`"`
	case yaml.SingleQuotedStyle:
		old, with = "'"+n.Value+"'", "'"+with+"'"
	case yaml.LiteralStyle, yaml.FoldedStyle:
		return "", fmt.Errorf("owner words are written on one line")
	}
	if !strings.HasPrefix(line[start:], old) {
		return "", fmt.Errorf("%q is written in a way that cannot be edited; write it plainly", n.Value)
	}
	rest := line[start+len(old):]
	// A comment keeps its column where there is room.
	if trimmed := strings.TrimLeft(rest, " "); strings.HasPrefix(trimmed, "#") {
		room := len(rest) - len(trimmed) + len(old) - len(with)
		rest = strings.Repeat(" ", max(room, 1)) + trimmed
	}
	return line[:start] + with + rest, nil
}

// byteColumn turns a 1-based column in characters into an offset in bytes.
func byteColumn(line string, column int) int {
	n := 1
	for i := range line {
		if n == column {
			return i
		}
		n++
	}
	return len(line)
}
