package slot

import (
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
	"flipside/internal/pages"
	"flipside/internal/payload"
	"flipside/internal/progress"
)

// Access is how a slot is opened.
type Access struct {
	Config Config
	FS     disk.FS       // nil is disk.OS
	Sink   progress.Sink // nil is progress.Discard
	// UpdateVolume announces to the kernel that size bytes are going to replace what is in the
	// UBI volume f; nil is the ioctl UBI_IOCVOLUP.
	UpdateVolume func(f disk.File, size int64) error
	// Zero makes n bytes of the block device f zero from at on, both in whole sectors; nil is the
	// ioctl BLKZEROOUT. It is only asked of devices that sysfs says can do it without being sent zeros.
	Zero func(f disk.File, at, n int64) error
}

// Target is an inactive slot, open, and exclusively ours until Close: nobody can mount it.
type Target struct {
	slot   Slot
	access Access
	file   disk.File
	buf    *buffers

	direct bool // past the page cache
	sector int  // the unit in which direct access reads and writes

	size    int64 // of the image, once there is one
	seed    maphash.Seed
	sums    []uint64 // hashes of its blocks, to compare the medium with; nil if nobody will
	samples []uint64 // and of the beginning of each
}

// Open opens s for writing. It never creates anything, and refuses what the kernel says is in use.
func Open(a Access, s Slot) (*Target, error) {
	if a.FS == nil {
		a.FS = disk.OS{}
	}
	if a.Sink == nil {
		a.Sink = progress.Discard
	}
	if a.UpdateVolume == nil {
		a.UpdateVolume = updateVolume
	}
	if a.Zero == nil {
		a.Zero = zeroOut
	}
	t := &Target{slot: s, access: a, sector: sectorSize, seed: maphash.MakeSeed()}
	if err := t.open(); err != nil {
		return nil, err
	}
	buf, err := newBuffers()
	if err != nil {
		return nil, errors.Join(err, t.file.Close())
	}
	t.buf = buf
	return t, nil
}

// Close gives the slot back. What was written is not lost by it, Write has synced it.
func (t *Target) Close() error {
	return errors.Join(t.file.Close(), t.buf.free())
}

// probe tries whether the kernel would let us have s, without telling anybody that it changed.
func probe(a Access, s Slot) error {
	if s.Kind != Block {
		return nil
	}
	f, err := a.FS.OpenFile(s.Device, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return a.Config.busy(s, err)
	}
	return f.Close()
}

func (t *Target) open() (err error) {
	flags := os.O_RDWR
	if t.slot.Kind == Block {
		// Without O_CREAT, O_EXCL means: only if nobody else has it mounted or claimed.
		flags |= unix.O_EXCL
		if t.openWith(flags|unix.O_DIRECT) == nil {
			if t.direct = t.takesDirect(); t.direct {
				return t.same()
			}
			_ = t.file.Close() // nothing was written
		}
	}
	if err := t.openWith(flags); err != nil {
		return t.access.Config.busy(t.slot, err)
	}
	return t.same()
}

func (t *Target) openWith(flags int) (err error) {
	t.file, err = t.access.FS.OpenFile(t.slot.Device, flags, 0)
	return err
}

// same makes sure that what was opened is what was looked at, whatever happened to the name.
func (t *Target) same() error {
	info, err := t.file.Stat()
	if err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || nodeOf(uint32(st.Mode), uint64(st.Rdev), uint64(st.Dev), uint64(st.Ino)).identity() == t.slot.node.identity() {
			return nil
		}
		err = errors.New("it became something else while it was opened")
	}
	return errors.Join(fmt.Errorf("opening %s: %w", t.slot, err), t.file.Close())
}

// takesDirect reads a little: some drivers and file systems accept O_DIRECT and then refuse to do it.
func (t *Target) takesDirect() bool {
	if n, err := unix.IoctlGetUint32(int(t.file.Fd()), unix.BLKSSZGET); err == nil && n > 0 {
		t.sector = int(n)
	}
	memory, err := pages.Alloc(unix.Getpagesize())
	if err != nil {
		return false
	}
	defer func() { _ = pages.Free(memory) }()
	if t.sector > len(memory) || t.slot.Size%int64(t.sector) != 0 {
		return false
	}
	_, err = t.file.ReadAt(memory[:t.sector], 0)
	return !errors.Is(err, syscall.EINVAL)
}

// cached reports whether the page cache is between us and the medium.
func (t *Target) cached() bool { return !t.direct && t.slot.Kind != Volume }

// zeroes reports whether the device makes zeros by itself. The kernel asks it for them in a way that
// it has to read back as zeros.
func (t *Target) zeroes() bool {
	return t.slot.Kind == Block && t.access.Config.zeroes(t.slot.node.Rdev)
}

// Fits refuses an image of size bytes that is larger than the slot, or that is none.
func (s Slot) Fits(size int64) error {
	switch {
	case size <= 0:
		return fmt.Errorf("%w: the image is empty", payload.ErrUnfit)
	case size > s.Size:
		return fmt.Errorf("%w: the image has %s, %s has %s", payload.ErrUnfit, bytesText(size), s, bytesText(s.Size))
	}
	return nil
}

// bytesText says a size exactly, and so that a person sees what it is.
func bytesText(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d bytes (%.1f MiB)", n, float64(n)/(1<<20))
}

// updateVolume tells UBI that size bytes are coming. From now on until all of them are written the
// volume counts as damaged, also after a power cut.
func updateVolume(f disk.File, size int64) error {
	return ioctlInt64(f.Fd(), unix.UBI_IOCVOLUP, size)
}

func zeroOut(f disk.File, at, n int64) error {
	return ioctlInt64s(f.Fd(), unix.BLKZEROOUT, [2]int64{at, n})
}
