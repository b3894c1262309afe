package slot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"golang.org/x/sys/unix"

	"flipside/internal/progress"
)

// ReadBack reads from the medium what Write wrote, and compares it with the image's checksum. An
// error that matches ErrReadBack says that the medium returned something else, and where. It emits
// ReadBack.
func (t *Target) ReadBack(ctx context.Context, sum [sha256.Size]byte) error {
	if t.size == 0 {
		return fmt.Errorf("reading back %s: nothing was written", t.slot)
	}
	t.dropCache()
	t.access.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.ReadBack, Total: t.size})
	r := &reading{Target: t, hash: sha256.New(), differs: -1}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("reading back %s: %w", t.slot, err)
	}
	if [sha256.Size]byte(r.hash.Sum(nil)) != sum {
		return fmt.Errorf("reading back %s: %w: %s", t.slot, ErrReadBack, r.where())
	}
	t.access.Sink.Emit(progress.Event{Kind: progress.End, Phase: progress.ReadBack, Done: t.size, Total: t.size})
	return nil
}

// dropCache makes the next reads come from the medium.
func (t *Target) dropCache() {
	if !t.cached() {
		return
	}
	forget(t.file, 0, 0)
	if t.slot.Kind == Block {
		// Advice is only followed for pages that nobody else uses; this drops the others too.
		_ = unix.IoctlSetInt(int(t.file.Fd()), unix.BLKFLSBUF, 0)
	}
}

// reading is one ReadBack: one block is read while the one before is hashed.
type reading struct {
	*Target
	hash    hash.Hash
	differs int64 // first block that is not what was written, -1 if none is
	last    int64 // last such block
}

func (r *reading) run(ctx context.Context) (err error) {
	full := make(chan block, blocks)
	free := make(chan []byte, blocks)
	for i := range blocks {
		free <- r.buf.block(i)
	}
	go func() {
		defer close(full) // the loop below waits for it
		err = r.fill(ctx, full, free)
	}()
	for b := range full {
		r.check(b)
		free <- b.data[:blockBytes]
	}
	return err
}

// fill reads the blocks in order.
func (r *reading) fill(ctx context.Context, full chan<- block, free <-chan []byte) error {
	for at := int64(0); at < r.size; at += blockBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := <-free
		n := int(min(blockBytes, r.size-at))
		got, err := r.file.ReadAt(buf[:r.sectors(n)], at)
		if got < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("at %s: %w", bytesText(at), err)
		}
		full <- block{at / blockBytes, buf[:n]}
	}
	return nil
}

func (r *reading) check(b block) {
	if r.cached() {
		forget(r.file, b.index*blockBytes, blockBytes) // nobody else wants these pages
	}
	r.hash.Write(b.data)
	if crc32.Checksum(b.data, castagnoli) != r.sums[b.index] {
		if r.differs < 0 {
			r.differs = b.index
		}
		r.last = b.index
	}
	r.access.Sink.Emit(progress.Event{Kind: progress.Advance, Phase: progress.ReadBack,
		Done: b.index*blockBytes + int64(len(b.data)), Total: r.size})
}

// where says which part of the slot is wrong.
func (r *reading) where() string {
	if r.differs < 0 {
		return "it has the blocks that were written, but not the image's checksum"
	}
	return fmt.Sprintf("between byte %d and byte %d", r.differs*blockBytes, min((r.last+1)*blockBytes, r.size)-1)
}
