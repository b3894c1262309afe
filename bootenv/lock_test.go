package bootenv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flipside/bootenv"
	"flipside/internal/disk"
)

// flock holds a lock as another program does: through a file description of its own.
func flock(t *testing.T, path string, how int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLocks: whoever holds the lock of either family of tools keeps this one out.
func TestLocks(t *testing.T) {
	config := files(t, image(t, 1024, true, 1, "a=1"), image(t, 1024, true, 0))
	dirs := []string{t.TempDir(), t.TempDir()}
	h := bootenv.Host{LockLimit: time.Millisecond}
	env, err := h.Open(bootenv.Options{FwEnvConfig: config, LockDirs: dirs})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		other := flock(t, dir+"/fw_printenv.lock", unix.LOCK_EX)
		if _, err := env.Read(t.Context()); !errors.Is(err, bootenv.ErrBusy) {
			t.Errorf("Read with %s locked = %v; want ErrBusy", other.Name(), err)
		}
		if err := env.Write(t.Context(), bootenv.Vars{"a": "2"}); !errors.Is(err, bootenv.ErrBusy) {
			t.Errorf("Write with %s locked = %v; want ErrBusy", other.Name(), err)
		}
		if _, err := env.Inspect(t.Context()); !errors.Is(err, bootenv.ErrBusy) {
			t.Errorf("Inspect with %s locked = %v; want ErrBusy", other.Name(), err)
		}
		_ = other.Close()
		reader := flock(t, dir+"/fw_printenv.lock", unix.LOCK_SH)
		if _, err := env.Read(t.Context()); err != nil {
			t.Errorf("Read beside another reader = %v", err)
		}
		if err := env.Write(t.Context(), bootenv.Vars{"a": "2"}); !errors.Is(err, bootenv.ErrBusy) {
			t.Errorf("Write beside a reader = %v; want ErrBusy", err)
		}
		_ = reader.Close()
		wantVars(t, read(t, env), bootenv.Vars{"a": "1"})
	}
	write(t, env, bootenv.Vars{"a": "2"})
}

func TestLockWaitsForContext(t *testing.T) {
	config := files(t, image(t, 1024, true, 1, "a=1"), image(t, 1024, true, 0))
	dir := t.TempDir()
	env, err := bootenv.Open(bootenv.Options{FwEnvConfig: config, LockDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	flock(t, dir+"/fw_printenv.lock", unix.LOCK_EX)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := env.Write(ctx, bootenv.Vars{"a": "2"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Write = %v; want that the context is done", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := env.Read(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v; want that the context is cancelled", err)
	}
}

// TestLockDirs: one directory through two names is locked once, one that is missing not at all.
func TestLockDirs(t *testing.T) {
	config := files(t, image(t, 1024, true, 1, "a=1"), image(t, 1024, true, 0))
	run, lock := t.TempDir(), filepath.Join(t.TempDir(), "lock")
	if err := os.Symlink(run, lock); err != nil {
		t.Fatal(err)
	}
	h := bootenv.Host{LockLimit: time.Millisecond}
	env, err := h.Open(bootenv.Options{FwEnvConfig: config, LockDirs: []string{run, lock, filepath.Join(run, "missing")}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, env, bootenv.Vars{"a": "2"})
	wantVars(t, read(t, env), bootenv.Vars{"a": "2"})
	if _, err := os.Stat(run + "/fw_printenv.lock"); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	if env, err = h.Open(bootenv.Options{FwEnvConfig: config, LockDirs: []string{file}}); err != nil {
		t.Fatal(err)
	}
	if err := env.Write(t.Context(), bootenv.Vars{"a": "3"}); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("Write with a lock that cannot be made = %v; want the reason", err)
	}
}

// TestConcurrentWriters: none of the variables that fw_setenv and this package write at the same
// time is lost. It uses the lock files of the system, as fw_setenv knows no others.
func TestConcurrentWriters(t *testing.T) {
	_, setenv := libubootenv(t)
	config := files(t, image(t, 4096, true, 1, "a=1"), image(t, 4096, true, 0))
	env, err := bootenv.Open(bootenv.Options{FwEnvConfig: config})
	if err != nil {
		t.Fatal(err)
	}
	want := bootenv.Vars{"a": "1"}
	var wg sync.WaitGroup
	for i := range 10 {
		ours, theirs := fmt.Sprint("ours", i), fmt.Sprint("theirs", i)
		want[ours], want[theirs] = "1", "1"
		wg.Go(func() {
			if err := env.Write(t.Context(), bootenv.Vars{ours: "1"}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := env.Read(t.Context()); err != nil {
				t.Error(err)
			}
		})
		run(t, "", setenv, "-c", config, theirs, "1")
	}
	wg.Wait()
	wantVars(t, read(t, env), want)
}

// TestGRUBLock: the lock of Mender's tools.
func TestGRUBLock(t *testing.T) {
	dir, lockDir := t.TempDir(), t.TempDir()
	writeGrubenv(t, dir+"/grubenv", "a=1\n")
	h := bootenv.Host{LockLimit: time.Millisecond}
	env, err := h.Open(bootenv.Options{FS: disk.OS{}, GrubDir: dir, LockDirs: []string{lockDir}})
	if err != nil {
		t.Fatal(err)
	}
	flock(t, lockDir+"/grub-mender-grubenv-set.lock", unix.LOCK_EX)
	if _, err := env.Read(t.Context()); !errors.Is(err, bootenv.ErrBusy) {
		t.Errorf("Read = %v; want ErrBusy", err)
	}
}
