package harness

import (
	"os/exec"
	"runtime"
	"syscall"
)

// begin starts a command that gets a signal when this process ends, however it
// does: a test that is killed cleans nothing up. It returns what tells, once,
// how the command ended.
//
// What the kernel watches is the thread that started the command, which
// therefore does nothing else until the command has ended.
func begin(cmd *exec.Cmd, end syscall.Signal) (ended <-chan error, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	signalOrphan(cmd.SysProcAttr, end)
	started, done := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	return done, <-started
}
