package contract

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"stranglerfig/contract-tests/match"
)

// The types of this file are the JSON, all versions in one: what a version
// lacks stays empty.

const synchronousHTTP = "Synchronous/HTTP"

type file struct {
	Consumer     named             `json:"consumer"`
	Provider     named             `json:"provider"`
	Interactions []json.RawMessage `json:"interactions"`
	Metadata     metadata          `json:"metadata"`
}

type named struct {
	Name string `json:"name"`
}

type metadata struct {
	PactSpecification struct {
		Version string `json:"version"`
	} `json:"pactSpecification"`
}

type fileInteraction struct {
	Type           string                     `json:"type,omitempty"`
	Key            string                     `json:"key,omitempty"`
	Description    string                     `json:"description"`
	Pending        bool                       `json:"pending,omitempty"`
	ProviderState  string                     `json:"providerState,omitempty"` // version 2
	ProviderStates []State                    `json:"providerStates,omitempty"`
	Request        fileRequest                `json:"request"`
	Response       fileResponse               `json:"response"`
	Comments       map[string]json.RawMessage `json:"comments,omitempty"`
}

type fileRequest struct {
	Method        string          `json:"method"`
	Path          string          `json:"path"`
	Query         query           `json:"query,omitempty"`
	Headers       headers         `json:"headers,omitempty"`
	Body          json.RawMessage `json:"body,omitempty"`
	MatchingRules json.RawMessage `json:"matchingRules,omitempty"`
	Generators    json.RawMessage `json:"generators,omitempty"`
}

type fileResponse struct {
	Status        *int            `json:"status,omitempty"`
	Headers       headers         `json:"headers,omitempty"`
	Body          json.RawMessage `json:"body,omitempty"`
	MatchingRules json.RawMessage `json:"matchingRules,omitempty"`
	Generators    json.RawMessage `json:"generators,omitempty"`
}

// ours is what lives under comments.strangler.
type ours struct {
	Route         string          `json:"route,omitempty"`
	Source        string          `json:"source,omitempty"`
	Weight        int             `json:"weight,omitempty"`
	Redacted      []string        `json:"redacted,omitempty"`
	MatchingRules json.RawMessage `json:"matchingRules,omitempty"`
}

// query is a map of lists, or the text that version 2 has.
type query map[string][]string

// UnmarshalJSON reads either form.
func (q *query) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		values, err := url.ParseQuery(text)
		if err != nil {
			return fmt.Errorf("query %q: %w", text, err)
		}
		*q = query(values)
		return nil
	}
	return (*headers)(q).UnmarshalJSON(data)
}

// headers is a map of lists, or of single values, which older versions have.
type headers map[string][]string

// UnmarshalJSON reads either form.
func (h *headers) UnmarshalJSON(data []byte) error {
	var loose map[string]json.RawMessage
	if err := json.Unmarshal(data, &loose); err != nil {
		return err
	}
	*h = nil
	for name, value := range loose {
		var one string
		many := []string{}
		if json.Unmarshal(value, &one) == nil {
			many = append(many, one)
		} else if err := json.Unmarshal(value, &many); err != nil {
			return fmt.Errorf("%s must be a text or a list of texts: %w", name, err)
		}
		if *h == nil {
			*h = headers{}
		}
		(*h)[name] = many
	}
	return nil
}

// contract builds the contract and lists what could not be read.
func (f file) contract() (Contract, Problems) {
	c := Contract{Consumer: f.Consumer.Name, Provider: f.Provider.Name}
	var problems Problems
	version := f.Metadata.PactSpecification.Version
	if version != "" && !strings.ContainsAny(version[:1], "1234") {
		problems = append(problems, Problem{Text: fmt.Sprintf("metadata.pactSpecification.version is %q (accepted: 1 to 4)", version)})
	}
	for n, raw := range f.Interactions {
		i, texts := readInteraction(raw, strings.HasPrefix(version, "4"))
		for _, text := range texts {
			problems = append(problems, Problem{i.name(n), text})
		}
		c.Interactions = append(c.Interactions, i)
	}
	return c, problems
}

