package slot

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"flipside/internal/progress"
)

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

// reading is one pass over what was written: one block is read while the one before is compared.
//
// That what was written is the image, its SHA-256 has said on the way. Here a block is compared by a
// hash of 64 bits, with a seed that is new in each process: a medium does not pick its errors by that,
// and where processors have no instructions for SHA-256 a second one would take longer than all else.
type reading struct {
	*Target
	done int64 // bytes read and compared

	mu      sync.Mutex
	differs int64 // first block that is not what was written, -1 if none is
	last    int64 // last such block
}

func (t *Target) newReading() *reading {
	return &reading{Target: t, differs: -1}
}

// finish reads what was not read yet, and decides.
func (r *reading) finish(ctx context.Context) error {
	r.dropCache()
	behind := r.done / blockBytes
	r.access.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.ReadBack, Total: r.size})
	err := r.run(ctx, r.size, r.buf.all(), r.tell)
	if err == nil {
		err = r.again(ctx, behind)
	}
	if err != nil {
		return fmt.Errorf("reading back %s: %w", r.slot, err)
	}
	if r.differs >= 0 {
		return fmt.Errorf("reading back %s: %w: %s", r.slot, ErrReadBack, r.where())
	}
	r.access.Sink.Emit(progress.Event{Kind: progress.End, Phase: progress.ReadBack, Done: r.size, Total: r.size})
	return nil
}

// run reads on up to end, a whole number of blocks or the image's size.
func (r *reading) run(ctx context.Context, end int64, buffers [][]byte, tell func()) (err error) {
	full := make(chan block, len(buffers))
	free := make(chan []byte, len(buffers))
	for _, b := range buffers {
		free <- b
	}
	go func() {
		defer close(full) // the loop below waits for it
		err = r.fill(ctx, r.done, end, full, free)
	}()
	for b := range full {
		r.check(b)
		r.done = b.index*blockBytes + int64(len(b.data))
		free <- b.data[:blockBytes]
		tell()
	}
	return err
}

// fill reads the blocks from at to end in order.
func (r *reading) fill(ctx context.Context, at, end int64, full chan<- block, free <-chan []byte) error {
	for ; at < end; at += blockBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := <-free
		n := int(min(blockBytes, end-at))
		if err := r.read(buf, at, n); err != nil {
			return err
		}
		full <- block{index: at / blockBytes, data: buf[:n]}
	}
	return nil
}

// read reads n bytes, all of them.
func (r *reading) read(buf []byte, at int64, n int) error {
	got, err := r.file.ReadAt(buf[:r.sectors(n)], at)
	if got >= n {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("at %s: %w", bytesText(at), err)
}

func (r *reading) check(b block) {
	if r.cached() {
		// Nobody else wants these pages. From the beginning: what reaches from one block into the next, as
		// the kernel reads ahead, is only dropped if all of it is asked for.
		forget(r.file, 0, (b.index+1)*blockBytes)
	}
	if maphash.Bytes(r.seed, b.data) != r.sums[b.index] {
		r.wrong(b.index)
	}
}

func (r *reading) wrong(index int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.differs < 0 {
		r.differs = index
	}
	r.differs, r.last = min(r.differs, index), max(r.last, index)
}

func (r *reading) tell() {
	r.access.Sink.Emit(progress.Event{Kind: progress.Advance, Phase: progress.ReadBack, Done: r.done, Total: r.size})
}

// where says which part of the slot is wrong.
func (r *reading) where() string {
	return fmt.Sprintf("between byte %d and byte %d", r.differs*blockBytes, min((r.last+1)*blockBytes, r.size)-1)
}
