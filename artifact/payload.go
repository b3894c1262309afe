package artifact

import (
	"crypto/sha256"
	"io"
)

// Payload is one payload while it is read.
type Payload struct {
	PayloadHeader
	Index int // in Header.Payloads
	r     *Reader
}

// Next goes to the next file, over what is left of the current one, which is verified all the
// same. It returns io.EOF after the last one, and only if all files in the manifest were there.
func (p *Payload) Next() (*File, error) { return p.r.nextFile() }

func (r *Reader) nextFile() (*File, error) {
	if r.file != nil {
		if _, err := r.file.WriteTo(io.Discard); err != nil {
			return nil, err
		}
		r.file = nil
	}
	if r.err != nil {
		return nil, r.err
	}
	b, err := r.stream.next()
	if err == io.EOF {
		return nil, io.EOF // of the payload: there may be something wrong behind it
	}
	if err != nil {
		return nil, r.fail(err)
	}
	e := b.file
	r.file = &File{Name: e.name, Size: e.size, SHA256: e.sum, r: r}
	r.file.take(b)
	return r.file, nil
}

// File is one payload file while it is read.
type File struct {
	Name   string            // one path element, unique in the payload
	Size   int64             // bytes, from the archive's entry: known before the first byte
	SHA256 [sha256.Size]byte // from the manifest

	r     *Reader
	block *Block // nil: lent to the caller
	rest  []byte // of block
	last  bool   // block is the last one
	ended bool
}

// Read returns io.EOF only if size and checksum were right. The last MiB of a file, or all of a
// smaller one, is handed out only after that. When there is an error, nothing more is handed out.
func (f *File) Read(b []byte) (int, error) {
	if err := f.fill(); err != nil {
		return 0, err
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Block hands out the rest of the content in blocks of BlockSize bytes, of which only the last one is
// shorter, without copying. (After a Read, the first one is what that has left of its block.) Its
// promises are those of Read. There are only a few blocks: when all are lent, it waits for one to be
// released.
func (f *File) Block() (*Block, error) {
	if err := f.fill(); err != nil {
		return nil, err
	}
	b := f.block
	b.Data = f.rest
	f.block, f.rest = nil, nil
	return b, nil
}

// WriteTo hands the rest of the content to w in pieces of 256 KiB or less, without copying. Its
// promises are those of Read. w must not keep what it is given.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	for total := int64(0); ; {
		if err := f.fill(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(f.rest[:min(len(f.rest), pieceSize)])
		total += int64(n)
		f.rest = f.rest[n:]
		if err != nil {
			return total, err
		}
	}
}

// fill makes rest not empty; io.EOF at the end of the file.
func (f *File) fill() error {
	for len(f.rest) == 0 || f.r.err != nil {
		switch {
		case f.ended:
			return io.EOF
		case f.r.err != nil:
			return f.r.err
		}
		if f.block != nil {
			f.block.Release()
			f.block = nil
		}
		if f.last {
			f.ended = true
			continue
		}
		b, err := f.r.stream.next()
		if err != nil {
			return f.r.fail(err)
		}
		f.take(b)
	}
	return nil
}

func (f *File) take(b *Block) { f.block, f.rest, f.last = b, b.Data, b.last }