func readInteraction(raw json.RawMessage, version4 bool) (Interaction, []string) {
	var f fileInteraction
	if err := json.Unmarshal(raw, &f); err != nil {
		// What was read so far names the interaction and passes validation, so
		// that the report holds this problem and not its consequences.
		return Interaction{Key: f.Key, Description: f.Description, Request: Request{Method: "GET", Path: "/"}, Response: Response{Status: 200}},
			[]string{err.Error()}
	}
	if f.Type != "" && f.Type != synchronousHTTP {
		return Interaction{Key: f.Key, Description: f.Description, Request: Request{Method: "GET", Path: "/"}, Response: Response{Status: 200}},
			[]string{fmt.Sprintf("type is %q (accepted: %s)", f.Type, synchronousHTTP)}
	}
	i := Interaction{Key: f.Key, Description: f.Description, Pending: f.Pending, States: f.ProviderStates}
	if f.ProviderState != "" {
		i.States = []State{{Name: f.ProviderState}}
	}
	var problems []string
	note := func(where string, err error) {
		if err == nil {
			return
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			problems = append(problems, where+line)
		}
	}
	i.Request = Request{Method: strings.ToUpper(f.Request.Method), Path: f.Request.Path, Query: f.Request.Query,
		Header: f.Request.Headers, rules: f.Request.MatchingRules, generators: f.Request.Generators}
	i.Response = Response{Status: 200, Header: f.Response.Headers, generators: f.Response.Generators}
	if f.Response.Status != nil {
		i.Response.Status = *f.Response.Status
	}
	var err error
	i.Request.Body, err = readBody(f.Request.Body, f.Request.Headers, version4)
	note("request.body: ", err)
	i.Response.Body, err = readBody(f.Response.Body, f.Response.Headers, version4)
	note("response.body: ", err)
	if len(f.Response.MatchingRules) > 0 {
		note("response.", json.Unmarshal(f.Response.MatchingRules, &i.Response.Rules))
	}
	note("comments.strangler: ", i.readComments(f.Comments))
	if i.Key == "" {
		i.Key = i.deriveKey()
	}
	return i, problems
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
	if len(o.MatchingRules) == 0 {
		return nil
	}
	var extra match.Rules
	if err := json.Unmarshal(o.MatchingRules, &extra); err != nil {
		return err
	}
	i.Response.Rules = i.Response.Rules.Join(extra)
	return nil
}

// file builds the JSON of version 4.
func (c Contract) file() (file, error) {
	f := file{Consumer: named{c.Consumer}, Provider: named{c.Provider}, Interactions: []json.RawMessage{}}
	f.Metadata.PactSpecification.Version = "4.0"
	for n, i := range c.Interactions {
		if i.Key == "" {
			i.Key = i.deriveKey()
		}
		raw, err := i.marshal()
		if err != nil {
			return file{}, fmt.Errorf("interaction %s: %w", i.name(n), err)
		}
		f.Interactions = append(f.Interactions, raw)
	}
	return f, nil
}

func (i Interaction) marshal() (json.RawMessage, error) {
	f := fileInteraction{Type: synchronousHTTP, Key: i.Key, Description: i.Description, Pending: i.Pending, ProviderStates: i.States}
	f.Request = fileRequest{Method: i.Request.Method, Path: i.Request.Path, Query: i.Request.Query, Headers: i.Request.Header,
		MatchingRules: compact(i.Request.rules), Generators: compact(i.Request.generators)}
	f.Response = fileResponse{Status: &i.Response.Status, Headers: i.Response.Header, Generators: compact(i.Response.generators)}
	f.Request.Body = writeBody(i.Request.Body, i.Request.Header)
	f.Response.Body = writeBody(i.Response.Body, i.Response.Header)
	pact, extra := i.Response.Rules.Split()
	var err error
	if f.Response.MatchingRules, err = marshalRules(pact); err != nil {
		return nil, err
	}
	if f.Comments, err = i.marshalComments(extra); err != nil {
		return nil, err
	}
	return marshal(f)
}

