package artifact

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
)

// xzReader reads the .xz file format 1.2.0: streams of blocks, of which each has its own check.
// Each block also states how large a dictionary it needs, which is looked at before it is allocated.
type xzReader struct {
	in    *xzInput
	limit int64 // no more than this is wanted of all; 0: no limit

	check  byte          // kind of check in this stream
	stream bool          // between the header and the footer of a stream
	block  *xzBlock      // the current one
	data   lzma2         // what is in it
	blocks uint64        // in this stream
	sizes  hash.Hash     // over the sizes of the blocks of this stream
	buf    [10 + 10]byte // scratch
	ahead  xzAhead
	out    []byte // of the block that ahead has unpacked, if there is one
}

// xzInput counts the bytes of a block. It reads single bytes without another buffer.
type xzInput struct {
	*bufio.Reader
	n int64
}

func (in *xzInput) Read(b []byte) (int, error) {
	n, err := in.Reader.Read(b)
	in.n += int64(n)
	return n, err
}

func (in *xzInput) ReadByte() (byte, error) {
	c, err := in.Reader.ReadByte()
	if err == nil {
		in.n++
	}
	return c, err
}

type xzBlock struct {
	check    hash.Hash // nil if the stream has none
	header   int64     // size of the block's header
	begin    int64     // where the packed data begins in the input
	unpacked int64     // bytes so far

	wantPacked, wantUnpacked int64 // from the block's header; -1 if not said
}

func newXZReader(r *bufio.Reader, limit int64) *xzReader {
	x := &xzReader{in: &xzInput{Reader: r}, limit: limit}
	x.ahead.off = limit > 0
	return x
}

var (
	xzMagic       = []byte("\xfd7zXZ\x00")
	xzFooterMagic = []byte("YZ")
	xzCRC64       = crc64.MakeTable(crc64.ECMA)
)

