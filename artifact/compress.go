package artifact

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Compression is how header and payload are packed.
type Compression string

const (
	None Compression = "none"
	Gzip Compression = "gzip" // what Write uses if nothing is said
	XZ   Compression = "lzma" // mender-artifact calls xz so
	Zstd Compression = "zstd"
)

func (c Compression) suffix() string {
	return map[Compression]string{Gzip: ".gz", XZ: ".xz", Zstd: ".zst"}[c]
}

// detect tells the compression from the first bytes. None of these can begin a tar archive that we
// would accept: its first bytes are a file name.
func detect(first []byte) Compression {
	switch {
	case bytes.HasPrefix(first, []byte("\x1f\x8b")):
		return Gzip
	case bytes.HasPrefix(first, []byte("\xfd7zXZ\x00")):
		return XZ
	case bytes.HasPrefix(first, []byte("\x28\xb5\x2f\xfd")):
		return Zstd
	case len(first) > 4 && first[0]&0xf0 == 0x50 && string(first[1:4]) == "\x2a\x4d\x18":
		return Zstd // a frame to be skipped, with which pzstd begins
	}
	return None
}

// unpack returns the unpacked content of r, which it reads to its end. Close releases what it
// holds and waits for its goroutines.
//
// At most limit bytes are wanted in all (0: no limit). With a limit, what is kept of earlier bytes is
// not more than that, and all is done in the caller's goroutine.
func unpack(r io.Reader, limit int64) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, readBuffer)
	first, err := b.Peek(6)
	if err != nil && !isEOF(err) {
		return nil, err
	}
	switch detect(first) {
	case Gzip:
		r, err := gzip.NewReader(b)
		if err == io.EOF { // in the middle of its header
			err = io.ErrUnexpectedEOF
		}
		return r, err
	case XZ:
		return newXZReader(b, limit), nil
	case Zstd:
		return unpackZstd(b)
	}
	return io.NopCloser(b), nil
}

// unpackZstd decodes in the caller's goroutine: to spread it over several would cost a tenth more of
// processor time, of which the checksum of the payload needs as much.
func unpackZstd(r *bufio.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(&zstdZeros{r: r},
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(false), // buffers are kept, not made anew
		zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return nil, err
	}
	return zstdReader{d.IOReadCloser()}, nil
}

// zstdReader tells what we do not support from what is broken.
type zstdReader struct{ io.ReadCloser }

func (r zstdReader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = refuse(ErrUnsupported, "zstd: a window of more than %d bytes is not supported", maxZstdWindow)
	}
	return n, err
}

// pack returns a writer that packs into w. Equal content gives equal bytes.
func pack(w io.Writer, c Compression) (io.WriteCloser, error) {
	switch c {
	case None:
		return nopWriteCloser{w}, nil
	case Gzip, "":
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	case XZ:
		return xz.NewWriter(w)
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	}
	return nil, fmt.Errorf("unknown compression %q", c)
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }
