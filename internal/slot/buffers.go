package slot

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// blockBytes is what one write writes: large enough for flash to take it at full speed,
	// small enough for a few of them to fit anywhere.
	blockBytes = 1 << 20
	// writers are the writes in flight: while one waits for the medium the other one is there.
	writers = 2
	// blocks are being filled, waiting, and written. With one more per writer to compare with,
	// this is all the memory that writing takes: 6 MiB.
	blocks = 2 + writers
)

// buffers are page-aligned, as O_DIRECT wants it, and not the garbage collector's: they do not
// make the heap twice as large.
type buffers struct {
	memory []byte
}

func newBuffers() (*buffers, error) {
	memory, err := unix.Mmap(-1, 0, (blocks+writers)*blockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("getting %d MiB of memory: %w", blocks+writers, err)
	}
	return &buffers{memory}, nil
}

// block is the i-th block, up to blocks.
func (b *buffers) block(i int) []byte {
	return b.memory[i*blockBytes : (i+1)*blockBytes : (i+1)*blockBytes]
}

// scratch is for writer i alone.
func (b *buffers) scratch(i int) []byte { return b.block(blocks + i) }

func (b *buffers) free() error { return unix.Munmap(b.memory) }
