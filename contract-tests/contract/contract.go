// Package contract is the contract file: what a consumer relies on, as
// examples of requests and answers with the rules by which answers may differ
// from their example.
//
// Files are Pact's JSON. Versions 1 to 4 are read, version 4 is written:
// see [Read], [Load] and [Contract.Save]. What Pact has no word for lives under
// comments.strangler, which other tools carry along unread: the route, where
// the example is from, how often it was seen, what was redacted, and matchers
// of ours. Reading reports every problem at once, as [Problems].
package contract

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"stranglerfig/contract-tests/generator"
	"stranglerfig/contract-tests/match"
)

// Contract is what one consumer relies on of one provider.
type Contract struct {
	Consumer     string
	Provider     string
	Interactions []Interaction
}

// The sources of an interaction.
const (
	Recorded = "recorded" // distilled from live traffic
	Written  = "written"  // by hand or by a consumer's test
)

// Interaction is one example: in this state, this request has this answer.
type Interaction struct {
	Key         string // unique in the file; derived from the content if the file has none
	Description string
	Pending     bool // not held against the provider yet
	States      []State
	Request     Request
	Response    Response

	Route    string   // the route's pattern, if known
	Source   string   // Recorded or Written
	Weight   int      // requests seen of this sort, 0 if unknown
	Redacted []string // what was replaced before the example was kept
	Chain    Chain    // what ties it to other interactions

	comments map[string]json.RawMessage // others' comments, carried along
}

// State is a condition of the provider's data, set up before the request.
// Numbers among its parameters are json.Number.
type State struct {
	Name   string         `json:"name"`
	Params map[string]any `json:"params,omitempty"`
}

// UnmarshalJSON reads a state; large numbers stay exact.
func (s *State) UnmarshalJSON(data []byte) error {
	type plain State
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode((*plain)(s))
}

// Request is what the consumer sends.
type Request struct {
	Method string
	Path   string // starts with /, escaped as it is sent
	Query  map[string][]string
	Header map[string][]string
	Body   []byte // nil if there is none
	// Generators make what the example cannot know, when the request is sent.
	Generators generator.Set
	// Rules say which other requests are answered like this one. Verification
	// sends the example; who merges or describes contracts goes by them.
	Rules match.Rules
}

// Response is what the consumer relies on.
type Response struct {
	Status int
	Header map[string][]string
	Body   []byte // nil leaves the body unchecked, empty demands an empty one
	Rules  match.Rules
	// Generators are of use to consumers' tests only, and carried along.
	Generators generator.Set
}

// Problem is one thing wrong with a contract file.
type Problem struct {
	Interaction string // its key, else its number; empty if it concerns the file
	Text        string
}

// String is the problem on one line.
func (p Problem) String() string {
	if p.Interaction == "" {
		return p.Text
	}
	return "interaction " + p.Interaction + ": " + p.Text
}

// Problems is the error of a file that is not a valid contract: everything
// that is wrong with it.
type Problems []Problem

// Error lists the problems, one per line.
func (p Problems) Error() string {
	lines := []string{fmt.Sprintf("the contract has %d problems:", len(p))}
	if len(p) == 1 {
		lines[0] = "the contract has a problem:"
	}
	for _, problem := range p {
		lines = append(lines, "  "+problem.String())
	}
	return strings.Join(lines, "\n")
}

