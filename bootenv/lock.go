package bootenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The locks of the tools. The two fw_setenv families use the same name in different directories,
// so that only a program that takes both excludes both.
const (
	ubootLock = "fw_printenv.lock"
	grubLock  = "grub-mender-grubenv-set.lock"
)

// lockPolicy says how to wait for a lock that another program holds.
type lockPolicy struct {
	poll  time.Duration
	limit time.Duration // the tools hold it for milliseconds: whoever takes longer hangs
}

var waitForLocks = lockPolicy{poll: 20 * time.Millisecond, limit: 30 * time.Second}

// locks are held files. The kernel drops them when the process ends, however it ends.
type locks []*os.File

func (l locks) release() {
	for _, f := range l {
		_ = f.Close()
	}
}

// take locks the named file in all dirs, shared for reading. A directory that is missing or
// read-only has no lock: then nobody can take it there. Reading makes no lock: where there is none,
// nobody has written since the boot.
func (p lockPolicy) take(ctx context.Context, dirs []string, name string, how int) (locks, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var held locks
	for _, dir := range dirs {
		f, err := openLock(filepath.Join(dir, name), how)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EROFS) {
			continue
		}
		if err != nil {
			held.release()
			return nil, fmt.Errorf("locking the boot environment: %w", err)
		}
		// /var/lock may be /run/lock or /run: the same file twice would wait for itself.
		if held.has(f) {
			_ = f.Close()
			continue
		}
		held = append(held, f)
		if err := p.lock(ctx, f, how); err != nil {
			held.release()
			return nil, fmt.Errorf("locking the boot environment: %w", err)
		}
	}
	return held, nil
}

// openLock opens an existing file without O_CREAT first: in a sticky directory the kernel refuses
// O_CREAT for a file of another user, even to root (fs.protected_regular).
func openLock(path string, how int) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && how == unix.LOCK_EX {
		return os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o666)
	}
	return f, err
}

func (l locks) has(f *os.File) bool {
	for _, other := range l {
		a, errA := f.Stat()
		b, errB := other.Stat()
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return true
		}
	}
	return false
}

// lock polls, as a flock that waits cannot be told to stop.
func (p lockPolicy) lock(ctx context.Context, f *os.File, how int) error {
	limit := time.NewTimer(p.limit)
	defer limit.Stop()
	poll := time.NewTicker(p.poll)
	defer poll.Stop()
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", f.Name(), context.Cause(ctx))
		case <-limit.C:
			return fmt.Errorf("%w: %s is locked", ErrBusy, f.Name())
		}
	}
}
