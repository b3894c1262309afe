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
	// blocks are being filled, waiting, and written. With one more per writer to compare with, and
	// two to read back behind the writers, this is all the memory that writing takes: 8 MiB.
	blocks  = 2 + writers
	readers = 2
	buffer  = blocks + writers + readers
)

// buffers are page-aligned, as O_DIRECT wants it, and not the garbage collector's: they do not
// make the heap twice as large.
type buffers struct {
	memory []byte
}

func newBuffers() (*buffers, error) {
	memory, err := unix.Mmap(-1, 0, buffer*blockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("getting %d MiB of memory: %w", buffer, err)
	}
	return &buffers{memory}, nil
}

// block is the i-th block, up to blocks.
func (b *buffers) block(i int) []byte {
	return b.memory[i*blockBytes : (i+1)*blockBytes : (i+1)*blockBytes]
}

// scratch is for writer i alone.
func (b *buffers) scratch(i int) []byte { return b.block(blocks + i) }

// behind are for reading while blocks are written.
func (b *buffers) behind() [][]byte { return b.list(blocks+writers, readers) }

// all blocks, once nothing is written any more.
func (b *buffers) all() [][]byte { return b.list(0, blocks) }

func (b *buffers) list(first, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = b.block(first + i)
	}
	return list
}

func (b *buffers) free() error { return unix.Munmap(b.memory) }
