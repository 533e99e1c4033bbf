package postgres

import "syscall"

// freeBytes returns what an ordinary process may still store in a folder's file
// system, or -1.
func freeBytes(folder string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * s.Bsize
}
