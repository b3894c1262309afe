package slot_test

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mincore says of each page of memory whether it is in the page cache.
func mincore(t *testing.T, memory []byte) []byte {
	t.Helper()
	vec := make([]byte, len(memory)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&memory[0])), uintptr(len(memory)), uintptr(unsafe.Pointer(&vec[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	return vec
}
