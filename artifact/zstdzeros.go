package artifact

import (
	"bufio"
	"encoding/binary"
)

// zstdZeros passes zstd frames on, with each block that says "so many zeros" replaced by a block that
// has them. Our decoder copies such a block fast, but repeats a byte one by one, which would be a tenth
// of the time for an image whose free space is zeros. (RFC 8878, sections 3.1.1 and 3.1.2.)
//
// It follows the frames only as far as it has to. From where it does not understand them all is
// passed on as it is, for the decoder to say what is wrong.
type zstdZeros struct {
	r        *bufio.Reader
	header   []byte // what is to be handed out first: the header of a block of zeros,
	zeros    int    // then the zeros,
	verbatim int64  // and then so many bytes of r; all of them if less than none

	inFrame  bool
	checksum bool // follows the frame's last block
	memory   [zstdBlockHeader]byte
}

const (
	zstdMagic       = 0xfd2fb528
	zstdSkipMagic   = 0x184d2a50 // and 15 more
	zstdBlockHeader = 3
	zstdMaxBlock    = 128 << 10
	zstdRepeated    = 1 // kind of block
)

func (z *zstdZeros) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(z.header) == 0 && z.zeros == 0 && z.verbatim == 0 {
		z.look()
	}
	switch {
	case len(z.header) > 0:
		n := copy(p, z.header)
		z.header = z.header[n:]
		return n, nil
	case z.zeros > 0:
		n := min(len(p), z.zeros)
		clear(p[:n])
		z.zeros -= n
		return n, nil
	case z.verbatim > 0:
		n, err := z.r.Read(p[:min(int64(len(p)), z.verbatim)])
		z.verbatim -= int64(n)
		return n, err
	}
	return z.r.Read(p)
}

// look finds out what comes next.
func (z *zstdZeros) look() {
	z.verbatim = -1
	if z.inFrame {
		z.block()
	} else {
		z.frame()
	}
}

func (z *zstdZeros) frame() {
	b, err := z.r.Peek(8) // the shortest frame has more
	if err != nil {
		return
	}
	magic, flags := binary.LittleEndian.Uint32(b), b[4]
	switch {
	case magic&^15 == zstdSkipMagic:
		z.verbatim = 8 + int64(binary.LittleEndian.Uint32(b[4:]))
	case magic == zstdMagic && flags&3 == 0: // without a dictionary, as there is none
		size := [4]int64{0, 2, 4, 8}[flags>>6]
		z.verbatim = 5 + size
		if single := flags&0x20 != 0; !single || size == 0 {
			z.verbatim++ // the size of the window, or that of the content in one byte
		}
		z.inFrame, z.checksum = true, flags&4 != 0
	}
}

func (z *zstdZeros) block() {
	b, err := z.r.Peek(zstdBlockHeader + 1)
	if err != nil {
		return
	}
	last, kind, size := b[0]&1 != 0, b[0]>>1&3, int(b[0])>>3|int(b[1])<<5|int(b[2])<<13
	switch {
	case kind != zstdRepeated:
		z.verbatim = zstdBlockHeader + int64(size)
	case b[3] != 0 || size > zstdMaxBlock:
		z.verbatim = zstdBlockHeader + 1
	default:
		z.verbatim = 0
		z.zeros = size
		z.memory = [zstdBlockHeader]byte{b[0] &^ 6, b[1], b[2]} // kind 0: the bytes as they are
		z.header = z.memory[:]
		_, _ = z.r.Discard(zstdBlockHeader + 1) // it was looked at
	}
	if last {
		z.inFrame = false
		if z.checksum {
			z.verbatim += 4
		}
	}
}
