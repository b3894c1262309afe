package slot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"flipside/internal/progress"
)

// Stats say what became of an image's bytes. Written and Skipped add up to its size.
type Stats struct {
	Written int64 // bytes written
	Skipped int64 // bytes that were there already
	Zeroed  int64 // of Written: bytes in blocks of nothing but zeros
}

// Write writes an image of size bytes from src to the beginning of the slot. When it returns nil,
// src came to its end without an error, and every byte is on the medium. After an error, or a
// power cut, the slot holds a mixture of old and new.
//
// There is no copy on the way: src decodes into one of a few blocks while earlier ones are
// written, past the page cache where the device allows it. Where it does not, the page cache is
// written back in windows, so that progress is what the medium has, and a cancelled write has
// little left to do. Blocks that the slot holds already are not written again, which spares flash
// and makes the second attempt fast; comparing ends by itself where nothing matches.
//
// Write emits Download, whose Done counts bytes that are on the medium as far as the kernel tells,
// and then Sync.
func (t *Target) Write(ctx context.Context, src io.Reader, size int64) (Stats, error) {
	if err := t.slot.Fits(size); err != nil {
		return Stats{}, err
	}
	t.size, t.sums = size, make([]uint32, blockCount(size))
	t.access.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: size})
	w := &writing{Target: t}
	t.dropCache() // it may hold pages that an earlier write could not bring to the medium
	if err := w.run(ctx, src); err != nil {
		return w.stats, err
	}
	t.access.Sink.Emit(progress.Event{Kind: progress.End, Phase: progress.Download, Done: size, Total: size,
		Written: w.stats.Written, Skipped: w.stats.Skipped})
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

	full chan block    // filled, in order
	free chan struct{} // one for each buffer that may be filled

	mu      sync.Mutex   // guards what follows, and keeps progress in order
	done    [blocks]bool // of the blocks from low on
	low     int64        // all blocks below are done
	stats   Stats
	data    comparing // whether to compare blocks
	zeros   comparing // and blocks of zeros, which succeed and fail for other reasons
	windows windows   // write-back, if the page cache is used
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
	var wg sync.WaitGroup
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

// put brings one block to the medium, unless it is there.
func (w *writing) put(b block, scratch []byte) error {
	w.sums[b.index] = crc32.Checksum(b.data, castagnoli)
	zero := isZero(b.data)
	if w.worth(zero) {
		same := w.holds(b, scratch)
		w.learn(zero, same)
		if same {
			return w.finished(b, Stats{Skipped: int64(len(b.data))})
		}
	}
	if err := w.store(b, scratch); err != nil {
		return err
	}
	s := Stats{Written: int64(len(b.data))}
	if zero {
		s.Zeroed = s.Written
	}
	return w.finished(b, s)
}

// holds reports whether the slot has the block already. That it cannot be read means no: writing
// is what makes a flash controller replace a bad sector.
func (w *writing) holds(b block, scratch []byte) bool {
	old := scratch[:w.sectors(len(b.data))]
	n, err := w.file.ReadAt(old, b.index*blockBytes)
	if err != nil && !errors.Is(err, io.EOF) || n < len(b.data) {
		return false
	}
	return bytes.Equal(old[:len(b.data)], b.data)
}

func (w *writing) store(b block, scratch []byte) error {
	if w.slot.Kind == Volume {
		_, err := w.file.Write(b.data)
		return err
	}
	at := b.index * blockBytes
	data := b.data
	if n := w.sectors(len(data)); n > len(data) {
		data = w.pad(data[:n], len(data), at, scratch)
	}
	_, err := w.file.WriteAt(data, at)
	return err
}

// sectors rounds n up to what direct access needs. It never reaches beyond the slot, which has a
// whole number of sectors.
func (t *Target) sectors(n int) int {
	if !t.direct {
		return n
	}
	return (n + t.sector - 1) / t.sector * t.sector
}

// pad fills data from n on with what the slot has there, as far as it can be read.
func (w *writing) pad(data []byte, n int, at int64, scratch []byte) []byte {
	first := n / w.sector * w.sector
	old := scratch[:len(data)-first]
	clear(old)
	_, _ = w.file.ReadAt(old, at+int64(first)) // zeros behind the image are as good
	copy(data[n:], old[n-first:])
	return data
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
	return nil
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
		Written: w.stats.Written, Skipped: w.stats.Skipped})
}

func (w *writing) worth(zero bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slot.Kind != Volume && w.comparing(zero).worth()
}

func (w *writing) learn(zero, same bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.comparing(zero).learn(same)
}

func (w *writing) comparing(zero bool) *comparing {
	if zero {
		return &w.zeros
	}
	return &w.data
}
