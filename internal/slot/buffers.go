package slot

import (
	"flipside/artifact"
	"flipside/internal/pages"
)

const (
	// blockBytes is what one write writes: a block as it comes from the artifact.
	blockBytes = artifact.BlockSize
	// writers are the writes in flight: while one waits for the medium the other one is there.
	writers = 2
	// ahead is how far writing may get: so many blocks from the oldest one that is not written.
	ahead = 2 + writers
	// One block per writer to compare with, and two to read back behind the writers.
	readers = 2
	buffer  = writers + readers
)

// buffers are the memory of a Target.
type buffers struct {
	memory []byte
}

func newBuffers() (*buffers, error) {
	memory, err := pages.Alloc(buffer * blockBytes)
	return &buffers{memory}, err
}

// scratch is for writer i alone.
func (b *buffers) scratch(i int) []byte {
	return b.memory[i*blockBytes : (i+1)*blockBytes : (i+1)*blockBytes]
}

// behind are for reading while blocks are written.
func (b *buffers) behind() [][]byte { return b.all()[writers:] }

// all blocks, once nothing is written any more.
func (b *buffers) all() [][]byte {
	list := make([][]byte, buffer)
	for i := range list {
		list[i] = b.scratch(i)
	}
	return list
}

func (b *buffers) free() error { return pages.Free(b.memory) }