// Load reads the contract in a file.
func Load(path string) (Contract, error) {
	f, err := os.Open(path)
	if err != nil {
		return Contract{}, fmt.Errorf("load contract: %w", err)
	}
	defer f.Close()
	c, err := Read(f)
	if err != nil {
		return Contract{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Write writes the contract as Pact version 4, indented.
func (c Contract) Write(w io.Writer) error {
	f, err := c.file()
	if err != nil {
		return fmt.Errorf("write contract: %w", err)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return fmt.Errorf("write contract: %w", err)
	}
	return nil
}

// Save writes the contract to a file, all or nothing: a crash leaves the old
// file. It refuses a contract that [Read] would refuse.
func (c Contract) Save(path string) error {
	if problems := c.problems(); len(problems) > 0 {
		return fmt.Errorf("save %s: %w", path, problems)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("save contract: %w", err)
	}
	defer os.Remove(temp.Name()) // after the rename there is nothing to remove
	err = c.Write(temp)
	err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	return nil
}

// Digest is the SHA-256 of the contract's content in hexadecimal. It does not
// depend on the layout of the file it was read from.
func (c Contract) Digest() string {
	f, err := c.file()
	if err != nil {
		return ""
	}
	data, err := json.Marshal(f)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Validate reports what [Read] would refuse, as a [Problems], or nil.
func (c Contract) Validate() error {
	if problems := c.problems(); len(problems) > 0 {
		return problems
	}
	return nil
}

func (c Contract) problems() Problems {
	var problems Problems
	if c.Consumer == "" {
		problems = append(problems, Problem{Text: "consumer.name is missing: name who relies on this contract"})
	}
	if c.Provider == "" {
		problems = append(problems, Problem{Text: "provider.name is missing: name who must honour this contract"})
	}
	seen := map[string]bool{}
	for n, i := range c.Interactions {
		name := i.Name(n)
		if i.Key != "" && seen[i.Key] {
			problems = append(problems, Problem{name, "the key is used twice: give each interaction a key of its own"})
		}
		seen[i.Key] = true
		for _, text := range i.problems() {
			problems = append(problems, Problem{name, text})
		}
	}
	return append(problems, c.chainProblems()...)
}

// Name is how reports call the interaction that is the nth of its contract, from
// 0: by its key, or, where that was only derived, by its place and description.
func (i Interaction) Name(n int) string {
	if i.Key != "" && i.Key != i.deriveKey() {
		return i.Key
	}
	return fmt.Sprintf("#%d (%s)", n+1, i.Description)
}

func (i Interaction) problems() []string {
	var problems []string
	if !isMethod(i.Request.Method) {
		problems = append(problems, fmt.Sprintf("request.method is %q (accepted: a method such as GET or POST)", i.Request.Method))
	}
	if !strings.HasPrefix(i.Request.Path, "/") || strings.ContainsFunc(i.Request.Path, unicode.IsControl) {
		problems = append(problems, fmt.Sprintf("request.path is %q (accepted: a path that starts with /, without control characters)", i.Request.Path))
	}
	problems = append(problems, headerProblems("request", i.Request.Header)...)
	problems = append(problems, headerProblems("response", i.Response.Header)...)
	if i.Response.Status < 100 || i.Response.Status > 599 {
		problems = append(problems, fmt.Sprintf("response.status is %d (accepted: 100 to 599)", i.Response.Status))
	}
	if i.Source != "" && i.Source != Recorded && i.Source != Written {
		problems = append(problems, fmt.Sprintf("comments.strangler.source is %q (accepted: %s, %s)", i.Source, Recorded, Written))
	}
	if i.Weight < 0 {
		problems = append(problems, fmt.Sprintf("comments.strangler.weight is %d (accepted: 0 or more)", i.Weight))
	}
	for _, s := range i.States {
		if s.Name == "" {
			problems = append(problems, "a provider state has no name")
		}
	}
	return problems
}

// headerProblems lists what cannot stand in a message's head, and would end it
// or begin another field.
func headerProblems(of string, header map[string][]string) []string {
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == ':' || c > '~' }) {
			problems = append(problems, fmt.Sprintf("%s.headers: the name %q (accepted: one without blanks, colons and control characters)", of, name))
		}
		for _, value := range header[name] {
			if strings.ContainsFunc(value, func(c rune) bool { return unicode.IsControl(c) && c != '\t' }) {
				problems = append(problems, fmt.Sprintf("%s.headers.%s is %q (accepted: a text without control characters)", of, name, value))
			}
		}
	}
	return problems
}

func isMethod(method string) bool {
	if method == "" {
		return false
	}
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}
