package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stranglerfig/strangler-proxy/config"
)

const nobody = 65534

// asNobody runs f on a thread that files cannot be forced by, which ends with
// it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is not for reuse
		if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
			t.Errorf("setfsuid: %v", errno)
			return
		}
		f()
	}()
	<-done
}

func TestSaveOwnersSaysSoWhereTheFolderIsReadOnly(t *testing.T) {
	text := head + "    routes:\n      GET /a: monolith\n"
	path := file(t, text)
	folder := filepath.Dir(path)
	for dir, mode := range map[string]fs.FileMode{filepath.Dir(folder): 0o755, folder: 0o555} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Error(err)
		}
	})
	asNobody(t, func() {
		_, err := config.SaveOwners(path, words(t, "GET /a=service"))
		if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), "write the config: ") || !strings.Contains(err.Error(), folder) {
			t.Errorf("the error is %v", err)
		}
	})
	if got := contents(t, path); got != text {
		t.Errorf("the file became\n%s", got)
	}
}
