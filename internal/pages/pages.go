// Package pages allots memory for reading and writing past the page cache.
package pages

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Alloc returns n bytes of zeros that begin at a page. They are not the garbage collector's: they do not
// make the heap twice as large, and what is never used of them is no memory at all. Free gives them back.
//
// Where the kernel has huge pages they are of those: a device is told where in memory a megabyte is in
// one piece instead of 256, which alone saves a third of the time of reading from a fast one.
func Alloc(n int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("getting %d KiB of memory: %w", n>>10, err)
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // where it has none, it does without
	return memory, nil
}

// Free gives back all that Alloc returned, which nobody may use any more.
func Free(memory []byte) error { return unix.Munmap(memory) }
