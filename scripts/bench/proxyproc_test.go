package main

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness"
)

func TestAProcessIsReadWhateverItIsCalled(t *testing.T) {
	pid, parent, err := parents("4491 (a) S 7 (b) R 4489 4489 18883 0 -1 4194304 87\n")
	if err != nil || pid != 4491 || parent != 4489 {
		t.Errorf("%d, %d, %v", pid, parent, err)
	}
	for _, bad := range []string{"", "1 (a)", "x (a) S 1", "1 (a) S x"} {
		if _, _, err := parents(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestResidentMemoryIsTheSumOfPages(t *testing.T) {
	const text = "5581 ---p 00000000 00:00 0    [rollup]\nRss:                6648 kB\nPss:                1312 kB\nSwapPss:   9 kB\n"
	if n, err := resident([]byte(text)); err != nil || n != 6648<<10 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "Pss: 3 kB\n", "Rss: many kB\n", "Rss: 3\n"} {
		if n, err := resident([]byte(bad)); err == nil {
			t.Errorf("%q was read as %d", bad, n)
		}
	}
	if n, err := residentOf(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("this process: %d, %v", n, err)
	}
}

// TestProcessorTimeIsThatOfWorkersAsWell and of what they do in between only.
func TestProcessorTimeIsThatOfWorkersAsWell(t *testing.T) {
	worker := exec.Command("sh", "-c", "while :; do :; done")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer worker.Wait()
	defer worker.Process.Kill()
	before, err := processorsOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	pid := worker.Process.Pid
	if _, known := before[pid]; !known {
		t.Fatalf("no worker %d among %v", pid, before)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		after, err := processorsOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		all, err := after.since(before)
		if err != nil {
			t.Fatal(err)
		}
		if its := after[pid] - before[pid]; its > 10*time.Millisecond {
			if all < its {
				t.Errorf("%s together, but %s of the worker alone", all, its)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the worker uses no processor time")
		}
	}
	if _, err := (processors{1: 5}).since(processors{1: 3, 2: 9}); err == nil {
		t.Error("a process that has ended was forgotten")
	}
	if spent, err := (processors{1: 5, 2: 4}).since(processors{1: 3}); err != nil || spent != 6 {
		t.Errorf("with a worker that is new: %d, %v", spent, err)
	}
}

// TestAServerEndsWithItsWorkers also where it does not end when it is told to.
func TestAServerEndsWithItsWorkers(t *testing.T) {
	addr := startBackendHere(t).addr
	s, err := startServer(t.Context(), addr, harness.Command{Name: "stubborn", Path: "/bin/sh", Args: []string{"-c", "trap '' TERM; sleep 600 & while :; do wait; done"}})
	if err != nil {
		t.Fatal(err)
	}
	members := []int{}
	for deadline := time.Now().Add(20 * time.Second); len(members) < 2; {
		if members, err = family(s.process.Pid()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("it started no worker")
		}
	}
	if err := s.stop(t.Context()); err != nil {
		t.Error(err)
	}
	left, err := family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range members {
		if slices.Contains(left, pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestAServerThatEndsByItselfIsAnError(t *testing.T) {
	s, err := startServer(t.Context(), startBackendHere(t).addr, harness.Command{Name: "brief", Path: "/bin/sh", Args: []string{"-c", "echo gone wrong; exit 3"}})
	if err != nil {
		return // it had ended before it was looked at, which is an error as well
	}
	<-s.process.Done()
	if s.alive() == nil || s.stop(t.Context()) == nil {
		t.Error("nobody noticed")
	}
}
