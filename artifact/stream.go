package artifact

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"flipside/internal/pages"
)

// stream unpacks and hashes a payload ahead of the caller. Three work at a time, each on blocks of
// its own, which go round without being copied or allocated again:
//
//	free -> unpack (its goroutine) -> raw -> verify (its goroutine) -> ready -> the caller -> free
//
// To wake another processor costs more than anything else here, so blocks are large.
//
// The last block of a file comes out of ready only if the file's checksum was right.
type stream struct {
	memory           []byte // of the blocks
	free, raw, ready chan *Block

	stop     chan struct{} // closed: nobody wants any more blocks
	stopOnce sync.Once
	work     sync.WaitGroup

	unpackErr error // why raw was closed; errComplete at the regular end
	err       error // why ready was closed; io.EOF at the regular end
}

// entry is a payload file as the archive and the manifest describe it.
type entry struct {
	name string
	size int64
	sum  [sha256.Size]byte
}

// startStream reads the payload archive from packed, and all the files that m lists. Both belong to
// the stream until next has returned io.EOF or done has returned.
func startStream(packed io.Reader, m *manifest) (*stream, error) {
	memory, free, err := newBlocks()
	if err != nil {
		return nil, err
	}
	s := &stream{
		memory: memory,
		free:   free,
		raw:    make(chan *Block, blocks),
		ready:  make(chan *Block, blocks),
		stop:   make(chan struct{}),
	}
	s.work.Go(func() {
		defer close(s.raw)
		s.unpackErr = s.unpack(packed, m)
	})
	s.work.Go(func() {
		defer close(s.ready)
		s.err = s.verify()
		s.cancel()
	})
	return s, nil
}

// next gives the next block; the caller gives it back with Release.
func (s *stream) next() (*Block, error) {
	b, ok := <-s.ready
	if !ok {
		return nil, s.err
	}
	return b, nil
}

func (s *stream) cancel() { s.stopOnce.Do(func() { close(s.stop) }) }

// done ends the stream where it stands and returns when nothing of it is running any more. The blocks
// are no more.
func (s *stream) done() error {
	s.cancel()
	s.work.Wait()
	if s.memory == nil {
		return nil
	}
	memory := s.memory
	s.memory = nil
	return pages.Free(memory)
}

// errComplete is how unpack ends when all was right. It is not io.EOF, nor nil, which a decoder may
// come up with at a wrong moment.
var errComplete = errors.New("the payload is complete")

// errStopped ends the stream's work when it is not wanted any more.
var errStopped = errors.New("the artifact's Reader is closed")

func (s *stream) unpack(packed io.Reader, m *manifest) error {
	r, err := unpack(packed, 0)
	if err != nil {
		return err
	}
	// Closed before anybody looks at packed again: a decoder may read it in goroutines of its own.
	defer r.Close()
	a := newArchive(r)
	for {
		h, err := a.next()
		if err == io.EOF {
			if err := m.complete(); err != nil {
				return err
			}
			return errComplete
		}
		if err != nil {
			return err
		}
		if err := checkFileName(h.Name); err != nil {
			return refuse(ErrMalformed, "payload file: %w", err)
		}
		sum, err := m.claim(payloadDir + h.Name)
		if err != nil {
			return err
		}
		if err := s.file(a.tr, &entry{name: h.Name, size: h.Size, sum: sum}); err != nil {
			return err
		}
	}
}

// file passes one file on, block by block.
func (s *stream) file(r io.Reader, e *entry) error {
	for left := e.size; ; {
		b, err := s.take(min(left, BlockSize))
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(r, b.Data); err != nil {
			return fmt.Errorf("reading %s: %w", e.name, err)
		}
		b.file, b.first = e, left == e.size
		left -= int64(len(b.Data))
		b.last = left == 0
		s.raw <- b
		if b.last {
			return nil
		}
	}
}

// take waits for a free block and makes it n bytes long.
func (s *stream) take(n int64) (*Block, error) {
	select {
	case <-s.stop:
		return nil, errStopped
	case b := <-s.free:
		b.Data = b.memory[:n]
		return b, nil
	}
}

// verify passes the blocks on and ends with an error at the first file with a wrong checksum. It
// has to take all blocks from raw only as long as somebody wants them: raw has room for all.
func (s *stream) verify() error {
	h := sha256.New()
	var sum [sha256.Size]byte
	for b := range s.raw {
		if b.first {
			h.Reset()
		}
		h.Write(b.Data)
		if b.last {
			if err := checkSum(b.file.name, b.file.sum, [sha256.Size]byte(h.Sum(sum[:0]))); err != nil {
				return err
			}
		}
		s.ready <- b
	}
	if s.unpackErr == errComplete {
		return io.EOF
	}
	return fmt.Errorf("unpacking the payload: %w", s.unpackErr)
}
