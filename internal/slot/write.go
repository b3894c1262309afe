package slot

import (
	"context"
	"errors"
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
// src decodes into one of a few blocks while earlier ones are written, past the page cache where
// the device allows it. Where it does not, the page cache is written back in windows, so that
// progress is what the medium has, and a cancelled write has little left to do. What the slot holds
// already is not written again, which spares flash and makes the second attempt fast; comparing ends
// by itself where nothing matches. Zeros are left to devices that can make them by themselves.
//
// Write emits Download, whose Done counts bytes that are on the medium as far as the kernel tells,
// and then Sync.
func (t *Target) Write(ctx context.Context, src io.Reader, size int64) (Stats, error) {
	return t.write(ctx, src, size, nil)
}

// write is Write; follow, if there is one, runs beside it, and ends when all blocks are written.
func (t *Target) write(ctx context.Context, src io.Reader, size int64, follow follower) (Stats, error) {
	if err := t.slot.Fits(size); err != nil {
		return Stats{}, err
	}
	t.size, t.sums, t.samples = size, make([]uint64, blockCount(size)), make([]uint64, blockCount(size))
	t.access.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: size})
	w := &writing{Target: t, follow: follow, unit: max(compareUnit, int64(t.sector)), zeroing: t.zeroes()}
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

// writing is one Write: a producer fills blocks, writers empty them. Block i is in buffer i modulo
// blocks, so that nothing gets farther ahead of the oldest unfinished block than there are buffers.
type writing struct {
	*Target

	full   chan block    // filled, in order
	free   chan struct{} // one for each buffer that may be filled
	follow follower      // nil if nobody reads behind the writers
	unit   int64         // bytes that are compared, and written, together

	mu      sync.Mutex   // guards what follows, and keeps progress in order
	done    [blocks]bool // of the blocks from low on
	low     int64        // all blocks below are done
	stats   Stats
	data    comparing // whether to compare blocks
	zeros   comparing // and blocks of zeros, which succeed and fail for other reasons
	zeroing bool      // the device makes zeros by itself
	windows windows   // write-back, if the page cache is used

	moved chan int64 // to the follower: all blocks below are written
}

type block struct {
	index int64
	data  []byte
}

func (w *writing) run(parent context.Context, src io.Reader) error {
	// The first error cancels all the others, and is the one to be told.
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)

	w.full = make(chan block, blocks)
	w.free = make(chan struct{}, blocks)
	for range blocks {
		w.free <- struct{}{}
	}
	if err := w.announce(); err != nil {
		return err
	}
	var wg, behind sync.WaitGroup
	moved := make(chan int64, 1)
	if w.follow != nil {
		w.moved = moved
		behind.Go(func() {
			if err := w.follow(ctx, moved); err != nil {
				cancel(err)
			}
		})
	}
	for i := range w.writers() {
		wg.Go(func() {
			if err := w.empty(ctx, w.buf.scratch(i)); err != nil {
				cancel(err)
			}
		})
	}
	if err := w.fill(ctx, src); err != nil {
		cancel(err)
	}
	close(w.full)
	wg.Wait()
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

// fill reads src to its end. The end is part of it: only there src says that it was right.
func (w *writing) fill(ctx context.Context, src io.Reader) error {
	for at := int64(0); at < w.size; {
		select {
		case <-ctx.Done():
		case <-w.free:
		}
		if ctx.Err() != nil {
			return ctx.Err() // also if both were the case
		}
		index := at / blockBytes
		buf := w.buf.block(int(index % blocks))[:min(blockBytes, w.size-at)]
		n, err := io.ReadFull(src, buf)
		if err == io.EOF || err == io.ErrUnexpectedEOF { // ReadFull's own, not what src wrapped
			return fmt.Errorf("the image ends after %d of %d bytes: %w", at+int64(n), w.size, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		w.full <- block{index, buf} // has room for all there are
		at += int64(n)
	}
	return ended(src)
}

// ended expects the end of src.
func ended(src io.Reader) error {
	var more [1]byte
	_, err := io.ReadFull(src, more[:])
	switch err {
	case nil:
		return errors.New("the image goes on after its end")
	case io.EOF:
		return nil
	}
	return err
}

// empty writes blocks until there are no more.
func (w *writing) empty(ctx context.Context, scratch []byte) error {
	for b := range w.full {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.put(b, scratch); err != nil {
			return fmt.Errorf("writing %s at %s: %w", w.slot, bytesText(b.index*blockBytes), err)
		}
	}
	return nil
}

// finished notes that a block is done, and tells how far all are.
func (w *writing) finished(b block, s Stats) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Written += s.Written
	w.stats.Skipped += s.Skipped
	w.stats.Zeroed += s.Zeroed
	w.done[b.index%blocks] = true
	if b.index != w.low {
		return nil // an earlier block is still on its way
	}
	for w.done[w.low%blocks] {
		w.done[w.low%blocks] = false
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
