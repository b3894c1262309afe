package hosttest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// NeedLoops ends a test unless it can make and mount loop devices.
func NeedLoops(t Test) {
	helper(t)
	NeedRoot(t, "loop devices and mounts")
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		Lacks(t, "this test needs a kernel with loop devices")
	}
}

// Image makes a file of size bytes, all zero, that ends with the test.
func Image(t testing.TB, size int64) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}
	return file
}

// Loop makes a block device of a file until the test ends. options are for losetup.
func Loop(t testing.TB, file string, options ...string) (device string) {
	t.Helper()
	NeedLoops(t)
	device = Run(t, "mount", "losetup", append(options, "--find", "--show", file)...)
	t.Cleanup(func() { Run(t, "mount", "losetup", "--detach", device) })
	return device
}
