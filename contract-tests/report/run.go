// Package report shows a verification for others than the person who typed the
// command: [HTML] as one page that needs nothing else, [JUnit] for the machines
// that build, and [Load] reads a run that [Save] stored.
//
// Reports hold what the targets answered. Redact a verify.Report before it is
// handed to this package to be stored.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"stranglerfig/contract-tests/verify"
)

// Run is a verification and when it was made.
type Run struct {
	At         time.Time     `json:"at"`
	Capability string        `json:"capability"`
	Contract   string        `json:"contract"`        // the file
	Filed      string        `json:"filed,omitempty"` // what became of it as evidence
	Report     verify.Report `json:"report"`
}

// kept is how many runs of a capability a folder keeps; the oldest go.
const kept = 20

// stamp names runs so that they sort by time.
const stamp = "20060102T150405.000"

// Save stores a run in a folder, which it makes, readable by its owner only,
// and returns the file's path. It keeps the newest 20 of each capability.
func Save(dir string, r Run) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("store the run: %w", err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("store the run: %w", err)
	}
	path := filepath.Join(dir, r.Capability+"-"+r.At.UTC().Format(stamp)+".json")
	temp, err := os.CreateTemp(dir, ".run.*")
	if err != nil {
		return "", fmt.Errorf("store the run: %w", err)
	}
	defer os.Remove(temp.Name()) // after the rename there is nothing to remove
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("store the run: %w", err)
	}
	old, err := List(dir, r.Capability)
	if err != nil {
		return path, err
	}
	for _, path := range old[:max(0, len(old)-kept)] {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return path, fmt.Errorf("remove an old run: %w", err)
		}
	}
	return path, nil
}

// List returns the paths of a capability's stored runs, the oldest first.
func List(dir, capability string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	var paths []string
	for _, e := range entries {
		name, ok := trim(e.Name(), capability+"-", ".json")
		if _, err := time.Parse(stamp, name); ok && err == nil {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

func trim(name, prefix, suffix string) (string, bool) {
	if len(name) < len(prefix)+len(suffix) || name[:len(prefix)] != prefix || name[len(name)-len(suffix):] != suffix {
		return "", false
	}
	return name[len(prefix) : len(name)-len(suffix)], true
}

// Load reads a stored run.
func Load(path string) (Run, error) {
	var r Run
	data, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("load the run: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("load the run %s: %w", path, err)
	}
	if r.Report.Verdict == "" {
		return r, fmt.Errorf("load the run %s: it is no stored verification", path)
	}
	return r, nil
}
