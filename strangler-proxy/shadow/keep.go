package shadow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keepEvery is how often what was found is written to the file, if there is
// anything new: a kill loses so much at most. Mismatches are filed in the ledger
// besides, by whoever looks at the gates.
const keepEvery = 5 * time.Second

// kept is the file's content, of which a tally is a *tally, or the text of one.
type kept[T any] struct {
	Version      int                          `json:"version"`
	Capabilities map[string]keptCapability[T] `json:"capabilities"`
}

type keptCapability[T any] struct {
	Subject string `json:"subject"`
	Tallies []T    `json:"tallies"`
}

// keptVersion is 2 since places that are empty are left out; what 1 has is read.
const keptVersion = 2

// keep writes the file now and then, and at the end.
func (s *Shadow) keep() {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.survive(s.save)
		case <-s.ctx.Done():
			s.survive(s.save)
			return
		}
	}
}

// save writes the file if something has changed since.
func (s *Shadow) save() {
	if s.o.Path == "" || s.o.Frozen {
		return
	}
	raw, err := s.unsaved()
	if err == nil && raw == nil {
		return
	}
	if err == nil {
		err = replace(s.o.Path, raw)
	}
	if err != nil {
		s.o.Failed(fmt.Errorf("keep what shadows found: %w", err))
	}
}

// unsaved returns what the file is to hold; nil where it holds that already.
func (s *Shadow) unsaved() ([]byte, error) {
	s.mu.Lock()
	changed, subjects := s.changed, maps.Clone(s.bound)
	tallies := slices.Collect(maps.Values(s.tallies))
	s.changed = false
	s.mu.Unlock()
	if !changed {
		return nil, nil
	}
	slices.SortFunc(tallies, func(a, b *tally) int {
		return strings.Compare(a.Route+" "+string(a.Direction), b.Route+" "+string(b.Direction))
	})
	all := kept[json.RawMessage]{Version: keptVersion, Capabilities: map[string]keptCapability[json.RawMessage]{}}
	for _, t := range tallies {
		raw, err := s.text(t)
		if err != nil {
			return nil, err
		}
		c := all.Capabilities[t.Capability]
		c.Subject, c.Tallies = subjects[t.Capability], append(c.Tallies, raw)
		all.Capabilities[t.Capability] = c
	}
	return json.Marshal(all)
}

// text is a tally as the file holds it.
func (s *Shadow) text(t *tally) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(t)
}

// replace writes a file whole or not at all.
func replace(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// restore reads the file.
func (s *Shadow) restore() {
	if s.o.Path == "" {
		return
	}
	raw, err := os.ReadFile(s.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var all kept[*tally]
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err == nil && (all.Version < 1 || all.Version > keptVersion) {
		err = fmt.Errorf("%s is of version %d, and 1 to %d are read", s.o.Path, all.Version, keptVersion)
	}
	if err != nil {
		s.o.Failed(fmt.Errorf("what shadows found before is lost, and begun anew: %w", err))
		return
	}
	for name, c := range all.Capabilities {
		s.bound[name] = c.Subject
		for _, t := range c.Tallies {
			whole := newTally(t.Route, name, t.Direction, t.Since)
			fill(&t.Incomparable, whole.Incomparable)
			fill(&t.Dropped, whole.Dropped)
			fill(&t.Found, whole.Found)
			fill(&t.Groups, whole.Groups)
			t.Capability = name
			s.tallies[key{t.Route, t.Direction}] = t
		}
	}
}

// fill makes a map that was not in the file.
func fill[K comparable, V any](have *map[K]V, empty map[K]V) {
	if *have == nil {
		*have = empty
	}
}

// Bind says what a capability's comparisons are about from now on: both builds
// and the config. What was compared about something else says nothing any more
// and is forgotten, in this process or an earlier one. It reports whether
// anything was.
func (s *Shadow) Bind(capability, subject string) (forgot bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.bound[capability]
	s.bound[capability] = subject
	if !known || before == subject {
		return false
	}
	s.forget(capability)
	return true
}

// Presume says what a capability's comparisons are about as far as that can be
// told, where nobody has said so yet: they are none of what [Shadow.Bind] says
// once all of it can.
func (s *Shadow) Presume(capability, subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.bound[capability]; !known {
		s.bound[capability] = subject
	}
}