// Read returns io.EOF only after the last stream's end was found right.
func (x *xzReader) Read(b []byte) (int, error) {
	for len(b) > 0 {
		if len(x.out) > 0 {
			n := copy(b, x.out)
			if x.out = x.out[n:]; len(x.out) == 0 {
				x.ahead.release()
			}
			return n, nil
		}
		if x.block == nil {
			if err := x.nextBlock(); err != nil {
				return 0, err
			}
			continue
		}
		if n, err := x.readBlock(b); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// Close ends what works ahead.
func (x *xzReader) Close() error {
	x.ahead.wait()
	return nil
}

func (x *xzReader) readBlock(b []byte) (int, error) {
	n, err := x.data.Read(b)
	x.block.unpacked += int64(n)
	if x.block.check != nil {
		x.block.check.Write(b[:n])
	}
	if err == io.EOF {
		err = x.endBlock()
		x.block = nil
	}
	return n, err
}

// nextBlock goes to the next block, over the ends of streams; io.EOF after the last one.
func (x *xzReader) nextBlock() error {
	if !x.stream {
		if err := x.beginStream(); err != nil {
			return err
		}
	}
	if out, ok := x.ahead.next(x); ok {
		if x.out = out; len(out) == 0 {
			x.ahead.release()
		}
		return nil
	}
	size, err := x.in.ReadByte()
	if err != nil {
		return cut(err)
	}
	if size == 0 {
		x.stream = false
		return x.endStream()
	}
	return x.beginBlock(size)
}

// beginStream reads a stream's header; io.EOF if there is none any more. Streams may be padded
// with zeros, four by four.
func (x *xzReader) beginStream() error {
	h := x.buf[:12]
	for {
		if _, err := io.ReadFull(x.in, h[:4]); err != nil {
			return err // io.EOF between two streams is the regular end
		}
		if !bytes.Equal(h[:4], []byte{0, 0, 0, 0}) {
			break
		}
	}
	if _, err := io.ReadFull(x.in, h[4:]); err != nil {
		return cut(err)
	}
	if !bytes.Equal(h[:6], xzMagic) {
		return errors.New("xz: not the header of a stream")
	}
	if crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return errors.New("xz: checksum of a stream's header is wrong")
	}
	if _, err := newXZCheck(h[7]); h[6] != 0 || err != nil {
		return refuse(ErrUnsupported, "xz: a stream of a kind (%x) that is not supported", h[6:8])
	}
	x.check, x.stream, x.blocks, x.sizes = h[7], true, 0, sha256.New()
	return nil
}

func newXZCheck(kind byte) (hash.Hash, error) {
	switch kind {
	case 0:
		return nil, nil
	case 1:
		return crc32.NewIEEE(), nil
	case 4:
		return crc64.New(xzCRC64), nil
	case 10:
		return sha256.New(), nil
	}
	return nil, errors.New("unknown check")
}

// beginBlock reads a block's header, of which the first byte is its size.
func (x *xzReader) beginBlock(size byte) error {
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(x.in, h[1:]); err != nil {
		return cut(err)
	}
	body, sum := h[:len(h)-4], h[len(h)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return errors.New("xz: checksum of a block's header is wrong")
	}
	b := &xzBlock{header: int64(len(h)), wantPacked: -1, wantUnpacked: -1}
	dict, err := b.parse(body[1:])
	if err != nil {
		return err
	}
	b.check, _ = newXZCheck(x.check)
	b.begin = x.in.n
	x.block = b
	x.data.restart(x.in, x.dictionary(dict))
	return nil
}

// dictionary is how much of it is of use: not more than what is ever unpacked.
func (x *xzReader) dictionary(stated int64) int {
	if x.limit > 0 {
		stated = min(stated, x.limit)
	}
	if want := x.block.wantUnpacked; want >= 0 {
		stated = min(stated, want)
	}
	return int(max(stated, minXZDict))
}

// parse takes a block's header apart and returns the size of its dictionary. Of the filters that
// may stand before LZMA2, none is used for artifacts.
func (b *xzBlock) parse(h []byte) (dict int64, err error) {
	flags, rest := h[0], h[1:]
	if flags&0x40 != 0 {
		if b.wantPacked, rest, err = xzNumber(rest); err != nil {
			return 0, err
		}
	}
	if flags&0x80 != 0 {
		if b.wantUnpacked, rest, err = xzNumber(rest); err != nil {
			return 0, err
		}
	}
	if flags&0x3f != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 {
		return 0, refuse(ErrUnsupported, "xz: a block with other filters than LZMA2 is not supported")
	}
	for _, padding := range rest[3:] {
		if padding != 0 {
			return 0, errors.New("xz: a block's header is not padded with zeros")
		}
	}
	return xzDictionary(rest[2])
}

// xzDictionary is the size that a block states, from 4 KiB to 4 GiB.
func xzDictionary(coded byte) (int64, error) {
	if coded > 40 {
		return 0, errors.New("xz: a block states no dictionary size")
	}
	size := int64(2|coded&1) << (coded/2 + 11)
	if size > maxXZDict {
		return 0, refuse(ErrUnsupported, "xz: a dictionary of %d bytes is not supported; at most %d are", size, maxXZDict)
	}
	return size, nil
}

// endBlock reads what follows a block's data and compares it with what was read.
func (x *xzReader) endBlock() error {
	b := x.block
	packed := x.in.n - b.begin
	if b.wantPacked >= 0 && packed != b.wantPacked || b.wantUnpacked >= 0 && b.unpacked != b.wantUnpacked {
		return errors.New("xz: a block does not have the size that it states")
	}
	if err := x.padding(packed); err != nil {
		return err
	}
	sum := int64(0)
	if b.check != nil {
		got := make([]byte, b.check.Size())
		if _, err := io.ReadFull(x.in, got); err != nil {
			return cut(err)
		}
		if !bytes.Equal(got, b.want()) {
			return errors.New("xz: checksum of a block is wrong")
		}
		sum = int64(len(got))
	}
	x.blocks++
	x.addSizes(uint64(b.header+packed+sum), uint64(b.unpacked))
	return nil
}

// want is the check as it should stand in the file: CRCs with the least byte first.
func (b *xzBlock) want() []byte {
	switch h := b.check.(type) {
	case hash.Hash32:
		return binary.LittleEndian.AppendUint32(nil, h.Sum32())
	case hash.Hash64:
		return binary.LittleEndian.AppendUint64(nil, h.Sum64())
	}
	return b.check.Sum(nil)
}

// addSizes notes the sizes of a block for the comparison with the index. Their hash is kept
// instead of a list, which might grow without limit.
func (x *xzReader) addSizes(unpadded, unpacked uint64) {
	b := binary.LittleEndian.AppendUint64(x.buf[:0], unpadded)
	x.sizes.Write(binary.LittleEndian.AppendUint64(b, unpacked))
}

// padding reads zeros up to the next multiple of four.
func (x *xzReader) padding(n int64) error {
	for ; n%4 != 0; n++ {
		c, err := x.in.ReadByte()
		if err != nil {
			return cut(err)
		}
		if c != 0 {
			return errors.New("xz: padding is not zero")
		}
	}
	return nil
}

// cut is err, unless that is the end: in the middle of something it is not a regular one.
func cut(err error) error {
	if err == io.EOF {
		return fmt.Errorf("xz: %w", io.ErrUnexpectedEOF)
	}
	return err
}
