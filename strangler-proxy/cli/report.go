package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/report"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/evidence"
)

// reportFlags say where else a verification is shown.
type reportFlags struct{ html, junit string }

func (f *reportFlags) reports(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.html, "html", "", "write a page with the answers side by side; it needs nothing else and runs nothing")
	cmd.Flags().StringVar(&f.junit, "junit", "", "write JUnit's XML, a test case for each interaction")
}

// destinations refuses files that could not be written, or that are read here.
func (f reportFlags) destinations(read ...string) error {
	html, junit := [2]string{"--html", f.html}, [2]string{"--junit", f.junit}
	return errors.Join(destinations(html, junit), spare(read, html, junit))
}

// runsDir is where verifications are stored.
func runsDir(cfg *config.Config) string { return filepath.Join(cfg.Resolve(cfg.State), "runs") }

// keep stores a run, and writes the files that were asked for. What the sides
// answered is redacted before it reaches the disk.
func (e *env) keep(cfg *config.Config, run report.Run, f reportFlags) error {
	clean, err := cleaner(cfg)
	if err != nil {
		return err
	}
	run.Report = evidence.Clean(run.Report, clean)
	if _, err := report.Save(runsDir(cfg), run); err != nil {
		return err
	}
	return f.write(run)
}

// write writes the files that were asked for.
func (f reportFlags) write(run report.Run) error {
	for _, file := range []struct {
		path  string
		write func(io.Writer, report.Run) error
	}{{f.html, report.HTML}, {f.junit, report.JUnit}} {
		if file.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := file.write(&b, run); err != nil {
			return err
		}
		if err := writeWhole(file.path, b.Bytes()); err != nil {
			return fmt.Errorf("write %s: %w", file.path, err)
		}
	}
	return nil
}

// tell prints a run.
func (e *env) tell(run report.Run) error {
	if e.json {
		e.print(struct {
			verify.Report
			Filed string `json:"filed"`
		}{run.Report.Brief(), run.Filed})
		return nil
	}
	if err := run.Report.Text(e.out); err != nil {
		return err
	}
	fmt.Fprintln(e.out, run.Filed)
	return nil
}

func (e *env) contractReportVerb() *cobra.Command {
	var f reportFlags
	var file string
	cmd := verb("report CAPABILITY", "Show the last verification again",
		`report shows a verification that was stored: the last one of the capability, or the one
in a file. Nothing is sent. It exits as the verification did.`, cobra.ExactArgs(1),
		func(_ *cobra.Command, args []string) error {
			cfg, p, err := e.declared(args[0])
			if err != nil {
				return err
			}
			if err := f.destinations(e.config, p.Contract, file); err != nil {
				return err
			}
			path := file
			if path == "" {
				paths, err := report.List(runsDir(cfg), p.Name)
				if err != nil {
					return err
				}
				if len(paths) == 0 {
					return &api.Error{Text: "no verification of " + p.Name + " is stored", Hint: "strangler contract verify " + p.Name, Code: api.ExitNotEnough}
				}
				path = paths[len(paths)-1]
			}
			run, err := report.Load(path)
			if err != nil {
				return &api.Error{Text: err.Error(), Hint: "stored are the files in " + runsDir(cfg), Code: api.ExitNo}
			}
			if err := f.write(run); err != nil {
				return err
			}
			return e.retell(run)
		})
	cmd.Flags().StringVar(&file, "run", "", "the file of a stored run, instead of the last one")
	f.reports(cmd)
	return cmd
}

// retell prints a stored run and exits as it did.
func (e *env) retell(run report.Run) error {
	if !e.json {
		fmt.Fprintf(e.out, "%s, verified at %s\n", run.Contract, run.At.Local().Format(time.DateTime))
	}
	if err := e.tell(run); err != nil {
		return err
	}
	if code := run.Report.ExitCode(); code != 0 {
		return codeError{code}
	}
	return nil
}
