//go:build !linux

package harness

import "syscall"

// signalOrphan can do nothing where the kernel does not offer it.
func signalOrphan(*syscall.SysProcAttr, syscall.Signal) {}
