package slot_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/slot"
)

const followed = 70 // blocks: two windows, and what is left

// TestFollow: what is read while others are written was flushed before, and all of it is read once;
// in the end a sample of each block that was read early is read again.
func TestFollow(t *testing.T) {
	m := newMedium(followed * mib)
	dev, access := m.slot(t)
	m.onRead = func(at int64, p []byte) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if end := at + int64(len(p)); !bytes.Equal(m.content[at:end], m.durable[at:end]) {
			t.Errorf("%d bytes at %d were read before they were flushed", len(p), at)
		}
		return nil
	}
	image := noise(followed*mib-300, 3)
	if _, err := put(t, access, dev, image); err != nil {
		t.Fatal(err)
	}
	whole, samples := map[int64]int{}, map[int64]int{}
	for _, r := range m.reads {
		if r.n > 4096 {
			whole[r.at/mib]++
		} else {
			samples[r.at/mib]++
		}
	}
	twice := 0
	for i := range int64(followed) {
		if whole[i] < 1 {
			t.Errorf("block %d was not read back", i)
		}
		if samples[i] > 0 {
			twice++
		}
	}
	if twice < 64 { // and what is padded
		t.Errorf("samples of %d blocks were read; want those of two windows", twice)
	}
	if m.syncs != 3 {
		t.Errorf("%d syncs; want one for each window, and the last", m.syncs)
	}
}

// TestFollowFaults: whatever is wrong with the medium is found, early if it is there early.
func TestFollowFaults(t *testing.T) {
	const never = 1 << 20
	for name, test := range map[string]struct {
		arrange func(m *medium)
		want    error
		text    string
		most    int // writes, at most
	}{
		"a block that is not written": {func(m *medium) { m.spoilAt(5) }, slot.ErrReadBack, "between byte 5242880 and byte 6291455", never},
		"one in the last window":      {func(m *medium) { m.spoilAt(68) }, slot.ErrReadBack, "between byte 71303168 and byte 72351743", never},
		"one that cannot be read": {func(m *medium) {
			m.onRead = func(at int64, p []byte) error {
				m.mu.Lock()
				defer m.mu.Unlock()
				if at == 40*mib && m.syncs > 0 {
					return syscall.EIO
				}
				return nil
			}
		}, syscall.EIO, "reading back slot B", never},
		"a flush that fails": {func(m *medium) { m.onSync = func() error { return syscall.EIO } }, syscall.EIO, "syncing slot B", never},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMedium(followed * mib)
			test.arrange(m)
			dev, access := m.slot(t)
			_, err := put(t, access, dev, noise(followed*mib, 3))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("WriteAndReadBack: %v; want %v with %q", err, test.want, test.text)
			}
		})
	}
}

// spoilAt keeps block i from being what was written.
func (m *medium) spoilAt(i int64) {
	var once sync.Once
	m.onRead = func(at int64, p []byte) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if at == i*mib && m.syncs > 0 {
			once.Do(func() { m.content[at+1000] ^= 1 })
		}
		return nil
	}
}

// TestFollowStopsEarly: a medium that is broken at its beginning is not written to its end.
func TestFollowStopsEarly(t *testing.T) {
	m := newMedium(mib)
	big := &repeating{medium: m, block: noise(mib, 7)} // it never has what was written
	dev, access := m.slot(t)
	dev.Size, access.FS = 4096*mib, big
	target, err := slot.Open(access, dev)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	src := &counting{r: repeat(noise(mib, 8), 4096)}
	_, err = target.WriteAndReadBack(t.Context(), blocks{src}, 4096*mib)
	if !errors.Is(err, slot.ErrReadBack) {
		t.Errorf("WriteAndReadBack: %v; want ErrReadBack", err)
	}
	if n := src.n.Load(); n == 4096*mib {
		t.Error("all of the image was written; want an early end")
	}
}

// small is a medium that is smaller than it says: its end is its beginning. What would overwrite the
// beginning waits until the first window was read.
type small struct {
	*medium
	size int64
	read chan struct{}
}

func (s *small) OpenFile(name string, _ int, _ fs.FileMode) (disk.File, error) {
	return &smallFile{mediumFile{s.medium, name}, s}, nil
}

type smallFile struct {
	mediumFile
	s *small
}

func (f *smallFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.mediumFile.ReadAt(p, at%f.s.size)
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if at == 31*mib && f.s.syncs == 1 {
		close(f.s.read)
	}
	return n, err
}

func (f *smallFile) WriteAt(p []byte, at int64) (int, error) {
	if at >= f.s.size {
		<-f.s.read
	}
	return f.mediumFile.WriteAt(p, at%f.s.size)
}

// TestFollowSmallMedium: all blocks are right when they are read, and only later overwritten.
func TestFollowSmallMedium(t *testing.T) {
	const size = 40 * mib
	m := newMedium(size)
	dev, access := m.slot(t)
	dev.Size, access.FS = 2*size, &small{m, size, make(chan struct{})}
	_, err := put(t, access, dev, noise(size+30*mib, 3))
	if !errors.Is(err, slot.ErrReadBack) || !strings.Contains(err.Error(), "between byte 0 and byte 31457279") {
		t.Errorf("WriteAndReadBack: %v; want ErrReadBack, and where", err)
	}
}

// TestLoopFollow: the same with a real device, and with a spoilt one.
func TestLoopFollow(t *testing.T) {
	c, p := loops(t, followed*mib)
	image := noise(followed*mib, 4)
	if _, err := put(t, slot.Access{Config: c}, p.Inactive(), image); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(hosttest.Read(t, c.PartB), image) {
		t.Error("the device does not have the image")
	}
	for name, at := range map[string]int64{"early": 3 * mib, "late": 67 * mib} {
		t.Run(name, func(t *testing.T) {
			rotten := &rotting{do: func() { spoil(t, c.PartB, at) }}
			image[at] ^= 1 // so that it is written
			_, err := put(t, slot.Access{Config: c, FS: rotten}, p.Inactive(), image)
			if !errors.Is(err, slot.ErrReadBack) {
				t.Errorf("WriteAndReadBack: %v; want ErrReadBack", err)
			}
		})
	}
}

// rotting does something bad to the medium after each flush.
type rotting struct {
	disk.OS
	do func()
}

func (r *rotting) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := r.OS.OpenFile(name, flag, perm)
	return &rottingFile{f, r.do}, err
}

type rottingFile struct {
	disk.File
	do func()
}

func (f *rottingFile) Sync() error {
	err := f.File.Sync()
	f.do()
	return err
}
