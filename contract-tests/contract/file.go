package contract

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"

	"stranglerfig/contract-tests/generator"
	"stranglerfig/contract-tests/match"
)

// The types of this file are the JSON, all versions in one: what a version
// lacks stays empty.

const synchronousHTTP = "Synchronous/HTTP"

type file struct {
	Consumer     named             `json:"consumer"`
	Provider     named             `json:"provider"`
	Interactions []json.RawMessage `json:"interactions"`
	Messages     []json.RawMessage `json:"messages,omitempty"` // version 3
	Metadata     metadata          `json:"metadata"`
}

type named struct {
	Name string `json:"name"`
}

type metadata struct {
	PactSpecification specification `json:"pactSpecification"`
	Older             string        `json:"pactSpecificationVersion,omitempty"` // of early writers
	Oldest            specification `json:"pact-specification,omitzero"`
}

type specification struct {
	Version string `json:"version"`
}

func (m metadata) version() string {
	return cmp.Or(m.PactSpecification.Version, m.Older, m.Oldest.Version)
}

type fileInteraction struct {
	Type           string                     `json:"type,omitempty"`
	Key            string                     `json:"key,omitempty"`
	Description    string                     `json:"description"`
	Pending        bool                       `json:"pending,omitempty"`
	ProviderState  string                     `json:"providerState,omitempty"`  // version 2
	OldestState    string                     `json:"provider_state,omitempty"` // version 1
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
	RequestRules  json.RawMessage `json:"requestRules,omitempty"`
	Chain         *Chain          `json:"chain,omitempty"`
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
			return file{}, fmt.Errorf("interaction %s: %w", i.Name(n), err)
		}
		f.Interactions = append(f.Interactions, raw)
	}
	return f, nil
}

func (i Interaction) marshal() (json.RawMessage, error) {
	f := fileInteraction{Type: synchronousHTTP, Key: i.Key, Description: i.Description, Pending: i.Pending, ProviderStates: i.States}
	f.Request = fileRequest{Method: i.Request.Method, Path: i.Request.Path, Query: i.Request.Query, Headers: i.Request.Header}
	f.Response = fileResponse{Status: &i.Response.Status, Headers: i.Response.Header}
	f.Request.Body = writeBody(i.Request.Body, i.Request.Header)
	f.Response.Body = writeBody(i.Response.Body, i.Response.Header)
	var err error
	if f.Request.Generators, err = marshalGenerators(i.Request.Generators); err != nil {
		return nil, err
	}
	if f.Response.Generators, err = marshalGenerators(i.Response.Generators); err != nil {
		return nil, err
	}
	answer, extra := i.Response.Rules.Split()
	if f.Response.MatchingRules, err = marshalRules(answer); err != nil {
		return nil, err
	}
	request, extraOfRequest := i.Request.Rules.Split()
	if f.Request.MatchingRules, err = marshalRules(request); err != nil {
		return nil, err
	}
	if f.Comments, err = i.marshalComments(extra, extraOfRequest); err != nil {
		return nil, err
	}
	return marshal(f)
}

func (i Interaction) marshalComments(answer, request match.Rules) (map[string]json.RawMessage, error) {
	o := ours{Route: i.Route, Source: i.Source, Weight: i.Weight, Redacted: i.Redacted}
	var err error
	if o.MatchingRules, err = marshalRules(answer); err != nil {
		return nil, err
	}
	if o.RequestRules, err = marshalRules(request); err != nil {
		return nil, err
	}
	if !i.Chain.Empty() {
		o.Chain = &i.Chain
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

func marshalGenerators(generators generator.Set) (json.RawMessage, error) {
	if generators.Empty() {
		return nil, nil
	}
	return marshal(generators)
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
