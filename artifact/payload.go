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
	r.file = &File{Name: e.name, Size: e.size, SHA256: e.sum, r: r, block: b, rest: b.data}
	return r.file, nil
}

// File is one payload file while it is read.
type File struct {
	Name   string            // one path element, unique in the payload
	Size   int64             // bytes, from the archive's entry: known before the first byte
	SHA256 [sha256.Size]byte // from the manifest

	r     *Reader
	block *block
	rest  []byte // of block
	ended bool
}

// Read returns io.EOF only if size and checksum were right. The last 256 KiB of a file, or all of
// a smaller one, are handed out only after that. When there is an error, nothing more is handed out.
func (f *File) Read(b []byte) (int, error) {
	if err := f.fill(); err != nil {
		return 0, err
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// WriteTo hands the rest of the content to w in pieces of 256 KiB (the last one may be shorter),
// without copying. Its promises are those of Read. w must not keep what it is given.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	for total := int64(0); ; {
		if err := f.fill(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(f.rest)
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
		case f.block.last:
			f.ended = true
			f.r.stream.release(f.block)
			continue
		}
		f.r.stream.release(f.block)
		b, err := f.r.stream.next()
		if err != nil {
			return f.r.fail(err)
		}
		f.block, f.rest = b, b.data
	}
	return nil
}
