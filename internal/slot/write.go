package slot

import (
	"context"
	"fmt"
	"io"
	"sync"

	"flipside/internal/progress"
)

// Stats say what became of an image's bytes. All three together are its size.
type Stats struct {
	Written int64 // bytes written
	Skipped int64 // bytes that were there already
	Zeroed  int64 // bytes that the device made zero by itself
}

// Write writes an image of size bytes from src to the beginning of the slot. When it returns nil,
// src came to its end without an error, and every byte is on the medium. After an error, or a
// power cut, the slot holds a mixture of old and new.
//
// Blocks are written as src has them, while it makes the next ones, past the page cache where the
// device allows it. Where it does not, the page cache is written back in windows, so that
// progress is what the medium has, and a cancelled write has little left to do. What the slot holds
// already is not written again, which spares flash and makes the second attempt fast; comparing ends
// by itself where nothing matches. Zeros are left to devices that can make them by themselves.
//
// Write emits Download, whose Done counts bytes that are on the medium as far as the kernel tells,
// and then Sync.
func (t *Target) Write(ctx context.Context, src Source, size int64) (Stats, error) {
	return t.write(ctx, src, size, nil)
}

// write is Write; behind, if there is one, is going to read back what is written.
func (t *Target) write(ctx context.Context, src Source, size int64, behind *reading) (Stats, error) {
	if err := t.slot.Fits(size); err != nil {
		return Stats{}, err
	}
	t.size, t.sums, t.samples = size, nil, nil
	t.access.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: size})
	w := &writing{Target: t, unit: max(compareUnit, int64(t.sector)), zeroing: t.zeroes()}
	if behind != nil {
		t.sums, t.samples = make([]uint64, blockCount(size)), make([]uint64, blockCount(size))
		if t.direct { // the page cache is not in the way
			w.follower = behind
		}
	}
	t.dropCache() // it may hold pages that an earlier write could not bring to the medium
	if err := w.run(ctx, src); err != nil {
		return w.stats, err
	}
	t.access.Sink.Emit(progress.Event{Kind: progress.End, Phase: progress.Download, Done: size, Total: size,
		Written: w.stats.Written, Skipped: w.stats.Skipped, Zeroed: w.stats.Zeroed})
	return w.stats, t.sync()
}

func blockCount(size int64) int64 { return (size + blockBytes - 1) / blockBytes }

// sync waits for the medium. An error is final: the kernel may have dropped the pages that it
// could not write, and a second call would find nothing wrong.
func (t *Target) sync() error {
	t.access.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Sync})
	if err := t.file.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", t.slot, err)
	}
	t.access.Sink.Emit(progress.Event{Kind: progress.End, Phase: progress.Sync})
	return nil
}

// writing is one Write. Its writers take one block after the other from the source and write it, none
// farther ahead of the oldest unfinished block than there is room for in done.
type writing struct {
	*Target

	source   supply
	free     chan struct{} // one for each block that may be taken
	follower *reading      // reads behind the writers; nil if nobody does
	unit     int64         // bytes that are compared, and written, together

	mu      sync.Mutex  // guards what follows, and keeps progress in order
	done    [ahead]bool // of the blocks from low on
	low     int64       // all blocks below are done
	stats   Stats
	data    comparing // whether to compare blocks
	zeros   comparing // and blocks of zeros, which succeed and fail for other reasons
	zeroing bool      // the device makes zeros by itself
	windows windows   // write-back, if the page cache is used

	moved chan int64 // to the follower: all blocks below are written
}

func (w *writing) run(parent context.Context, src Source) error {
	// The first error cancels all the others, and is the one to be told.
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)

	w.source = supply{src: src, size: w.size}
	w.free = make(chan struct{}, ahead)
	for range ahead {
		w.free <- struct{}{}
	}
	if err := w.announce(); err != nil {
		return err
	}
	var writing, behind sync.WaitGroup
	moved := make(chan int64, 1)
	if w.follower != nil {
		w.moved = moved
		behind.Go(func() {
			if err := w.follower.follow(ctx, moved); err != nil {
				cancel(err)
			}
		})
	}
	for i := range w.writers() {
		writing.Go(func() {
			if err := w.work(ctx, w.buf.scratch(i)); err != nil {
				cancel(err)
			}
		})
	}
	writing.Wait()
	close(moved)
	behind.Wait()
	if ctx.Err() == nil {
		return w.finish()
	}
	err := context.Cause(ctx)
	if parent.Err() != nil && err == context.Cause(parent) {
		return fmt.Errorf("writing %s: %w", w.slot, parent.Err())
	}
	return err
}

// announce tells UBI what is coming.
func (w *writing) announce() error {
	if w.slot.Kind != Volume {
		return nil
	}
	if err := w.access.UpdateVolume(w.file, w.size); err != nil {
		return w.access.Config.busy(w.slot, err)
	}
	return nil
}

// writers: a volume takes its bytes one after the other, and so does the page cache, behind which
// two windows are in flight.
func (w *writing) writers() int {
	if w.direct {
		return writers
	}
	return 1
}

// work writes blocks until there are no more.
func (w *writing) work(ctx context.Context, scratch []byte) error {
	for {
		select {
		case <-ctx.Done():
		case <-w.free:
		}
		if ctx.Err() != nil {
			return ctx.Err() // also if both were the case
		}
		b, err := w.source.next(ctx)
		if err == io.EOF {
			w.free <- struct{}{} // for the others to see the end too
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.put(b, scratch); err != nil {
			return fmt.Errorf("writing %s at %s: %w", w.slot, bytesText(b.index*blockBytes), err)
		}
		b.lent.Release()
	}
}

// finished notes that a block is done, and tells how far all are.
func (w *writing) finished(b block, s Stats) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Written += s.Written
	w.stats.Skipped += s.Skipped
	w.stats.Zeroed += s.Zeroed
	w.done[b.index%ahead] = true
	if b.index != w.low {
		return nil // an earlier block is still on its way
	}
	for w.done[w.low%ahead] {
		w.done[w.low%ahead] = false
		w.low++
		w.free <- struct{}{} // has room for all there are
	}
	safe := min(w.low*blockBytes, w.size)
	if w.cached() {
		var err error
		if safe, err = w.windows.advance(w.file, safe); err != nil {
			return err
		}
	}
	w.tell(safe)
	w.pass(w.low)
	return nil
}

// pass tells the follower how many blocks are written. It waits for nobody: what the follower has not
// looked at yet is out of date.
func (w *writing) pass(low int64) {
	if w.moved == nil {
		return
	}
	select {
	case <-w.moved:
	default:
	}
	w.moved <- low // has room: only we send, one at a time
}

// finish brings what is left in the page cache to the medium.
func (w *writing) finish() error {
	if !w.cached() {
		return nil
	}
	if err := w.windows.finish(w.file, w.size); err != nil {
		return fmt.Errorf("writing %s: %w", w.slot, err)
	}
	w.tell(w.size)
	return nil
}

func (w *writing) tell(safe int64) {
	w.access.Sink.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: safe, Total: w.size,
		Written: w.stats.Written, Skipped: w.stats.Skipped, Zeroed: w.stats.Zeroed})
}
