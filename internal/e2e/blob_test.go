package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

const chunkBytes = 64 << 10

// blob is the content of a disk. Copies share what neither of them has changed, and chunks of
// nothing but zeros take no memory.
type blob struct {
	size   int64
	chunks map[int64]*[chunkBytes]byte
	owned  map[int64]bool // chunks that no copy shares
}

func newBlob(size int64) *blob {
	return &blob{size: size, chunks: map[int64]*[chunkBytes]byte{}, owned: map[int64]bool{}}
}

// clone copies b. It changes b, too: neither owns a chunk afterwards.
func (b *blob) clone() *blob {
	c := newBlob(b.size)
	for i, chunk := range b.chunks {
		c.chunks[i] = chunk
	}
	clear(b.owned)
	return c
}

func (b *blob) readAt(p []byte, offset int64) {
	for len(p) > 0 {
		i, at := offset/chunkBytes, offset%chunkBytes
		n := min(int64(len(p)), chunkBytes-at)
		if chunk := b.chunks[i]; chunk != nil {
			copy(p[:n], chunk[at:])
		} else {
			clear(p[:n])
		}
		p, offset = p[n:], offset+n
	}
}

func (b *blob) writeAt(p []byte, offset int64) {
	for len(p) > 0 {
		i, at := offset/chunkBytes, offset%chunkBytes
		n := min(int64(len(p)), chunkBytes-at)
		if b.chunks[i] != nil || slices.ContainsFunc(p[:n], func(c byte) bool { return c != 0 }) {
			copy(b.own(i)[at:], p[:n])
		}
		p, offset = p[n:], offset+n
	}
}

// own makes chunk i one that may be changed.
func (b *blob) own(i int64) *[chunkBytes]byte {
	if !b.owned[i] {
		chunk := new([chunkBytes]byte)
		if old := b.chunks[i]; old != nil {
			*chunk = *old
		}
		b.chunks[i], b.owned[i] = chunk, true
	}
	return b.chunks[i]
}

// changes is a checksum of what was written since b was copied.
func (b *blob) changes() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, i := range slices.Sorted(maps.Keys(b.owned)) {
		fmt.Fprintln(h, i)
		h.Write(b.chunks[i][:])
	}
	h.Sum(sum[:0])
	return sum
}

func (b *blob) bytes(offset, n int64) []byte {
	p := make([]byte, n)
	b.readAt(p, offset)
	return p
}
