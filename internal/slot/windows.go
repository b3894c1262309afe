package slot

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
)

// windowBytes of dirty pages are written back at a time, while the next ones are filled.
const windowBytes = 4 << 20

// windows write the page cache back behind a Write, and drop what they have written: otherwise a
// small device fills its memory with pages that nobody reads again, shows 100 %, and hangs.
type windows struct {
	started int64 // write-back was begun up to here
	synced  int64 // and has ended up to here
}

// advance is told that everything before written is in the page cache, and returns what is on the
// medium.
func (w *windows) advance(f disk.File, written int64) (synced int64, err error) {
	if written-w.started < windowBytes {
		return w.synced, nil
	}
	if err := startWriteBack(f, w.started, written-w.started); err != nil {
		return w.synced, err
	}
	if err := w.waitUntil(f, w.started); err != nil {
		return w.synced, err
	}
	w.started = written
	return w.synced, nil
}

// finish waits for everything.
func (w *windows) finish(f disk.File, size int64) error {
	if err := startWriteBack(f, w.started, size-w.started); err != nil {
		return err
	}
	w.started = size
	return w.waitUntil(f, size)
}

func (w *windows) waitUntil(f disk.File, end int64) error {
	if end == w.synced {
		return nil
	}
	if err := waitWriteBack(f, w.synced, end-w.synced); err != nil {
		return err
	}
	forget(f, 0, end) // from the beginning, as in reading.check: comparing reads ahead too
	w.synced = end
	return nil
}

func startWriteBack(f disk.File, at, n int64) error {
	if n == 0 {
		return nil
	}
	err := syncRange(f, at, n, unix.SYNC_FILE_RANGE_WRITE)
	if unsupported(err) {
		return nil // waitWriteBack does it
	}
	return err
}

// waitWriteBack returns when the range is on the medium. Its error must not be passed over: the
// kernel reports it once, and a later Sync would find nothing wrong.
func waitWriteBack(f disk.File, at, n int64) error {
	err := syncRange(f, at, n, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	if unsupported(err) {
		return f.Sync()
	}
	return err
}

func syncRange(f disk.File, at, n int64, flags int) error {
	for {
		err := unix.SyncFileRange(int(f.Fd()), at, n, flags)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sync_file_range", err)
		}
	}
}

// unsupported: no kernel support, or nothing behind the descriptor that could be synced so.
func unsupported(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, unix.ESPIPE) || errors.Is(err, unix.EBADF)
}

// forget drops clean pages from the cache. It is advice, and may be ignored.
func forget(f disk.File, at, n int64) {
	_ = unix.Fadvise(int(f.Fd()), at, n, unix.FADV_DONTNEED)
}
