package slot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"flipside/artifact"
)

// Source is an image, block by block: an *artifact.File.
type Source interface {
	// Block returns the next artifact.BlockSize bytes of the image, or what is left of it, and then
	// io.EOF.
	Block() (*artifact.Block, error)
}

// supply hands out the blocks of an image of size bytes to several writers.
type supply struct {
	src  Source
	size int64

	mu  sync.Mutex
	at  int64
	err error // the end: io.EOF if all was right
}

type block struct {
	index int64
	data  []byte
	lent  *artifact.Block // data is its; nil if it is ours
}

// next returns the next block, and the image's end to everybody. That is part of the image: only there
// the source says that it was right.
func (s *supply) next(ctx context.Context) (block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return block{}, ctx.Err() // since we waited
	}
	var b *artifact.Block
	if s.err == nil {
		b, s.err = s.src.Block()
		s.err = s.check(b, s.err)
	}
	if s.err != nil {
		return block{}, s.err
	}
	next := block{s.at / blockBytes, b.Data, b}
	s.at += int64(len(b.Data))
	return next, nil
}

// check makes sure that the image has the size that was announced.
func (s *supply) check(b *artifact.Block, err error) error {
	left := s.size - s.at
	if err != nil && (err != io.EOF || left == 0) { // not what it wraps
		return err
	}
	n := int64(0)
	if b != nil {
		n = int64(len(b.Data))
	}
	switch want := min(blockBytes, left); {
	case n < want:
		return fmt.Errorf("the image ends after %d of %d bytes: %w", s.at+n, s.size, io.ErrUnexpectedEOF)
	case n > want:
		return errors.New("the image goes on after its end")
	}
	return nil
}
