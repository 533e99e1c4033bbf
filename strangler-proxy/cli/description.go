package cli

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/openapi"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/control/api"
)

// sampleOf is a recorded exchange as a contract has it.
func sampleOf(x tape.Exchange) contract.Interaction {
	query, err := url.ParseQuery(x.Request.Query)
	if err != nil {
		query = nil // what cannot be read as parameters describes none
	}
	return contract.Interaction{Route: x.Route,
		Request:  contract.Request{Method: x.Request.Method, Path: x.Request.Path, Query: query, Header: x.Request.Header, Body: x.Request.Body},
		Response: contract.Response{Status: x.Response.Status, Header: x.Response.Header, Body: x.Response.Body}}
}

// description loads the description that a verification goes by, if any.
func description(path string) (verify.Description, error) {
	if path == "" {
		return nil, nil
	}
	d, err := openapi.Load(path)
	if err != nil {
		return nil, &api.Error{Text: err.Error(), Hint: "nothing was sent", Code: api.ExitNo}
	}
	return d, nil
}

// importOpenAPI makes a contract of a description's examples.
func importOpenAPI(path string) (imported, error) {
	d, err := openapi.Load(path)
	if err != nil {
		return imported{}, errors.New(strings.TrimPrefix(err.Error(), path+": ")) // which is said already
	}
	c, left, err := d.Contract()
	return imported{contract: c, left: left, doubts: d.Departures(c)}, err
}

func (e *env) contractDiffVerb() *cobra.Command {
	var all bool
	cmd := verb("diff OLD NEW", "Say what clients lose between two OpenAPI descriptions",
		`diff compares two descriptions. It exits with 1 where clients that rely on the old one break,
with 2 where they may and the descriptions cannot tell, and with 0 otherwise.`, cobra.ExactArgs(2),
		func(_ *cobra.Command, args []string) error {
			var both []*openapi.Description
			for _, path := range args {
				d, err := openapi.Load(path)
				if err != nil {
					return &api.Error{Text: err.Error(), Hint: "accepted are OpenAPI descriptions (3.0 and 3.1), in YAML or JSON", Code: api.ExitNo}
				}
				both = append(both, d)
			}
			changes, err := openapi.Breaking(both[0], both[1])
			if err != nil {
				return err
			}
			return e.tellChanges(changes, all)
		})
	cmd.Flags().BoolVar(&all, "all", false, "list harmless changes as well")
	return cmd
}

func (e *env) tellChanges(changes []openapi.Change, all bool) error {
	counts := map[string]int{}
	for _, c := range changes {
		counts[c.Level]++
	}
	if e.json {
		e.print(map[string]any{"breaks": counts[openapi.Breaks], "may_break": counts[openapi.MayBreak], "harmless": counts[openapi.Harmless], "changes": append([]openapi.Change{}, changes...)})
	} else {
		for _, c := range changes {
			if all || c.Level != openapi.Harmless {
				fmt.Fprintln(e.out, c)
			}
		}
		fmt.Fprintf(e.out, "%d changes break clients, %d may, %d are harmless\n", counts[openapi.Breaks], counts[openapi.MayBreak], counts[openapi.Harmless])
	}
	switch {
	case counts[openapi.Breaks] > 0:
		return codeError{api.ExitNo}
	case counts[openapi.MayBreak] > 0:
		return codeError{api.ExitNotEnough}
	}
	return nil
}
