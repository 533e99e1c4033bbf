package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// family lists a process and all that descend from it: a proxy's master, and
// its workers.
func family(root int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range stats {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, parent, err := parents(string(line))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		children[parent] = append(children[parent], pid)
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	slices.Sort(all)
	return all, nil
}

// parents reads process and parent from a line of /proc/<pid>/stat, where the
// name in brackets may hold anything.
func parents(line string) (pid, parent int, err error) {
	first, _, _ := strings.Cut(line, " ")
	rest := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(rest) < 2 {
		return 0, 0, fmt.Errorf("%q is not a process's state", line)
	}
	pid, wrong := strconv.Atoi(first)
	parent, alsoWrong := strconv.Atoi(rest[1])
	return pid, parent, errors.Join(wrong, alsoWrong)
}

// processors is the processor time that processes have used, by their ids.
type processors map[int]time.Duration

// processorsOf reads the clocks of a process and its descendants: user and
// system time of all their threads, also of those that have ended, to the
// nanosecond. /proc/<pid>/stat tells the same in hundredths of a second.
func processorsOf(root int) (processors, error) {
	pids, err := family(root)
	if err != nil {
		return nil, err
	}
	used := processors{}
	for _, pid := range pids {
		var t unix.Timespec
		if err := unix.ClockGettime(processClock(pid), &t); err != nil {
			return nil, fmt.Errorf("read the processor time of process %d: %w", pid, err)
		}
		used[pid] = time.Duration(t.Nano())
	}
	return used, nil
}

// processClock is the kernel's name for the clock of a process's processor
// time: the inverted id, and a 2 for the scheduler's own clock.
func processClock(pid int) int32 { return int32(^pid<<3 | 2) }

// since is the time used after an earlier reading. What a process that has
// ended in between used is not known, so that is an error.
func (p processors) since(before processors) (time.Duration, error) {
	var total time.Duration
	for pid, used := range p {
		total += used - before[pid]
	}
	for pid := range before {
		if _, still := p[pid]; !still {
			return 0, fmt.Errorf("process %d of the proxy ended while it was measured", pid)
		}
	}
	return total, nil
}

// residentOf is the memory, in bytes, that a process and its descendants hold.
func residentOf(root int) (int64, error) {
	pids, err := family(root)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, pid := range pids {
		path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("process %d of the proxy ended while it was measured", pid)
		} else if err != nil {
			return 0, err
		}
		n, err := resident(text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		total += n
	}
	return total, nil
}

// resident reads the resident memory from /proc/<pid>/smaps_rollup, which adds
// up pages, where the number in /proc/<pid>/statm may lag behind.
func resident(text []byte) (int64, error) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == "Rss:" && string(fields[2]) == "kB" {
			kilobytes, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("it has no line Rss")
}
