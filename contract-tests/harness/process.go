// Package harness starts what tests need to be real: processes that can be
// killed, databases that can be written, ports that are free. It is used by
// tests, the benches and the demo, never by the toolkit itself.
//
// Start at [Build] and [Start]; PostgreSQL comes from [Postgres].
package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build compiles Go commands of this module into dir: name to package path.
// It builds without cgo, as the documentation tells users to.
func Build(ctx context.Context, dir string, commands map[string]string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	for name, pkg := range commands {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name), pkg)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// Root returns the module's root directory, found upwards from the working one.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory: run from within the project")
		}
		dir = up
	}
}

// FreePort returns a loopback address nobody listens on at the moment. It is
// from below the range that systems take for outgoing connections, or one of
// those might have it before whoever is told it.
func FreePort() (string, error) {
	const lowest, highest, tries = 20_000, 32_000, 100
	var err error
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// Command says what to start.
type Command struct {
	Name string // for messages
	Path string
	Args []string
	Env  []string  // added to this process's
	Dir  string    // working directory
	Log  io.Writer // stdout and stderr; nil discards
	// Ready is how long to wait for the line "listening on http://…"; zero
	// means 20 s, negative means not to wait at all.
	Ready time.Duration
}

// Process is a started command.
type Process struct {
	Name string
	URL  string // what it said it listens on

	cmd   *exec.Cmd
	ended <-chan error
	done  chan struct{}
	err   error
	tail  *tail
}

var listening = regexp.MustCompile(`listening on (https?://\S+)`)

// Start starts a command and waits until it says where it listens. The command
// does not outlive this process.
func Start(ctx context.Context, c Command) (*Process, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Dir = c.Dir
	// Its own group, so that a Ctrl-C at the terminal reaches it only
	// through whoever owns it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	ended, err := begin(cmd, syscall.SIGKILL)
	if err != nil {
		in.Close()
		out.Close()
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	in.Close()
	p := &Process{Name: c.Name, cmd: cmd, ended: ended, done: make(chan struct{}), tail: &tail{}}
	found := make(chan string, 1)
	go p.watch(out, c.Log, found)
	if c.Ready < 0 {
		return p, nil
	}
	wait := c.Ready
	if wait == 0 {
		wait = 20 * time.Second
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case p.URL = <-found:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended before it listened (%v):\n%s", c.Name, p.err, p.tail)
	case <-timer.C:
		p.Kill()
		return nil, fmt.Errorf("%s did not listen within %s:\n%s", c.Name, wait, p.tail)
	case <-ctx.Done():
		p.Kill()
		return nil, ctx.Err()
	}
}

// watch copies the output, looks for the address, and reaps the process.
func (p *Process) watch(out *os.File, log io.Writer, found chan<- string) {
	defer close(p.done)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			p.tail.add(line)
			if log != nil {
				io.WriteString(log, line)
			}
			if m := listening.FindStringSubmatch(line); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			}
		}
		if err != nil {
			break
		}
	}
	out.Close()
	p.err = <-p.ended
}

// Kill ends the process at once, as kill -9 does, and waits for it.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to end and waits; when ctx ends first it is killed.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("stop %s: %w; it was killed:\n%s", p.Name, ctx.Err(), p.tail)
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended; nil for exit code 0. It may be asked once
// Done is closed.
func (p *Process) Err() error { return p.err }

// Output returns the last lines the process wrote.
func (p *Process) Output() string { return p.tail.String() }

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// CPU returns the processor time the ended process used.
func (p *Process) CPU() time.Duration {
	if p.cmd.ProcessState == nil {
		return 0
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// tail keeps the last lines of an output, at most tailLines of them.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 60

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "")
}
