package faultdisk

import (
	"os"
	"testing"
)

// TempDir is t.TempDir, but in memory where that is possible: a test has many crashes to go
// through, and needs no disk that really keeps anything.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "faultdisk-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