func (i Interaction) marshalComments(extra match.Rules) (map[string]json.RawMessage, error) {
	o := ours{Route: i.Route, Source: i.Source, Weight: i.Weight, Redacted: i.Redacted}
	var err error
	if o.MatchingRules, err = marshalRules(extra); err != nil {
		return nil, err
	}
	raw, err := marshal(o)
	if err != nil {
		return nil, err
	}
	comments := map[string]json.RawMessage{}
	for name, value := range i.comments {
		comments[name] = value
	}
	if string(raw) != "{}" {
		comments["strangler"] = raw
	}
	return comments, nil
}

func marshalRules(rules match.Rules) (json.RawMessage, error) {
	if rules.Empty() {
		return nil, nil
	}
	return marshal(rules)
}

// marshal is json.Marshal without the escaping that is meant for HTML.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// compact removes the layout of JSON that was read, so that digests do not
// depend on it.
func compact(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// fileBody is a body of version 4. Encoded is false, or names how Content
// encodes the bytes.
type fileBody struct {
	ContentType string          `json:"contentType,omitempty"`
	Encoded     any             `json:"encoded"`
	Content     json.RawMessage `json:"content"`
}

// readBody returns nil if the file has no body, and an empty slice if it has
// an empty one or null.
func readBody(raw json.RawMessage, h headers, version4 bool) ([]byte, error) {
	if raw == nil {
		return nil, nil
	}
	if string(bytes.TrimSpace(raw)) == "null" {
		return []byte{}, nil
	}
	if !version4 {
		return older(raw, h)
	}
	var body fileBody
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, fmt.Errorf("want an object with content, contentType and encoded: %w", err)
	}
	if len(body.Content) == 0 || string(body.Content) == "null" {
		return []byte{}, nil
	}
	return body.bytes(h)
}

// older reads a body of versions up to 3: JSON, unless it is text under a
// content type that is not JSON, or under none.
func older(raw json.RawMessage, h headers) ([]byte, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil && (text == "" || !isJSON(contentType(h))) {
		return []byte(text), nil
	}
	return compact(raw), nil
}

func (b fileBody) bytes(h headers) ([]byte, error) {
	var text string
	isText := json.Unmarshal(b.Content, &text) == nil
	media := b.ContentType
	if media == "" {
		media = contentType(h)
	}
	switch encoding := b.Encoded; {
	case encoding == nil || encoding == false || encoding == "":
		if isText && !isJSON(media) {
			return []byte(text), nil
		}
		return compact(b.Content), nil
	case !isText:
		return nil, fmt.Errorf("content must be a text if encoded is %v", encoding)
	case encoding == true || encoding == "base64":
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("content is not base64 as encoded says: %w", err)
		}
		return decoded, nil
	case encoding == "JSON" || encoding == "json":
		return []byte(text), nil
	}
	return nil, fmt.Errorf("encoded is %v (accepted: false, base64, JSON)", b.Encoded)
}

// writeBody picks the most readable form that gives the same bytes, or for
// JSON the same document, when read.
func writeBody(body []byte, h headers) json.RawMessage {
	if body == nil {
		return nil
	}
	f := fileBody{ContentType: contentType(h), Encoded: false}
	trimmed := string(bytes.TrimSpace(body))
	switch {
	case len(body) == 0:
		f.Content = json.RawMessage("null")
	case isJSON(f.ContentType) && trimmed != "null" && json.Valid(body):
		f.Content = compact(body)
	case !utf8.Valid(body):
		f.Encoded = "base64"
		f.Content = quote(base64.StdEncoding.EncodeToString(body))
	case isJSON(f.ContentType):
		// Not JSON after all, or the word null, which would read as empty.
		f.Encoded = "JSON"
		f.Content = quote(string(body))
	default:
		f.Content = quote(string(body))
	}
	raw, err := marshal(f)
	if err != nil {
		return nil
	}
	return raw
}

func quote(text string) json.RawMessage {
	raw, err := marshal(text)
	if err != nil {
		return nil
	}
	return raw
}

func contentType(h map[string][]string) string {
	for name, values := range h {
		if strings.EqualFold(name, "Content-Type") && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func isJSON(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	media = strings.TrimSpace(media)
	return media == "application/json" || strings.HasSuffix(media, "+json")
}
