package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/har"
	"stranglerfig/contract-tests/openapi"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// exportFlags are the flags of contract export.
type exportFlags struct {
	format, out, contract, base string
	tapes                       []string
}

// formats are what a contract can be exported as, with the end of the file's
// name.
var formats = map[string]string{"pact3": ".pact3.json", "pact4": ".pact4.json", "openapi": ".openapi.json", "har": ".har"}

func (e *env) contractExportVerb() *cobra.Command {
	var f exportFlags
	cmd := verb("export [CAPABILITY]", "Write a contract as others read it: Pact 3 or 4, OpenAPI, HAR",
		`export writes the contract of a capability, or of a file, for other tools. What they have no
word for becomes the nearest they have, or is left out, and is listed. An OpenAPI description
is inferred from the contract's examples, and from recorded traffic where --tape names some.`, cobra.MaximumNArgs(1),
		func(_ *cobra.Command, args []string) error { return e.export(args, f) })
	cmd.Flags().StringVar(&f.format, "format", "pact4", "pact3, pact4, openapi or har")
	cmd.Flags().StringVar(&f.out, "out", "", "the file to write, never overwritten; - is stdout; default CAPABILITY.FORMAT.json; a description is YAML in a file that ends so")
	cmd.Flags().StringVar(&f.contract, "contract", "", "the contract file; default the one that strangler.yaml declares")
	cmd.Flags().StringArrayVar(&f.tapes, "tape", nil, "of descriptions, infer also from this tape of a recording; may be repeated")
	cmd.Flags().StringVar(&f.base, "base", "", "of archives, where the requests went, such as https://billing.example; default http://PROVIDER")
	return cmd
}

func (e *env) export(args []string, f exportFlags) error {
	end, ok := formats[f.format]
	switch {
	case !ok:
		return &api.Error{Text: fmt.Sprintf("--format %q: accepted are pact3, pact4, openapi and har", f.format), Code: api.ExitNo}
	case len(f.tapes) > 0 && f.format != "openapi":
		return &api.Error{Text: "--tape is for --format openapi: the other formats write what is in the contract", Code: api.ExitNo}
	case len(args) == 0 && f.contract == "":
		return &api.Error{Text: "export needs a capability, or --contract FILE", Code: api.ExitNo}
	}
	if err := errors.Join(based(f.base), destinations([2]string{"--out", f.out})); err != nil {
		return err
	}
	c, err := e.exported(args, f)
	if err != nil {
		return err
	}
	out := f.out
	if out == "" {
		name := c.Provider
		if len(args) == 1 {
			name = args[0]
		}
		out = fileName(name) + end
	}
	if _, err := os.Stat(out); err == nil {
		return &api.Error{Text: out + " exists already; nothing was written", Hint: "name another file with --out, or move that one away", Code: api.ExitNo}
	}
	text, lost, err := e.write(c, f, out)
	if err != nil {
		return &api.Error{Text: err.Error(), Hint: "nothing was written", Code: api.ExitNo}
	}
	if out == "-" {
		if _, err := e.out.Write(text); err != nil {
			return err
		}
		for _, line := range lost {
			fmt.Fprintf(e.err, "lost: %s\n", line)
		}
		return nil
	}
	if err := writeWhole(out, text); err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	if e.json {
		e.print(map[string]any{"file": out, "format": f.format, "interactions": len(c.Interactions), "lost": append([]string{}, lost...)})
		return nil
	}
	fmt.Fprintf(e.out, "%s: %s of %d interactions\n", out, f.format, len(c.Interactions))
	for _, line := range lost {
		fmt.Fprintf(e.out, "lost: %s\n", line)
	}
	return nil
}

// based refuses an address that an archive's requests cannot have gone to.
func based(base string) error {
	if base != "" && !isAddress(base) {
		return &api.Error{Text: fmt.Sprintf("--base %q: accepted are http://HOST and https://HOST", base), Code: api.ExitNo}
	}
	return nil
}

// fileName is a name without what file systems and shells give a meaning to.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:* `, r) {
			return '-'
		}
		return r
	}, name)
}

// exported reads the contract; of a capability that only has tapes there may be
// none.
func (e *env) exported(args []string, f exportFlags) (contract.Contract, error) {
	var p config.Capability
	if len(args) == 1 {
		_, declared, err := e.declared(args[0])
		if err != nil {
			return contract.Contract{}, err
		}
		p = *declared
	}
	if f.contract == "" && p.Contract == "" && len(f.tapes) > 0 {
		return contract.Contract{Consumer: "clients", Provider: p.Name}, nil
	}
	c, _, err := contractOf(&p, f.contract)
	return c, err
}

// write makes the text of a format, and lists what the format has no place for.
func (e *env) write(c contract.Contract, f exportFlags, out string) (text []byte, lost []string, err error) {
	var b bytes.Buffer
	switch f.format {
	case "pact3":
		lost, err = c.Export(&b, 3)
	case "pact4":
		lost, err = c.Export(&b, 4)
	case "har":
		base := f.base
		if base == "" {
			base = "http://" + fileName(c.Provider)
		}
		lost = unarchived(c)
		err = har.Write(&b, c, base)
	case "openapi":
		return describe(c, f, out)
	}
	return b.Bytes(), lost, err
}

// unarchived lists what an archive has no place for.
func unarchived(c contract.Contract) []string {
	var lost []string
	for n, i := range c.Interactions {
		for _, part := range []struct {
			there bool
			what  string
		}{
			{!i.Response.Rules.Empty(), "the rules of its answer"}, {!i.Request.Rules.Empty(), "the rules of its request"},
			{len(i.States) > 0, "its provider states"}, {!i.Request.Generators.Empty(), "its generators"}, {!i.Chain.Empty(), "its chain"},
			{i.Response.Body == nil, "that its body is unchecked: the archive has an empty one"},
		} {
			if part.there {
				lost = append(lost, "interaction "+i.Name(n)+": "+part.what)
			}
		}
	}
	return lost
}

// describe infers a description.
func describe(c contract.Contract, f exportFlags, out string) ([]byte, []string, error) {
	samples, lost := c.Interactions, []string(nil)
	for _, path := range f.tapes {
		exchanges, damaged, err := tape.Load(path)
		if err != nil {
			return nil, nil, err
		}
		if len(exchanges) == 0 && damaged > 0 {
			return nil, nil, fmt.Errorf("--tape %s: no line can be read as an exchange, %d are damaged", path, damaged)
		}
		cut := 0
		for _, x := range exchanges {
			if x.Truncated {
				cut++
				continue
			}
			samples = append(samples, sampleOf(x))
		}
		if damaged+cut > 0 {
			lost = append(lost, fmt.Sprintf("%s: %d exchanges whose bodies were cut, %d damaged lines", path, cut, damaged))
		}
	}
	text, unsaid, err := openapi.Infer(c.Provider, samples)
	if ext := strings.ToLower(filepath.Ext(out)); err == nil && (ext == ".yaml" || ext == ".yml") {
		text, err = openapi.YAML(text)
	}
	return text, append(lost, unsaid...), err
}
