package slot

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"sync"
)

// windowBlocks are read back at a time: so many that flushing a device's cache for them costs little.
const windowBlocks = 32

// WriteAndReadBack is Write, and then reads from the medium what was written, and compares it block by
// block. An error that matches ErrReadBack says that the medium returned something else, and where. It
// emits ReadBack.
//
// Where the page cache is not in the way, reading follows writing by a window: each window is flushed
// to the medium and then read from it, while the next ones are written.
//
// What was right may be spoilt by what is written after it: a medium that is smaller than it says
// writes its end over its beginning. So in the end a sample of each block that was read early is read
// again.
func (t *Target) WriteAndReadBack(ctx context.Context, src Source, size int64) (Stats, error) {
	r := t.newReading()
	stats, err := t.write(ctx, src, size, r)
	if err != nil {
		return stats, err
	}
	return stats, r.finish(ctx)
}

// follow runs beside the writers, and reads whole windows. It is told of each block below which all are
// written, and that there are no more by moved being closed. What is left then is finish's.
func (r *reading) follow(ctx context.Context, moved <-chan int64) error {
	buffers := r.buf.behind()
	for written := range moved {
		for from := r.done / blockBytes; written-from >= windowBlocks; from += windowBlocks {
			if err := r.file.Sync(); err != nil {
				return fmt.Errorf("syncing %s: %w", r.slot, err)
			}
			if err := r.run(ctx, (from+windowBlocks)*blockBytes, buffers, func() {}); err != nil {
				return fmt.Errorf("reading back %s: %w", r.slot, err)
			}
			if r.differs >= 0 {
				return fmt.Errorf("reading back %s: %w: %s", r.slot, ErrReadBack, r.where())
			}
		}
	}
	return nil
}

// again reads the samples of the first n blocks, a few at a time: alone, each would take as long as a
// block does behind others.
func (r *reading) again(ctx context.Context, n int64) error {
	var wg sync.WaitGroup
	errs := make([]error, buffer)
	for first, buf := range r.buf.all() {
		wg.Go(func() {
			for i := int64(first); i < n && errs[first] == nil; i += buffer {
				errs[first] = r.sampled(ctx, i, buf)
			}
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// sampled looks at block i once more.
func (r *reading) sampled(ctx context.Context, i int64, buf []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	want := sample(buf[:min(blockBytes, r.size-i*blockBytes)])
	if err := r.read(buf, i*blockBytes, len(want)); err != nil {
		return err
	}
	if maphash.Bytes(r.seed, want) != r.samples[i] {
		r.wrong(i)
	}
	return nil
}

// sample is the part of a block that is looked at twice.
func sample(b []byte) []byte { return b[:min(len(b), 4<<10)] }
