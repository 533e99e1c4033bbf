package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/har"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/control/api"
)

// importFlags are the flags of contract import.
type importFlags struct {
	out, merge, prefer string
	format             string
	consumer, provider string
	skipMessages       bool
	capability, host   string
	routes             []string
}

func (e *env) contractImportVerb() *cobra.Command {
	var f importFlags
	cmd := verb("import FILE...", "Make a contract of pacts, HAR files or OpenAPI descriptions that others wrote",
		`import reads Pact files (versions 1 to 4), HTTP archives (HAR) and the examples of OpenAPI
descriptions (3.0 and 3.1), and writes one contract. Every problem of every file is told, and
nothing is written then. Archives are redacted as recordings are.`, cobra.MinimumNArgs(1),
		func(_ *cobra.Command, args []string) error { return e.importFiles(args, f) })
	cmd.Flags().StringVar(&f.out, "out", "", "the contract file to write, never overwritten; default PROVIDER.pact.json")
	cmd.Flags().StringVar(&f.merge, "merge", "", "add to this contract file instead")
	cmd.Flags().StringVar(&f.prefer, "prefer", "", "decide conflicts for the old or the new; default: list them and write nothing")
	cmd.Flags().StringVar(&f.format, "format", "", "pact, har or openapi; default: as the file looks")
	cmd.Flags().StringVar(&f.consumer, "consumer", "", "who relies on the contract, instead of whom the files name")
	cmd.Flags().StringVar(&f.provider, "provider", "", "who must honour it, instead of whom the files name")
	cmd.Flags().BoolVar(&f.skipMessages, "skip-messages", false, "leave out what is not about HTTP, and count it")
	cmd.Flags().StringVar(&f.capability, "capability", "", "of archives, only the routes that strangler.yaml declares for it")
	cmd.Flags().StringArrayVar(&f.routes, "route", nil, "of archives, only this route, such as \"GET /invoices/{id}\"; may be repeated")
	cmd.Flags().StringVar(&f.host, "host", "", "of archives, only this host")
	return cmd
}

// imported is what one file gave.
type imported struct {
	contract contract.Contract
	left     map[string]int // what was left out, by reason
	doubts   contract.Problems
}

// importing is an import under way.
type importing struct {
	result contract.Contract
	merged contract.Merged
	left   map[string]int
	doubts contract.Problems // what a person should look at
}

func (e *env) importFiles(paths []string, f importFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	im := importing{left: map[string]int{}}
	if f.merge != "" {
		old, err := contract.Load(f.merge)
		if err != nil {
			return &api.Error{Text: err.Error(), Hint: "nothing was written", Code: api.ExitNo}
		}
		im.result = old
	}
	var files []imported
	var problems []error
	for _, path := range paths {
		file, err := e.importFile(path, f)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
			continue
		}
		files = append(files, file)
	}
	if err := errors.Join(problems...); err != nil {
		return &api.Error{Text: err.Error(), Hint: hintOf(err), Code: api.ExitNo}
	}
	for n, file := range files {
		if err := im.add(paths[n], file, f); err != nil {
			return err
		}
	}
	if len(im.merged.Conflicts) > 0 {
		return conflicting(im.merged.Conflicts)
	}
	out, err := f.target(im.result)
	if err != nil {
		return err
	}
	if err := im.result.Save(out); err != nil {
		return &api.Error{Text: err.Error(), Code: api.ExitNo}
	}
	e.tellImport(out, im)
	return nil
}

// check refuses flags that contradict each other, before anything is read.
func (f importFlags) check() error {
	switch {
	case f.prefer != "" && f.prefer != string(contract.Old) && f.prefer != string(contract.New):
		return &api.Error{Text: fmt.Sprintf("--prefer %q: accepted are old and new", f.prefer), Code: api.ExitNo}
	case f.format != "" && f.format != "pact" && f.format != "har" && f.format != "openapi":
		return &api.Error{Text: fmt.Sprintf("--format %q: accepted are pact, har and openapi", f.format), Code: api.ExitNo}
	case f.out != "" && f.merge != "":
		return &api.Error{Text: "--out writes a new file and --merge changes one: give one of them", Code: api.ExitNo}
	case f.capability != "" && len(f.routes) > 0:
		return &api.Error{Text: "--capability and --route both say which routes: give one of them", Code: api.ExitNo}
	}
	return destinations([2]string{"--out", f.out}, [2]string{"--merge", f.merge})
}

// aboutMessages reports whether a contract was refused for what is not HTTP.
func aboutMessages(err error) bool {
	return strings.Contains(err.Error(), "(accepted: Synchronous/HTTP)")
}

func hintOf(err error) string {
	if aboutMessages(err) {
		return "nothing was written; --skip-messages leaves out what is not about HTTP"
	}
	return "nothing was written"
}

func conflicting(list []contract.Conflict) error {
	lines := []string{fmt.Sprintf("conflicts, so that nothing was written: %d", len(list))}
	for _, c := range list {
		lines = append(lines, "  "+c.String())
	}
	return &api.Error{Text: strings.Join(lines, "\n"), Hint: "decide for all of them with --prefer old or --prefer new, or import the files apart", Code: api.ExitNo}
}

