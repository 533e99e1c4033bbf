package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

const parentEnv = "STRANGLER_HARNESS_PARENT"

// TestMain is also the parent that a test kills: it starts what it is told, says
// which processes those are, and waits to be killed.
func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) == "" {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	p, err := Start(ctx, Command{Name: "child", Path: "sleep", Args: []string{"600"}, Ready: -1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("child", p.Pid())
	if c, err := NewCluster(ctx, "fsync=off"); err == nil {
		fmt.Println("folder", c.dir)
		fmt.Println("child", c.process.Pid)
	} else if !errors.Is(err, ErrNoPostgres) {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// TestWhatAKilledTestHasStartedEndsWithIt: a process, and a server with its own.
func TestWhatAKilledTestHasStartedEndsWithIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells of a parent's death")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var children []int
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		if folder, ok := strings.CutPrefix(lines.Text(), "folder "); ok {
			t.Cleanup(func() { os.RemoveAll(folder) }) // which nobody else does
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(lines.Text(), "child %d", &pid); err != nil {
			t.Errorf("the parent says %q", lines.Text())
			continue
		}
		of, err := childrenOf(pid)
		if err != nil {
			t.Fatal(err)
		}
		children = append(append(children, pid), of...)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := parent.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
	if len(children) == 0 {
		t.Fatal("the parent started nothing")
	}
	if err := gone(children); err != nil {
		t.Error(err)
	}
}
