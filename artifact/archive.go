package artifact

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"
)

// input counts what is read and remembers how it ended. Whoever got an error from layers further
// up, each with its own way to report it, asks here what was behind it.
type input struct {
	r     io.Reader
	n     int64
	ended bool  // io.EOF (or io.ErrUnexpectedEOF) was returned
	err   error // any other error
}

func (in *input) Read(b []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	n, err := in.r.Read(b)
	in.n += int64(n)
	switch {
	case err == nil:
	case !isEOF(err):
		in.err = err
	case n == 0:
		in.ended = true // and more was wanted
	}
	if n > 0 {
		return n, nil // an error comes with the next call
	}
	return 0, err
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// sticky repeats the first error of a reader, which need not do so itself.
type sticky struct {
	r   io.Reader
	err error
}

func (s *sticky) Read(b []byte) (n int, err error) {
	if s.err == nil {
		n, s.err = s.r.Read(b)
	}
	return n, s.err
}

// archive is a tar archive of plain files, whole to its end. An artifact is one and has two
// inside. (GNU and PAX extensions are understood as far as names and sizes go.)
type archive struct {
	in *input
	tr *tar.Reader
}

func newArchive(r io.Reader) *archive {
	in, ok := r.(*input)
	if !ok {
		in = &input{r: r}
	}
	return &archive{in: in, tr: tar.NewReader(in)}
}

// next goes to the next entry. io.EOF means that the archive ended as it should: with its two
// blocks of zeros, and nothing but zeros after them.
func (a *archive) next() (*tar.Header, error) {
	h, err := a.tr.Next()
	switch {
	case err == io.EOF:
		return nil, a.end()
	case err != nil:
		return nil, fmt.Errorf("reading the next entry: %w", err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil, refuse(ErrMalformed, "entry %q is not a plain file", h.Name)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return nil, refuse(ErrMalformed, "entry %q is a sparse file", h.Name)
		}
	}
	return h, nil
}

// end is called when the entries are at an end; it reads what stands behind them.
func (a *archive) end() error {
	if a.in.ended {
		return errNoEnd // the package tar is satisfied with a file cut between two entries
	}
	b := make([]byte, 4<<10)
	for padding := 0; padding <= maxPadding; {
		n, err := a.in.Read(b)
		for _, c := range b[:n] {
			if c != 0 {
				return refuse(ErrMalformed, "data after the end of the archive")
			}
		}
		padding += n
		if err != nil {
			return err
		}
	}
	return refuse(ErrMalformed, "more than %d zeros after the end of the archive", maxPadding)
}

var errNoEnd = errors.New("the end of the archive is missing")

// content reads the whole current entry, which may not be larger than limit.
func (a *archive) content(h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		return nil, refuse(ErrMalformed, "%s has %d bytes; at most %d are accepted", h.Name, h.Size, limit)
	}
	b := make([]byte, h.Size)
	if _, err := io.ReadFull(a.tr, b); err != nil {
		return nil, fmt.Errorf("reading %s: %w", h.Name, err)
	}
	return b, nil
}
