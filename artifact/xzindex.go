package artifact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
)

// endStream reads the index, of which the first byte is read already, and the footer.
func (x *xzReader) endStream() error {
	in := &xzIndex{in: x.in, begin: x.in.n - 1, crc: crc32.NewIEEE()}
	in.crc.Write([]byte{0})
	if in.number() != x.blocks && in.err == nil {
		return errors.New("xz: the index is for another number of blocks")
	}
	want := x.sizes.Sum(nil)
	x.sizes.Reset()
	for range x.blocks {
		unpadded, unpacked := in.number(), in.number()
		if in.err != nil {
			return in.err
		}
		x.addSizes(unpadded, unpacked)
	}
	if !bytes.Equal(x.sizes.Sum(nil), want) && in.err == nil {
		return errors.New("xz: the index does not fit the blocks")
	}
	size, err := in.end()
	if err != nil {
		return err
	}
	return x.footer(size)
}

func (x *xzReader) footer(index int64) error {
	f := x.buf[:12]
	if _, err := io.ReadFull(x.in, f); err != nil {
		return cut(err)
	}
	stated := (int64(binary.LittleEndian.Uint32(f[4:])) + 1) * 4
	switch {
	case crc32.ChecksumIEEE(f[4:10]) != binary.LittleEndian.Uint32(f):
		return errors.New("xz: checksum of a stream's footer is wrong")
	case !bytes.Equal(f[10:], xzFooterMagic), f[8] != 0, f[9] != x.check, stated != index:
		return errors.New("xz: a stream's footer does not fit the stream")
	}
	return nil
}

// xzIndex reads numbers; its first error sticks.
type xzIndex struct {
	in    *xzInput
	begin int64
	crc   hash.Hash32
	err   error
}

func (i *xzIndex) byte() byte {
	if i.err != nil {
		return 0
	}
	c, err := i.in.ReadByte()
	if i.err = cut(err); err == nil {
		i.crc.Write([]byte{c})
	}
	return c
}

func (i *xzIndex) number() uint64 {
	var v uint64
	for shift := 0; shift < 63; shift += 7 {
		c := i.byte()
		v |= uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			return v
		}
	}
	if i.err == nil {
		i.err = errXZNumber
	}
	return 0
}

// end reads the index's padding and checksum, and returns its size.
func (i *xzIndex) end() (int64, error) {
	for (i.in.n-i.begin)%4 != 0 && i.err == nil {
		if i.byte() != 0 && i.err == nil {
			i.err = errors.New("xz: padding is not zero")
		}
	}
	if i.err != nil {
		return 0, i.err
	}
	sum := make([]byte, 4)
	if _, err := io.ReadFull(i.in, sum); err != nil {
		return 0, cut(err)
	}
	if binary.LittleEndian.Uint32(sum) != i.crc.Sum32() {
		return 0, errors.New("xz: checksum of the index is wrong")
	}
	return i.in.n - i.begin, nil
}

var errXZNumber = errors.New("xz: a number of more than 63 bits")

// xzNumber reads a number from the front of b.
func xzNumber(b []byte) (int64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || int64(v) < 0 {
		return 0, nil, errXZNumber
	}
	return int64(v), b[n:], nil
}