// importFile reads one file by its format.
func (e *env) importFile(path string, f importFlags) (imported, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > har.MaxFile {
		return imported{}, fmt.Errorf("%d bytes (accepted: archives up to %d MiB, others up to %d MiB)", info.Size(), har.MaxFile>>20, contract.MaxFile>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return imported{}, plainly(err)
	}
	format := f.format
	if format == "" {
		format = formatOf(data)
	}
	if ext := strings.ToLower(filepath.Ext(path)); format == "pact" && (ext == ".yaml" || ext == ".yml") && f.format == "" {
		format = "openapi" // which a pact or an archive never is
	}
	switch format {
	case "har":
		return e.importHAR(data, f)
	case "pact":
		return importPact(data, f.skipMessages)
	case "openapi":
		return importOpenAPI(path)
	}
	return imported{}, errors.New("neither a pact, an archive nor a description, as far as it looks: say what it is (accepted: --format pact, har or openapi)")
}

// yamlDescription is how a description in YAML is told.
var yamlDescription = regexp.MustCompile(`(?m)^["']?(?:openapi|swagger)["']?:`)

// formatOf tells a file's format by the members of its document. A broken
// document is a pact until somebody says otherwise, so that its error is told.
func formatOf(data []byte) string {
	data, err := contract.Text(data)
	if err != nil {
		return "pact"
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		if yamlDescription.Match(data) {
			return "openapi"
		}
		return "pact"
	}
	for _, known := range [][2]string{{"openapi", "openapi"}, {"swagger", "openapi"}, {"log", "har"}, {"interactions", "pact"}, {"messages", "pact"}, {"consumer", "pact"}} {
		if _, ok := members[known[0]]; ok {
			return known[1]
		}
	}
	return ""
}

func importPact(data []byte, skip bool) (imported, error) {
	if !skip {
		c, err := contract.Read(bytes.NewReader(data))
		return imported{contract: written(c)}, err
	}
	c, left, err := contract.ReadHTTP(bytes.NewReader(data))
	file := imported{contract: written(c), left: map[string]int{}}
	if left > 0 {
		file.left["not about HTTP"] = left
	}
	return file, err
}

// written notes of interactions that do not say where they are from that
// somebody wrote them.
func written(c contract.Contract) contract.Contract {
	for n := range c.Interactions {
		if c.Interactions[n].Source == "" {
			c.Interactions[n].Source = contract.Written
		}
	}
	return c
}

// add merges one file into the result.
func (im *importing) add(path string, file imported, f importFlags) error {
	c := file.contract
	if f.consumer != "" {
		c.Consumer = f.consumer
	}
	if f.provider != "" {
		c.Provider = f.provider
	}
	into := &im.result
	if into.Consumer == "" && into.Provider == "" {
		into.Consumer, into.Provider = c.Consumer, c.Provider
	}
	switch {
	case into.Provider != c.Provider:
		return &api.Error{Text: fmt.Sprintf("%s is about the provider %q, the others about %q", path, c.Provider, into.Provider), Hint: "a contract has one provider: import the files apart, or name it with --provider", Code: api.ExitNo}
	case into.Consumer != c.Consumer:
		return &api.Error{Text: fmt.Sprintf("%s is of the consumer %q, the others of %q", path, c.Consumer, into.Consumer), Hint: "a contract has one consumer: import the files apart, or name all of them together with --consumer", Code: api.ExitNo}
	}
	result, m := contract.Merge(*into, c, contract.Preference(f.prefer))
	*into = result
	im.merged.Added += m.Added
	im.merged.Same += m.Same
	im.merged.Replaced += m.Replaced
	im.merged.Kept += m.Kept
	im.merged.Conflicts = append(im.merged.Conflicts, m.Conflicts...)
	im.doubts = append(im.doubts, file.doubts...)
	for reason, n := range file.left {
		im.left[reason] += n
	}
	return nil
}

// target is the file to write. A new one never replaces an old one.
func (f importFlags) target(c contract.Contract) (string, error) {
	if f.merge != "" {
		return f.merge, nil
	}
	out := f.out
	if out == "" {
		out = fileName(c.Provider) + ".pact.json"
	}
	if _, err := os.Stat(out); err == nil {
		return "", &api.Error{Text: out + " exists already; nothing was written", Hint: "add to it with --merge " + out + ", or name another file with --out", Code: api.ExitNo}
	}
	return out, nil
}

func (e *env) tellImport(out string, im importing) {
	warnings := slices.Concat(im.doubts, verify.Contradictions(im.result), verify.Leniencies(im.result))
	if e.json {
		e.print(struct {
			Contract     string `json:"contract"`
			Interactions int    `json:"interactions"`
			contract.Merged
			Left     map[string]int `json:"left"`
			Warnings []string       `json:"warnings"`
		}{out, len(im.result.Interactions), im.merged, im.left, texts(warnings)})
		return
	}
	m := im.merged
	fmt.Fprintf(e.out, "%s: %d interactions, %d added, %d there already", out, len(im.result.Interactions), m.Added, m.Same)
	if m.Replaced+m.Kept > 0 {
		fmt.Fprintf(e.out, ", %d replaced, %d kept as they were", m.Replaced, m.Kept)
	}
	fmt.Fprintln(e.out)
	if len(im.left) > 0 {
		fmt.Fprintf(e.out, "left out: %s\n", counted(im.left))
	}
	for _, text := range texts(warnings) {
		fmt.Fprintf(e.out, "warning: %s\n", text)
	}
}

// counted lists how many there are for each reason.
func counted(left map[string]int) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(left)) {
		parts = append(parts, fmt.Sprintf("%d %s", left[reason], reason))
	}
	return strings.Join(parts, ", ")
}

func texts(problems contract.Problems) []string {
	all := []string{}
	for _, p := range problems {
		all = append(all, p.String())
	}
	return all
}
