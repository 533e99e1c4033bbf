package harness

import "syscall"

func signalOrphan(attr *syscall.SysProcAttr, end syscall.Signal) { attr.Pdeathsig = end }
