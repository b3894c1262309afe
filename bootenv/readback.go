package bootenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
)

// directUnit is what addresses and lengths of direct I/O have to be multiples of: enough for
// every logical block size in use.
const directUnit = 4096

// readUncached reads n bytes from the medium itself. What the page cache says is no proof of a
// write, and another node of the same device (/dev/mmcblk0 and /dev/mmcblk0p1) has another cache.
func readUncached(fsys disk.FS, path string, offset int64, n int) ([]byte, error) {
	if data, err := readDirect(fsys, path, offset, n); err == nil {
		return data, nil
	}
	// tmpfs and some others have no direct I/O. The second way also says what is wrong, if
	// something is.
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	dropCache(f)
	data, err := readFull(f, offset, make([]byte, n))
	return data, errors.Join(err, f.Close())
}

func readDirect(fsys disk.FS, path string, offset int64, n int) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	skip := int(offset % directUnit)
	buf := aligned((skip + n + directUnit - 1) / directUnit * directUnit)
	got, err := f.ReadAt(buf, offset-int64(skip))
	if got >= skip+n {
		err = nil // the end of the file may come within the last unit
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return buf[skip : skip+n], nil
}

// aligned returns n bytes whose address is a multiple of directUnit.
func aligned(n int) []byte {
	buf := make([]byte, n+directUnit)
	over := int(uintptr(unsafe.Pointer(&buf[0])) % directUnit)
	return buf[directUnit-over:][:n]
}

// dropCache asks the kernel to forget clean pages; if it does not, there is no better way.
func dropCache(f disk.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeDevice != 0 {
		_ = unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
	}
}

func readFull(f io.ReaderAt, offset int64, buf []byte) ([]byte, error) {
	n, err := f.ReadAt(buf, offset)
	if n == len(buf) {
		return buf, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("it ends after %d of %d bytes", n, len(buf))
	}
	return nil, err
}

// verify compares what a medium has with what was written.
func verify(what string, read func() ([]byte, error), want []byte) error {
	got, err := read()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrReadBack, what, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: %s", ErrReadBack, what)
	}
	return nil
}
