package artifact

import "flipside/internal/pages"

// Block is a piece of a File, lent to whoever reads it.
type Block struct {
	// Data begins at a page of memory, and has room for whole pages behind its end: a device that takes
	// only those can be given it as it is. It may be changed.
	Data []byte

	memory      []byte
	file        *entry
	first, last bool // of file
	home        chan<- *Block
}

// Release gives the block back. It may be called from any goroutine, once.
func (b *Block) Release() {
	if b.home != nil {
		b.home <- b // has room for all there are
	}
}

// newBlocks makes all blocks of a stream.
func newBlocks() (memory []byte, free chan *Block, err error) {
	if memory, err = pages.Alloc(blocks * BlockSize); err != nil {
		return nil, nil, err
	}
	free = make(chan *Block, blocks)
	for i := range blocks {
		free <- &Block{memory: memory[i*BlockSize : (i+1)*BlockSize : (i+1)*BlockSize], home: free}
	}
	return memory, free, nil
}
