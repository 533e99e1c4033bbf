package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/evidence"
)

func (e *env) evidenceVerb() *cobra.Command {
	cmd := group("evidence", "List what was checked, and pack what justified a cutover")
	cmd.AddCommand(e.evidenceListVerb(), e.evidencePackVerb())
	return cmd
}

func (e *env) evidenceListVerb() *cobra.Command {
	return verb("list [CAPABILITY]", "List the evidence on file, with what it is about", "The ledger is read from the state's folder, whether a strangler serves or not. Of the builds\nonly `strangler can-cutover` knows whether they are still the ones that were checked.", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			cfg, err := e.loadForClient()
			if err != nil {
				return err
			}
			l, err := readLedger(cfg)
			if err != nil {
				return err
			}
			defer l.Close()
			filter := ledger.Filter{}
			if len(args) == 1 {
				filter.Capability = args[0]
			}
			all, err := onFile(cmd.Context(), l, filter)
			if err != nil {
				return err
			}
			if _, declared := cfg.Capability(filter.Capability); len(all) == 0 && len(args) == 1 && !declared {
				return api.NoCapability(filter.Capability, cfg.Names())
			}
			if e.json {
				e.print(all)
				return nil
			}
			e.table([]string{"SEQ", "AT", "CAPABILITY", "KIND", "ROUTE", "VERDICT", "WORTH", "WHAT"}, func(row func(...string)) {
				for _, v := range all {
					row(fmt.Sprint(v.Seq), v.At.Local().Format(time.DateTime), v.Capability, v.Kind, v.Subject.Route, v.Verdict, worth(cfg, v), v.Summary)
				}
			})
			return nil
		})
}

// onFile returns the evidence among the ledger's entries, the latest last.
func onFile(ctx context.Context, l *ledger.Ledger, f ledger.Filter) ([]ledger.Evidence, error) {
	entries, err := l.Entries(ctx, f)
	if err != nil {
		return nil, err
	}
	all := []ledger.Evidence{}
	for _, entry := range entries {
		v, ok, err := ledger.ReadEvidence(entry)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, v)
		}
	}
	return all, nil
}

// worth says what can be said of evidence without asking anybody.
func worth(cfg *config.Config, v ledger.Evidence) string {
	p, ok := cfg.Capability(v.Capability)
	if !ok {
		return "not declared"
	}
	now := v.Subject
	now.Config = p.Digest()
	if v.Subject.Contract != "" {
		now.Contract, _ = control.ContractDigest(p.Contract) // a contract that is gone is another one
	}
	if changed := v.Subject.Changed(now); changed != "" {
		return "void: " + changed + " changed"
	}
	if v.Kind == "contract" && v.Verdict == verify.Insufficient {
		return "could not judge"
	}
	if time.Since(v.At) > cfg.Evidence.MaxAge {
		return "too old"
	}
	return "counts"
}

func (e *env) evidencePackVerb() *cobra.Command {
	var out string
	cmd := verb("pack CAPABILITY", "Write one HTML file with all that justified the latest cutover",
		`pack gathers the ledger's entries with their hashes, what every gate said and on what,
the evidence on file then, the contract with what was verified, the shadow's counts and
differences, the rehearsal, and the waivers. The file refers to nothing outside itself;
secrets are replaced. A ledger whose chain is broken is refused.

  strangler evidence pack billing --out billing-cutover.html`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			cfg, err := e.loadForClient()
			if err != nil {
				return err
			}
			if out == "" {
				out = args[0] + "-evidence.html"
			}
			if err := destinations([2]string{"--out", out}); err != nil {
				return err
			}
			return e.pack(cmd.Context(), cfg, args[0], out)
		})
	cmd.Flags().StringVar(&out, "out", "", "the file to write; default CAPABILITY-evidence.html")
	return cmd
}

func (e *env) pack(ctx context.Context, cfg *config.Config, capability, out string) error {
	l, err := readLedger(cfg)
	if err != nil {
		return err
	}
	defer l.Close()
	clean, err := cleaner(cfg)
	if err != nil {
		return err
	}
	p, err := evidence.Collect(ctx, evidence.Source{
		Ledger: l, Capability: capability, Clean: clean, Now: time.Now(),
		Kept: func(digest string) string { return control.KeptContract(cfg, digest) },
	})
	if _, declared := cfg.Capability(capability); errors.Is(err, evidence.ErrNoCutover) && !declared {
		return api.NoCapability(capability, cfg.Names())
	}
	if errors.Is(err, evidence.ErrNoCutover) {
		return &api.Error{Text: err.Error(), Hint: "strangler can-cutover " + capability + " says what it would need", Code: api.ExitNotEnough}
	}
	if err != nil {
		return &api.Error{Text: err.Error(), Hint: "strangler ledger verify", Code: api.ExitNo}
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		return err
	}
	if err := writeWhole(out, b.Bytes()); err != nil {
		return err
	}
	if e.json {
		e.print(map[string]any{"file": out, "admission": p.Admission.Seq, "hash": p.Admission.Hash, "head": p.Head, "missing": p.Missing})
		return nil
	}
	fmt.Fprintf(e.out, "%s: what admitted the cutover of %s (entry %d, %s)\n", out, capability, p.Admission.Seq, p.Admission.Hash)
	for _, m := range p.Missing {
		fmt.Fprintf(e.out, "  missing: %s\n", m)
	}
	return nil
}

// cleaner replaces secrets as recordings of this state do.
func cleaner(cfg *config.Config) (*tape.Redactor, error) {
	token, err := control.Token(cfg)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return tape.NewRedactor([]byte(token), cfg.Redact), nil
}

// writeWhole writes a file all or nothing, readable by its owner only.
func writeWhole(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // after the rename there is nothing to remove
	_, err = temp.Write(content)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
