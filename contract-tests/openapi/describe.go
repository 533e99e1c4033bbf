package openapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// enough is how many requests must have a parameter, and none lack it, before
// it is described as required. Fewer may have it by chance.
const enough = 5

// describe writes down what was seen of an operation.
func (o *operation) describe() *openapi3.Operation {
	out := openapi3.NewOperation()
	out.Summary = o.route
	keys := slices.SortedFunc(maps.Keys(o.parameters), func(a, b [2]string) int {
		return strings.Compare(a[0]+" "+a[1], b[0]+" "+b[1])
	})
	for _, key := range keys {
		s := o.parameters[key]
		required := key[0] == "path" || s.seen == o.seen && o.seen >= enough
		p := &openapi3.Parameter{In: key[0], Name: key[1], Required: required, Schema: s.parameter().NewRef()}
		if key[0] == "query" && o.repeated[key[1]] {
			p.Schema = (&openapi3.Schema{Type: &openapi3.Types{"array"}, Items: s.parameter().NewRef()}).NewRef()
		}
		out.Parameters = append(out.Parameters, &openapi3.ParameterRef{Value: p})
	}
	if o.sent.seen > 0 {
		out.RequestBody = &openapi3.RequestBodyRef{Value: &openapi3.RequestBody{Required: o.sent.seen == o.seen, Content: o.sent.describe()}}
	}
	out.Responses = openapi3.NewResponsesWithCapacity(len(o.answers))
	for _, status := range slices.Sorted(maps.Keys(o.answers)) {
		out.Responses.Set(fmt.Sprint(status), &openapi3.ResponseRef{Value: o.answers[status].describe(status)})
	}
	return out
}

func (a *answered) describe(status int) *openapi3.Response {
	text := http.StatusText(status)
	if text == "" {
		text = fmt.Sprint(status)
	}
	out := &openapi3.Response{Description: &text}
	if a.content.seen > 0 {
		out.Content = a.content.describe()
	}
	if a.free {
		out.Content = openapi3.Content{"*/*": openapi3.NewMediaType()}
	}
	for _, name := range slices.Sorted(maps.Keys(a.headers)) {
		if out.Headers == nil {
			out.Headers = openapi3.Headers{}
		}
		s := a.headers[name]
		out.Headers[name] = &openapi3.HeaderRef{Value: &openapi3.Header{Parameter: openapi3.Parameter{Required: s.seen == a.seen, Schema: (&openapi3.Schema{Type: &openapi3.Types{"string"}}).NewRef()}}}
	}
	return out
}

// describe gives each media type its schema; what is not JSON or a form is a
// text, or bytes.
func (c *content) describe() openapi3.Content {
	out := openapi3.NewContent()
	for media, s := range c.media {
		schema := &openapi3.Schema{Type: &openapi3.Types{"string"}}
		switch {
		case isJSON(media), media == "application/x-www-form-urlencoded":
			schema = s.schema()
		case !strings.HasPrefix(media, "text/"):
			schema.Format = "binary"
		}
		out[media] = &openapi3.MediaType{Schema: schema.NewRef()}
	}
	return out
}
