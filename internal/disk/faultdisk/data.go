package faultdisk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

const sectorSize = 512

// mark is a moment in the life of a regular file, and what it takes to go back there. A file has
// one for its last Sync, and one for each truncation since.
type mark struct {
	size  int64            // of the file at that moment
	grown []int64          // sizes that it had since, up to the next mark
	old   map[int64][]byte // sectors that were changed since, up to the next mark, as they were
	// doomed are sectors of old that a failed Sync has dropped: no Sync brings them back.
	doomed map[int64]bool

	// Of a truncation: what it took away, and the size before.
	cut  map[int64][]byte
	from int64
}

func newMark(size int64) *mark {
	return &mark{size: size, old: map[int64][]byte{}, doomed: map[int64]bool{}, cut: map[int64][]byte{}}
}

func (n *node) last() *mark { return n.marks[len(n.marks)-1] }

func (n *node) size() (int64, error) {
	info, err := n.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// sectors reads whole sectors as they are now; what is beyond the end is zero.
func (n *node) sectors(first, end int64) ([]byte, error) {
	data := make([]byte, (end-first)*sectorSize)
	_, err := n.file.ReadAt(data, first*sectorSize)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data, err
}

func sectorRange(offset int64, length int) (first, end int64) {
	return offset / sectorSize, (offset + int64(length) + sectorSize - 1) / sectorSize
}

// willWrite remembers what a write is about to change.
func (d *FS) willWrite(n *node, data []byte, offset int64) error {
	if len(data) == 0 {
		return nil
	}
	size, err := n.size()
	if err != nil {
		return err
	}
	first, end := sectorRange(offset, len(data))
	before, err := n.sectors(first, end)
	if err != nil {
		return err
	}
	after := slices.Clone(before)
	copy(after[offset-first*sectorSize:], data)
	m := n.last()
	for s := first; s < end; s++ {
		delete(m.doomed, s)
		if _, known := m.old[s]; known {
			continue
		}
		at := (s - first) * sectorSize
		old := before[at : at+sectorSize]
		if bytes.Equal(old, after[at:at+sectorSize]) {
			continue // kept or lost, it is the same
		}
		if err := d.remember(m.old, s, old); err != nil {
			return err
		}
	}
	if grown := offset + int64(len(data)); grown > size {
		m.grown = append(m.grown, grown)
	}
	return nil
}

func (d *FS) remember(sectors map[int64][]byte, s int64, old []byte) error {
	if d.unsynced += sectorSize; d.unsynced > MaxUnsynced {
		return ErrUnsynced
	}
	sectors[s] = old
	return nil
}

// willTruncate remembers what a truncation is about to change.
func (d *FS) willTruncate(n *node, to int64) error {
	size, err := n.size()
	if err != nil {
		return err
	}
	if to >= size {
		if to > size {
			n.last().grown = append(n.last().grown, to)
		}
		return nil
	}
	first, end := to/sectorSize, (size+sectorSize-1)/sectorSize
	before, err := n.sectors(first, end)
	if err != nil {
		return err
	}
	m := newMark(to)
	m.from = size
	for s := first; s < end; s++ {
		at := (s - first) * sectorSize
		if err := d.remember(m.cut, s, before[at:at+sectorSize]); err != nil {
			return err
		}
	}
	n.marks = append(n.marks, m)
	return nil
}

// didSync: the medium has the file, but for what an earlier Sync has dropped.
func (d *FS) didSync(n *node) error {
	size, err := n.size()
	if err != nil {
		return err
	}
	fresh := newMark(size)
	for _, m := range slices.Backward(n.marks) {
		d.unsynced -= (len(m.old) + len(m.cut)) * sectorSize
		for s := range m.doomed {
			fresh.old[s], fresh.doomed[s] = m.old[s], true // the oldest one counts, it comes last
		}
	}
	d.unsynced += len(fresh.old) * sectorSize
	n.marks = []*mark{fresh}
	return nil
}

// failedSync: of what the medium does not have, every other sector gets there, which promises
// nothing. The kernel takes the rest for clean.
func (n *node) failedSync() {
	for _, m := range n.marks {
		for i, s := range slices.Sorted(maps.Keys(m.old)) {
			if i%2 == 0 {
				m.doomed[s] = true
			}
		}
	}
}

// Evict makes all reads show what the medium has in place of what a failed Sync has dropped: the
// kernel may forget those pages at any time.
func (d *FS) Evict() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.nodes {
		if err := n.evict(); err != nil {
			return fmt.Errorf("evicting %s: %w", n.path(), err)
		}
	}
	return nil
}

func (n *node) evict() error {
	if !slices.ContainsFunc(n.marks, func(m *mark) bool { return len(m.doomed) > 0 }) {
		return nil
	}
	f, err := n.openToWrite()
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(n.marks) { // the oldest one counts
		_, putErr := putBack(f, m.old, func(s int64) bool { return m.doomed[s] })
		err = errors.Join(err, putErr)
	}
	return errors.Join(err, f.Close())
}

// openToWrite opens also a file that has no name any more.
func (n *node) openToWrite() (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", n.file.Fd()), os.O_RDWR, 0)
}

// fromMedium puts into p, which was read at offset, what the medium has in place of doomed sectors.
func (n *node) fromMedium(p []byte, offset int64) {
	for _, m := range slices.Backward(n.marks) { // the oldest one counts
		for s := range m.doomed {
			at := s*sectorSize - offset
			if at+sectorSize <= 0 || at >= int64(len(p)) {
				continue
			}
			copy(p[max(at, 0):], m.old[s][max(-at, 0):])
		}
	}
}

// settle makes the content what a power cut could have left, and says what was lost.
func (n *node) settle(dice *dice) (what string, err error) {
	if m := n.marks[0]; len(n.marks) == 1 && len(m.old)+len(m.grown) == 0 {
		return "", nil
	}
	now, err := n.size()
	if err != nil {
		return "", err
	}
	f, err := n.openToWrite()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	truncations := dice.some(len(n.marks) - 1)
	for _, m := range slices.Backward(n.marks[truncations+1:]) {
		for _, sectors := range []map[int64][]byte{m.old, m.cut} {
			if _, err := putBack(f, sectors, func(int64) bool { return true }); err != nil {
				return "", err
			}
		}
	}
	m := n.marks[truncations]
	lost, err := putBack(f, m.old, func(s int64) bool { return m.doomed[s] || !dice.keep() })
	if err != nil {
		return "", err
	}
	size := append([]int64{m.size}, m.grown...)[dice.some(len(m.grown))]
	if undone := len(n.marks) - 1 - truncations; lost+undone > 0 || size != now {
		what = fmt.Sprintf("%d of %d unsynced sectors and %d of %d truncations lost, %d bytes of %d",
			lost, len(m.old), undone, len(n.marks)-1, size, now)
	}
	return what, f.Truncate(size)
}

// putBack writes old sectors, those that lose says.
func putBack(f *os.File, sectors map[int64][]byte, lose func(int64) bool) (lost int, err error) {
	for _, s := range slices.Sorted(maps.Keys(sectors)) {
		if !lose(s) {
			continue
		}
		lost++
		if _, err := f.WriteAt(sectors[s], s*sectorSize); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// copyOut makes a new file with the content of one that has no name any more.
func (n *node) copyOut(path string) error {
	to, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, n.mode.Perm())
	if err != nil {
		return err
	}
	size, err := n.size()
	if err == nil {
		_, err = io.Copy(to, io.NewSectionReader(n.file, 0, size))
	}
	return errors.Join(err, to.Close())
}
