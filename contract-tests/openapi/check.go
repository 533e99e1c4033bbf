package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// Check tells how an exchange departs from the description: the request, unless
// it was refused as it should be, and the answer. Paths are those of
// compare.Difference, $.request… for the request's. It implements
// verify.Description.
func (d *Description) Check(request *http.Request, body []byte, answer compare.Message) []compare.Difference {
	request = request.Clone(context.Background())
	request.Body = io.NopCloser(bytes.NewReader(body))
	route, parameters, err := d.router.FindRoute(request)
	if err != nil {
		return []compare.Difference{{Path: "$.request", Kind: compare.Missing, Actual: request.Method + " " + request.URL.Path,
			Rule: d.path + ": " + errUndescribed.Error()}}
	}
	options := &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true, SkipSettingDefaults: true,
		AuthenticationFunc:      openapi3filter.NoopAuthenticationFunc,
		SchemaValidationOptions: append(d.doc.GetSchemaValidationOptions(), openapi3.MultiErrors())}
	input := &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route, Options: options}
	f := finding{rule: d.path + ": " + route.Method + " " + route.Path}
	if answer.Status < 400 {
		f.add("$.request", openapi3filter.ValidateRequest(context.Background(), input))
	}
	plain, err := compare.Plain(answer)
	if err != nil {
		f.add("$.body", err)
		return f.found
	}
	f.rule += fmt.Sprintf(" answers %d", answer.Status)
	f.answer(route, input, answer, plain)
	return f.found
}

// answer checks an answer. One that the description gives no body for must have
// none.
func (f *finding) answer(route *routers.Route, input *openapi3filter.RequestValidationInput, answer compare.Message, body []byte) {
	response := route.Operation.Responses.Status(answer.Status)
	if response == nil {
		response = route.Operation.Responses.Default()
	}
	if response == nil || response.Value == nil {
		f.found = append(f.found, compare.Difference{Path: "$.status", Kind: compare.Status, Actual: fmt.Sprint(answer.Status), Rule: f.rule + ": a status that is not described"})
		return
	}
	// The library ends with the first header that is wrong, so each is asked for
	// alone, and then the body.
	for _, name := range slices.Sorted(maps.Keys(response.Value.Headers)) {
		part := openapi3.Response{Headers: openapi3.Headers{name: response.Value.Headers[name]}}
		if err := validate(route, input, answer, body, part); err != nil {
			value := http.Header(answer.Header).Get(name)
			d := compare.Difference{Path: "$.header." + name, Kind: compare.Header, Actual: value, Rule: f.rule + ": " + oneLine(err.Error())}
			if value == "" {
				d.Kind = compare.Missing
			}
			f.found = append(f.found, d)
		}
	}
	if len(response.Value.Content) == 0 {
		if len(body) > 0 {
			f.found = append(f.found, compare.Difference{Path: "$.body", Kind: compare.Extra, Actual: string(body), Rule: f.rule + ": no body is described"})
		}
		return
	}
	f.add("$.body", validate(route, input, answer, body, openapi3.Response{Content: response.Value.Content}))
}

// validate holds an answer against a part of its description.
func validate(route *routers.Route, input *openapi3filter.RequestValidationInput, answer compare.Message, body []byte, part openapi3.Response) error {
	operation := *route.Operation
	operation.Responses = openapi3.NewResponsesWithCapacity(1)
	operation.Responses.Set(fmt.Sprint(answer.Status), &openapi3.ResponseRef{Value: &part})
	narrowed, about := *route, *input
	narrowed.Operation, about.Route = &operation, &narrowed
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &about, Status: answer.Status, Header: http.Header(answer.Header),
		Body: io.NopCloser(bytes.NewReader(body)), Options: input.Options})
}

// finding collects what is wrong.
type finding struct {
	rule  string
	found []compare.Difference
}

// add takes an error of the library apart: several in one, those of a
// parameter, of a body's value, and what remains.
func (f *finding) add(place string, err error) {
	var several openapi3.MultiError
	var inRequest *openapi3filter.RequestError
	var schema *openapi3.SchemaError
	switch {
	case err == nil:
	case direct(err, &several):
		for _, one := range several {
			f.add(place, one)
		}
	case direct(err, &inRequest):
		switch {
		case inRequest.Parameter != nil:
			place = "$.request." + inRequest.Parameter.In + match.Path{match.Field(inRequest.Parameter.Name)}.String()[1:]
		case inRequest.RequestBody != nil:
			place = "$.request.body"
		}
		f.inner(place, inRequest.Reason, inRequest.Err)
	case errors.As(err, &schema):
		f.schema(place, schema)
	default:
		f.found = append(f.found, compare.Difference{Path: place, Kind: compare.Value, Rule: f.rule + ": " + oneLine(err.Error())})
	}
}

// inner adds what is below an error, or else its reason.
func (f *finding) inner(place, reason string, err error) {
	if err == nil {
		err = errors.New(reason)
	}
	f.add(place, err)
}

// direct is errors.As for an error that was not wrapped: whoever wraps it knows
// the place.
func direct[T error](err error, into *T) bool {
	found, ok := err.(T)
	if ok {
		*into = found
		return true
	}
	var response *openapi3filter.ResponseError
	if r, is := err.(*openapi3filter.ResponseError); is {
		response = r
	}
	return response != nil && response.Err != nil && direct(response.Err, into)
}

// schema adds a value that its schema does not allow.
func (f *finding) schema(place string, err *openapi3.SchemaError) {
	d := compare.Difference{Path: place + placeOf(err.JSONPointer()), Kind: compare.Value, Rule: f.rule + ": " + oneLine(err.Reason)}
	switch err.SchemaField {
	case "required":
		d.Kind = compare.Missing
	case "type", "nullable":
		d.Kind = compare.Type
	case "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties":
		d.Kind = compare.Length
	case "properties", "additionalProperties":
		d.Kind = compare.Extra
	}
	if err.Schema != nil && err.Schema.Type != nil {
		d.Expected = strings.Join(err.Schema.Type.Slice(), " or ")
	}
	if d.Kind != compare.Missing && d.Kind != compare.Extra {
		d.Actual = shown(err.Value)
	}
	f.found = append(f.found, d)
}

// shown is a value as JSON has it.
func shown(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

// placeOf writes a JSON pointer as a path.
func placeOf(pointer []string) string {
	path := match.Path{}
	for _, step := range pointer {
		n := 0
		if _, err := fmt.Sscanf(step, "%d", &n); err == nil && fmt.Sprint(n) == step {
			path = append(path, match.Index(n))
			continue
		}
		path = append(path, match.Field(step))
	}
	return path.String()[1:]
}

// oneLine keeps the first line of a message; the library appends schema and
// value, which the difference has.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimSpace(text)
}
