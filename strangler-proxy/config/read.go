package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Parse checks the text of a file. env looks up ${NAME}; path is used in
// messages and to resolve relative paths.
func Parse(path string, raw []byte, env func(string) (string, bool)) (*Config, error) {
	return ParseAside(path, raw, env, func() {})
}

// ParseAside does what Parse does beside other work: it calls pause time and
// again, after a millisecond at most, which may take its time.
func ParseAside(path string, raw []byte, env func(string) (string, bool), pause func()) (*Config, error) {
	p := &parser{env: env, pause: pause, moving: map[string]bool{}, tunings: map[string]tuning{}, routeTunings: map[string]tuning{}, cfg: &Config{
		Path: path, Listen: ":8080", Admin: Admin{Listen: "127.0.0.1:8079"}, State: "./strangler-state", AccessLog: "stdout", IOUring: true,
		Forwarded: "x-forwarded", RequestID: "X-Request-Id", Tracing: Tracing{Service: "strangler", Sample: 1}, Limits: defaultLimits(),
		Hold:     Hold{Requests: 1000, Bytes: 64 << 20, Wait: 5 * time.Second},
		Drain:    10 * time.Second,
		Shadow:   defaultShadow(),
		Evidence: Evidence{MaxAge: 24 * time.Hour},
	}}
	var doc, more yaml.Node
	documents := yaml.NewDecoder(&unhurried{bytes.NewReader(raw), pause})
	if err := documents.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, &Error{Path: path, Problems: []Problem{yamlProblem(err, raw)}}
	}
	if err := documents.Decode(&more); err == nil {
		p.problem(more.Line, "a second document begins here, which nothing would read", "put everything into one, without ---")
	} else if !errors.Is(err, io.EOF) {
		return nil, &Error{Path: path, Problems: []Problem{yamlProblem(err, raw)}}
	}
	if len(doc.Content) == 0 {
		p.problem(1, "the file is empty", "strangler init --monolith URL writes a first one")
	} else {
		p.root(doc.Content[0])
	}
	if len(p.problems) > 0 {
		sort.SliceStable(p.problems, func(i, j int) bool { return p.problems[i].Line < p.problems[j].Line })
		return nil, &Error{Path: path, Problems: p.problems}
	}
	return p.cfg, nil
}

// unhurried pauses whenever it is read from.
type unhurried struct {
	io.Reader
	pause func()
}

// Read implements [io.Reader].
func (u *unhurried) Read(b []byte) (int, error) {
	u.pause()
	return u.Reader.Read(b)
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

func yamlProblem(err error, raw []byte) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	hint := ""
	if bytes.Contains(raw, []byte("${")) {
		hint = `between braces a variable is quoted: {token: "${NAME}"}`
	}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return Problem{Line: line, Text: "not valid YAML: " + m[2], Hint: hint}
	}
	return Problem{Line: 1, Text: "not valid YAML: " + text, Hint: hint}
}
