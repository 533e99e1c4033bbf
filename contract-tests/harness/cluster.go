package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cluster is a server from the binaries on this machine that may be killed and
// started again; it keeps its address and its data. It is for one goroutine.
type Cluster struct {
	Server
	bin, dir, port string
	settings       []string
	cred           *syscall.Credential
	process        *os.Process // nil while it is down
	ended          <-chan error
}

// NewCluster makes a cluster in a temporary directory and starts its server,
// with settings such as "shared_buffers=16MB". Stop removes it.
func NewCluster(ctx context.Context, settings ...string) (*Cluster, error) {
	c := &Cluster{settings: settings}
	c.Server = Server{How: "binaries", stop: c.remove}
	if err := c.create(ctx); err != nil {
		c.remove()
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) create(ctx context.Context) (err error) {
	if c.bin, err = postgresBin(); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "strangler-postgres-"); err != nil {
		return err
	}
	if c.cred, err = serverUser(c.dir); err != nil {
		return err
	}
	initdb := c.Program(ctx, "initdb", "-D", c.data(), "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	addr, err := FreePort()
	if err != nil {
		return err
	}
	c.port = addr[strings.LastIndexByte(addr, ':')+1:]
	c.DSN = fmt.Sprintf("postgres://test@127.0.0.1:%s/postgres?sslmode=disable", c.port)
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Program is one of PostgreSQL's programs, to be run as the server's user.
func (c *Cluster) Program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = c.dir, &syscall.SysProcAttr{Credential: c.cred}
	return cmd
}

// Addr is where the server listens.
func (c *Cluster) Addr() string { return "127.0.0.1:" + c.port }

// Start starts the server, which recovers first where it was killed, and waits
// until it answers.
func (c *Cluster) Start(ctx context.Context) error {
	args := []string{"-D", c.data(), "-p", c.port, "-h", "127.0.0.1", "-k", c.dir, "-c", "wal_level=logical"}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	// Not bound to ctx: the server outlives whoever waited for its start.
	server := c.Program(context.WithoutCancel(ctx), "postgres", args...)
	var err error
	if c.ended, err = begin(server, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	c.process = server.Process
	return answers(ctx, c.DSN)
}

// Kill ends the server as a crash of its machine would end it: every process of
// it by SIGKILL, at once.
func (c *Cluster) Kill() error {
	if c.process == nil {
		return errors.New("the server is down already")
	}
	// A server that stands still cannot start further processes.
	pid := c.process.Pid
	if err := c.process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	children, err := childrenOf(pid)
	if err != nil {
		return err
	}
	for _, pid := range append(children, pid) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill postgres: %w", err)
		}
	}
	<-c.ended // which says that it was killed
	c.process = nil
	return gone(children)
}

// childrenOf lists the processes that a process started.
func childrenOf(parent int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, _, ppid := parseStat(string(raw))
		if ppid == parent {
			children = append(children, pid)
		}
	}
	return children, nil
}

// parseStat reads pid, state and parent from a line of /proc/<pid>/stat, where
// the name in brackets may hold anything.
func parseStat(line string) (pid int, state string, ppid int) {
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	pid, _ = strconv.Atoi(line[:strings.IndexByte(line, ' ')])
	if len(fields) > 1 {
		state = fields[0]
		ppid, _ = strconv.Atoi(fields[1])
	}
	return pid, state, ppid
}

// gone waits until killed processes hold nothing any more: the next server
// refuses to start beside one that still has the shared memory.
func gone(pids []int) error {
	deadline := time.Now().Add(20 * time.Second)
	for _, pid := range pids {
		for {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				break
			}
			if _, state, _ := parseStat(string(raw)); state == "Z" {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d of a killed server does not end", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// remove ends the server and removes its directory.
func (c *Cluster) remove() {
	if c.process != nil {
		c.process.Signal(syscall.SIGQUIT)
		<-c.ended
		c.process = nil
	}
	if c.dir != "" {
		os.RemoveAll(c.dir)
	}
}
