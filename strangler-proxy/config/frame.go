package config

import (
	"os"

	"go.yaml.in/yaml/v3"
)

// Frame reads from a file only what a client needs to find the server that
// runs by an earlier version of it: the admin address, the token and the
// state. It does not mind problems elsewhere in the file.
func Frame(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil || len(doc.Content) == 0 {
		return nil, &Error{Path: path, Problems: []Problem{{Line: 1, Text: "not valid YAML"}}}
	}
	root := doc.Content[0]
	kept := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, name := range []string{"admin", "state", "monolith"} {
		if v := child(root, name); v != nil {
			kept.Content = append(kept.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, v)
		}
	}
	text, err := yaml.Marshal(kept)
	if err != nil {
		return nil, err
	}
	return Parse(path, text, os.LookupEnv)
}
