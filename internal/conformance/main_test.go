package conformance_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"flipside/internal/storytest"
)

// hanging is when a program that does not end is given up: much later than anything takes, however
// busy the machine is.
const hanging = 2 * time.Minute

// TestMain builds flipside, for all tests.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := workDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program, err := storytest.Build(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// The tests find both by the environment, as what they run does.
	os.Setenv("TMPDIR", dir)
	os.Setenv("FLIPSIDE", program)
	// Much of a test is waiting for a disk or a timeout.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("8")
	}
	return m.Run()
}

// workDir is in memory if that will do: no test here cuts the power, so waiting for a disk is
// waiting for nothing.
func workDir() (string, error) {
	const memory, name = "/dev/shm", "flipside-conformance"
	dir, err := os.MkdirTemp(memory, name)
	if err == nil && suits(dir) {
		return dir, nil
	}
	if err == nil {
		os.RemoveAll(dir)
	}
	return os.MkdirTemp("", name)
}

// suits says whether there is room in dir, and programs may be run there.
func suits(dir string) bool {
	const enough = 60 << 20 // containers have 64 MiB; half of it is needed
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < enough {
		return false
	}
	script := filepath.Join(dir, "script")
	err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700)
	return err == nil && exec.Command(script).Run() == nil
}

// soon is the test's context, with an end.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hanging)
	t.Cleanup(cancel)
	return ctx
}

// must runs a program that has to succeed, in dir, and returns what it printed.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(soon(t), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}
