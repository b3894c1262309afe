package slot

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"
)

// put brings one block to the medium, as far as it is not there.
func (w *writing) put(b block, scratch []byte) error {
	if w.sums != nil {
		w.sums[b.index] = maphash.Bytes(w.seed, b.data)
		w.samples[b.index] = maphash.Bytes(w.seed, sample(b.data))
	}
	zero := isZero(b.data)
	if w.worth(zero) {
		var d differences
		w.compare(b, scratch, &d)
		w.learn(zero, d.same >= int64(len(b.data))/4)
		if d.same > 0 && (d.n == 0 || !zero || !w.mayZero()) {
			return w.putDifferences(b, &d, scratch)
		}
	}
	if zero {
		if done, err := w.zero(b); done || err != nil {
			return err
		}
	}
	if err := w.store(b, 0, int64(len(b.data)), scratch); err != nil {
		return err
	}
	return w.finished(b, Stats{Written: int64(len(b.data))})
}

func (w *writing) putDifferences(b block, d *differences, scratch []byte) error {
	for _, p := range d.pieces[:d.n] {
		if err := w.store(b, p.from, p.to, scratch); err != nil {
			return err
		}
	}
	return w.finished(b, Stats{Written: int64(len(b.data)) - d.same, Skipped: d.same})
}

// compare finds where the slot does not have the block. That it cannot be read means nowhere: writing
// is what makes a flash controller replace a bad sector.
func (w *writing) compare(b block, scratch []byte, d *differences) {
	old := scratch[:w.sectors(len(b.data))]
	n, err := w.file.ReadAt(old, b.index*blockBytes)
	if err != nil && !errors.Is(err, io.EOF) || n < len(b.data) {
		return
	}
	if old = old[:len(b.data)]; bytes.Equal(old, b.data) {
		d.same = int64(len(b.data))
		return
	}
	d.find(old, b.data, w.unit)
}

// zero lets the device make the block zero, if it can.
func (w *writing) zero(b block) (done bool, err error) {
	n := int64(len(b.data))
	if !w.mayZero() || n%int64(w.sector) != 0 {
		return false, nil
	}
	if err := w.access.Zero(w.file, b.index*blockBytes, n); err != nil {
		w.mustWrite() // it says so, whatever sysfs says
		return false, nil
	}
	return true, w.finished(b, Stats{Zeroed: n})
}

// store writes the bytes of a block between from and to, whole units or up to its end.
func (w *writing) store(b block, from, to int64, scratch []byte) error {
	if w.slot.Kind == Volume {
		_, err := w.file.Write(b.data)
		return err
	}
	at := b.index*blockBytes + from
	data := b.data[from:to]
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

func (w *writing) mayZero() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.zeroing
}

func (w *writing) mustWrite() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.zeroing = false
}
