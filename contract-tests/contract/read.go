package contract

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"stranglerfig/contract-tests/match"
)

// The bounds of what is read. A larger file or body is refused.
const (
	MaxFile = 64 << 20 // bytes of a contract file
	MaxBody = 16 << 20 // bytes of one body
)

// Read reads a contract of any version of Pact. If the text is JSON but not a
// valid contract, the error is a [Problems]. Messages are refused by name.
func Read(r io.Reader) (Contract, error) {
	c, _, err := read(r, false)
	return c, err
}

// ReadHTTP reads a contract like [Read], but leaves out what is not about HTTP,
// and tells how many interactions that were.
func ReadHTTP(r io.Reader) (c Contract, left int, err error) { return read(r, true) }

func read(r io.Reader, skip bool) (Contract, int, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return Contract{}, 0, fmt.Errorf("read contract: %w", err)
	}
	if len(data) > MaxFile {
		return Contract{}, 0, fmt.Errorf("read contract: the file is larger than %d MiB", MaxFile>>20)
	}
	data, err = Text(data)
	if err != nil {
		return Contract{}, 0, fmt.Errorf("read contract: %w", err)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return Contract{}, 0, fmt.Errorf("read contract: %s%w", Position(data, err), Misread(err))
	}
	c, left, problems := f.contract(skip)
	problems = append(problems, c.problems()...)
	if len(problems) > 0 {
		return Contract{}, left, problems
	}
	return c, left, nil
}

// Text takes the byte order mark off a text and refuses what is not UTF-8,
// which would be read with other characters in the place of some.
func Text(data []byte) ([]byte, error) {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(string(data[:min(len(data), 2)]), mark) {
			return nil, errors.New("the file is UTF-16 (accepted: UTF-8)")
		}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for at := 0; at < len(data); {
		c, n := utf8.DecodeRune(data[at:])
		if c == utf8.RuneError && n == 1 {
			return nil, fmt.Errorf("%sthe byte %#x is not UTF-8 (accepted: UTF-8)", place(data, at+1), data[at])
		}
		at += n
	}
	return data, nil
}

// Position gives the line and column of a decoding error, if it has one.
func Position(data []byte, err error) string {
	var offset int64
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	default:
		return ""
	}
	return place(data, int(offset))
}

// Misread says what stands where something else belongs in words of JSON.
func Misread(err error) error {
	var kind *json.UnmarshalTypeError
	if !errors.As(err, &kind) {
		return err
	}
	wanted := kind.Type.String()
	switch kind.Type.Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64:
		wanted = "a whole number"
	case reflect.String:
		wanted = "a text"
	case reflect.Bool:
		wanted = "true or false"
	case reflect.Struct, reflect.Map:
		wanted = "an object"
	case reflect.Slice:
		wanted = "a list"
	}
	return fmt.Errorf("%s is of type %s (accepted: %s)", cmp.Or(kind.Field, "it"), kind.Value, wanted)
}

