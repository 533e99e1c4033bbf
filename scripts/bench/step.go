package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// stepWord makes the program perform one step, read from its standard input.
const stepWord = "step"

// step is a piece of work that runs in a process of its own, so that its memory
// can be measured and it can be killed.
type step struct {
	Do       string // a key of steps
	Root     string // of the repository
	Monolith string // database file
	Service  string // database file
	State    string // folder of the ledger
	Rows     int    // to fill
	Rounds   int    // of a step that measures several
	Profile  string // file for a CPU profile; empty: none
	Load     *load  // of a proxy
}

// steps by their names. Each tells progress in rows and returns its result.
var steps = map[string]func(ctx context.Context, s step, tell func(rows int64)) (result, error){
	"fill":   fillStep,
	"plain":  plainStep,
	"copy":   copyStep,
	"resume": resumeStep,

	"pg-copy":            pgCopyStep,
	"pg-pipe":            pgPipeStep,
	"pg-copy-and-verify": pgVerifyStep,
	"pg-pause":           pgPauseStep,

	"load": loadStep,
}

// result is what a step found.
type result struct {
	Rows     int64         // in the target afterwards
	Took     time.Duration // of the measured part
	CPU      time.Duration // user and system time that Took cost
	Before   int64         // rows loaded before a resumed copy began
	Recorded int64         // rows that the copy's record counts, over all its processes
	Differ   int           // rows that differ between both sides
	Verified int64         // rows compared

	Mine, Theirs []float64 // what a step that measures several rounds found

	Load *outcome // what a load of a proxy found
}

// message is a line from a step to the program that started it.
type message struct {
	Rows   int64   `json:"rows,omitempty"` // progress
	Result *result `json:"result,omitempty"`
}

// serveStep performs the step that it reads and writes messages.
func serveStep(ctx context.Context, in io.Reader, out io.Writer) error {
	var s step
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("read the step (it is started by the bench itself): %w", err)
	}
	perform, ok := steps[s.Do]
	if !ok {
		return fmt.Errorf("there is no step %q", s.Do)
	}
	finish, err := profile(s.Profile)
	if err != nil {
		return err
	}
	to := json.NewEncoder(out)
	var told error
	r, err := perform(ctx, s, func(rows int64) { told = errors.Join(told, to.Encode(message{Rows: rows})) })
	if err := errors.Join(err, told, finish()); err != nil {
		return fmt.Errorf("%s: %w", s.Do, err)
	}
	return to.Encode(message{Result: &r})
}

// profile writes a CPU profile until the returned function is called.
func profile(path string) (finish func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func fillStep(ctx context.Context, s step, _ func(int64)) (result, error) {
	took, cpu, err := timed(func() error { return fillShop(ctx, s.Monolith, s.Root, s.Rows) })
	return result{Rows: int64(s.Rows), Took: took, CPU: cpu}, err
}

func plainStep(ctx context.Context, s step, _ func(int64)) (r result, err error) {
	plan, err := billing(s.Root)
	if err != nil {
		return r, err
	}
	if err := createShop(ctx, s.Service, filepath.Join(s.Root, serviceSchema)); err != nil {
		return r, err
	}
	if r.Took, r.CPU, err = plainCopy(ctx, plan.Tables[0], s.Monolith, s.Service); err != nil {
		return r, err
	}
	r.Rows, err = countRows(ctx, s.Service, plan.Tables[0].To)
	return r, err
}

func copyStep(ctx context.Context, s step, tell func(int64)) (r result, err error) {
	plan, err := billing(s.Root)
	if err != nil {
		return r, err
	}
	if err := createShop(ctx, s.Service, filepath.Join(s.Root, serviceSchema)); err != nil {
		return r, err
	}
	m, err := openMove(ctx, s, plan)
	if err != nil {
		return r, err
	}
	r.Took, r.CPU, err = m.copy(ctx, func(p change.Progress) { tell(p.Done) })
	if err := errors.Join(err, m.close()); err != nil {
		return r, err
	}
	r.Rows, err = countRows(ctx, s.Service, plan.Tables[0].To)
	return r, err
}

// resumeStep does what a restarted proxy does: it opens the move, which goes on
// with the copy. Then it compares every row.
func resumeStep(ctx context.Context, s step, _ func(int64)) (r result, err error) {
	plan, err := billing(s.Root)
	if err != nil {
		return r, err
	}
	before, err := loaded(ctx, plan, s.Service)
	if err != nil {
		return r, err
	}
	r.Before = before.Rows
	var m *move
	r.Took, r.CPU, err = timed(func() (err error) {
		m, err = openMove(ctx, s, plan)
		return err
	})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	after, err := loaded(ctx, plan, s.Service)
	if err != nil {
		return r, err
	}
	r.Recorded = after.Rows
	if r.Rows, err = countRows(ctx, s.Service, plan.Tables[0].To); err != nil {
		return r, err
	}
	report, err := m.engine.Verify(ctx, capability, engine.VerifyRequest{}, nil)
	r.Verified, r.Differ = report.Rows, len(report.Differences)+int(report.Dropped)
	return r, err
}

// timed runs a function and returns how long it took by the clock, and how much
// processor time the whole process used meanwhile: where the two are far apart,
// the machine was busy with something else or waited for its disk.
func timed(f func() error) (took, cpu time.Duration, err error) {
	start, used := time.Now(), processorTime()
	err = f()
	return time.Since(start), processorTime() - used, err
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// process is a step that runs in a process of its own.
type process struct {
	command *exec.Cmd
	lines   *bufio.Scanner
	last    *result
}

// startStep starts this program again to perform a step.
func startStep(ctx context.Context, s step) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, stepWord)
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return nil, err
	}
	_, writing := in.Write(text)
	if err := errors.Join(writing, in.Close()); err != nil {
		return nil, errors.Join(err, c.Process.Kill(), c.Wait())
	}
	return &process{command: c, lines: bufio.NewScanner(out)}, nil
}

// next returns the rows of the next progress message; false at the end.
func (p *process) next() (rows int64, ok bool) {
	for p.lines.Scan() {
		var m message
		if err := json.Unmarshal(p.lines.Bytes(), &m); err != nil {
			return 0, false
		}
		if m.Result == nil {
			return m.Rows, true
		}
		p.last = m.Result
	}
	return 0, false
}

// wait returns the result and the process's peak memory in bytes.
func (p *process) wait() (result, int64, error) {
	for _, more := p.next(); more; _, more = p.next() {
	}
	if err := errors.Join(p.lines.Err(), p.command.Wait()); err != nil {
		return result{}, 0, fmt.Errorf("a step of the bench failed: %w", err)
	}
	if p.last == nil {
		return result{}, 0, errors.New("a step of the bench ended without a result")
	}
	return *p.last, peak(p.command.ProcessState), nil
}

// kill ends the process as a power cut would, and waits for its end.
func (p *process) kill() error {
	if err := p.command.Process.Kill(); err != nil {
		return err
	}
	err := p.command.Wait()
	if status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return nil
	}
	return fmt.Errorf("the copy ended before it was killed (%v): raise --rows", err)
}

// runStep performs a step in a process of its own.
func runStep(ctx context.Context, s step) (result, int64, error) {
	p, err := startStep(ctx, s)
	if err != nil {
		return result{}, 0, err
	}
	return p.wait()
}

// peak is the largest resident memory a process had, in bytes. A process starts
// with the peak of the one that started it, so the bench itself stays small: it
// opens no database.
func peak(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(usage.Maxrss)
	}
	return int64(usage.Maxrss) << 10
}