// place gives the line and column of the byte before an offset.
func place(data []byte, offset int) string {
	before := data[:min(offset, len(data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n') - 1
	return fmt.Sprintf("line %d, column %d: ", line, max(column, 1))
}

// contract builds the contract and lists what could not be read.
// What is not about HTTP is a problem, or is skipped and counted.
func (f file) contract(skip bool) (c Contract, left int, problems Problems) {
	c = Contract{Consumer: f.Consumer.Name, Provider: f.Provider.Name}
	version := f.Metadata.version()
	if version != "" && !strings.ContainsAny(version[:1], "1234") {
		problems = append(problems, Problem{Text: fmt.Sprintf("metadata.pactSpecification.version is %q (accepted: 1 to 4)", version)})
	}
	if f.Interactions == nil && f.Messages == nil {
		problems = append(problems, Problem{Text: "interactions is missing (accepted: a list, which may be empty)"})
	}
	for n, raw := range slices.Concat(f.Interactions, f.Messages) {
		kind, name := kindOf(raw, n >= len(f.Interactions))
		if kind != synchronousHTTP {
			if left++; !skip {
				problems = append(problems, Problem{name.Name(n), fmt.Sprintf("type is %q (accepted: %s)", kind, synchronousHTTP)})
			}
			continue
		}
		i, texts := readInteraction(raw, strings.HasPrefix(version, "4"))
		for _, text := range texts {
			problems = append(problems, Problem{i.Name(n), text})
		}
		c.Interactions = append(c.Interactions, i)
	}
	return c, left, problems
}

// kindOf tells what an interaction is about, and as much of it as names it.
// What stands under messages is one, whatever it says.
func kindOf(raw json.RawMessage, message bool) (string, Interaction) {
	var f struct {
		Type             string `json:"type"`
		Key, Description string
		Transport        string
		Plugins          map[string]json.RawMessage `json:"pluginConfiguration"`
	}
	// What cannot be decoded is told by whoever decodes the whole.
	_ = json.Unmarshal(raw, &f)
	name := Interaction{Key: f.Key, Description: f.Description}
	switch {
	case message:
		return "message", name
	case f.Type != "" && f.Type != synchronousHTTP:
		return f.Type, name
	case f.Transport != "" && f.Transport != "http" && f.Transport != "https":
		return synchronousHTTP + " over " + f.Transport, name
	case len(f.Plugins) > 0:
		return synchronousHTTP + " of the plugin " + strings.Join(slices.Sorted(maps.Keys(f.Plugins)), ", "), name
	}
	return synchronousHTTP, name
}

// reading is an interaction being read.
type reading struct {
	Interaction
	problems []string
}

// note lists an error, whose lines are problems of their own.
func (r *reading) note(where string, err error) {
	if err == nil {
		return
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		r.problems = append(r.problems, where+line)
	}
}

func readInteraction(raw json.RawMessage, version4 bool) (Interaction, []string) {
	var f fileInteraction
	if err := json.Unmarshal(raw, &f); err != nil {
		// What was read so far names the interaction and passes validation, so
		// that the report holds this problem and not its consequences.
		return Interaction{Key: f.Key, Description: f.Description, Request: Request{Method: "GET", Path: "/"}, Response: Response{Status: 200}},
			[]string{Misread(err).Error()}
	}
	r := &reading{Interaction: Interaction{Key: f.Key, Description: f.Description, Pending: f.Pending, States: f.states()}}
	r.request(f.Request, version4)
	r.response(f.Response, version4)
	r.note("comments.strangler: ", r.readComments(f.Comments))
	if r.Key == "" {
		r.Key = r.deriveKey()
	}
	return r.Interaction, r.problems
}

// states are the provider states, as whichever version has them.
func (f fileInteraction) states() []State {
	for _, name := range []string{f.ProviderState, f.OldestState} {
		if name != "" && len(f.ProviderStates) == 0 {
			return []State{{Name: name}}
		}
	}
	return f.ProviderStates
}

func (r *reading) request(f fileRequest, version4 bool) {
	r.Request = Request{Method: strings.ToUpper(f.Method), Path: f.Path, Query: f.Query, Header: f.Headers}
	body, media, err := readBody(f.Body, f.Headers, version4)
	r.note("request.body: ", err)
	r.Request.Body = body
	// A body that says what it is has to say so when it is sent.
	if media != "" && len(body) > 0 && contentType(f.Headers) == "" {
		r.Request.Header = maps.Clone(r.Request.Header)
		if r.Request.Header == nil {
			r.Request.Header = map[string][]string{}
		}
		r.Request.Header["Content-Type"] = []string{media}
	}
	if len(f.MatchingRules) > 0 {
		r.note("request.", json.Unmarshal(f.MatchingRules, &r.Request.Rules))
	}
	if len(f.Generators) > 0 {
		r.note("request.", json.Unmarshal(f.Generators, &r.Request.Generators))
	}
}

func (r *reading) response(f fileResponse, version4 bool) {
	r.Response = Response{Status: 200, Header: f.Headers}
	if f.Status != nil {
		r.Response.Status = *f.Status
	}
	var err error
	r.Response.Body, _, err = readBody(f.Body, f.Headers, version4)
	r.note("response.body: ", err)
	if len(f.MatchingRules) > 0 {
		r.note("response.", json.Unmarshal(f.MatchingRules, &r.Response.Rules))
	}
	if len(f.Generators) > 0 {
		r.note("response.", json.Unmarshal(f.Generators, &r.Response.Generators))
	}
}

// deriveKey names an interaction after its content, so that reports of an
// unchanged interaction agree from run to run.
func (i Interaction) deriveKey() string {
	// The marshalled parts are strings, lists and maps; that cannot fail.
	data, _ := json.Marshal([]any{i.Description, i.States, i.Request.Method, i.Request.Path, i.Request.Query, i.Request.Body})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

func (i *Interaction) readComments(comments map[string]json.RawMessage) error {
	for name, value := range comments {
		if name == "strangler" {
			continue
		}
		if i.comments == nil {
			i.comments = map[string]json.RawMessage{}
		}
		i.comments[name] = compact(value)
	}
	raw, ok := comments["strangler"]
	if !ok {
		return nil
	}
	var o ours
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	i.Route, i.Source, i.Weight, i.Redacted = o.Route, o.Source, o.Weight, o.Redacted
	if o.Chain != nil {
		i.Chain = *o.Chain
	}
	var answer, request match.Rules
	for _, extra := range []struct {
		raw  json.RawMessage
		into *match.Rules
	}{{o.MatchingRules, &answer}, {o.RequestRules, &request}} {
		if len(extra.raw) > 0 {
			if err := json.Unmarshal(extra.raw, extra.into); err != nil {
				return err
			}
		}
	}
	i.Response.Rules, i.Request.Rules = i.Response.Rules.Join(answer), i.Request.Rules.Join(request)
	return nil
}
