package deployment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// ErrStranger means that the process that the lock file names does not hold the lock: it is in
// another container, or the file says nothing of use.
var ErrStranger = errors.New("the process that works cannot be found")

// Process returns the holder's process, once it is certain that this one, and no other that came by
// its number, holds the lock in dir. A signal sent through it reaches this process or none.
// proc is where the kernel shows its processes, /proc.
func (h *Holder) Process(dir, proc string) (*os.Process, error) {
	if h.PID <= 0 {
		return nil, ErrStranger
	}
	p, err := os.FindProcess(h.PID) // by a handle, where the kernel has these: before it is verified
	if err != nil {
		return nil, err
	}
	holds, err := holdsLock(filepath.Join(proc, strconv.Itoa(h.PID)), filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", h.PID, err)
	}
	if !holds {
		return nil, fmt.Errorf("%w: process %d does not hold the lock", ErrStranger, h.PID)
	}
	return p, nil
}

// holdsLock says whether one of the process's descriptors is the lock's, and locked. The kernel does
// not tell the owner of such a lock, but shows the locks of a descriptor (proc(5), fdinfo).
func holdsLock(process, lock string) (bool, error) {
	want, err := os.Stat(lock)
	if err != nil {
		return false, err
	}
	entries, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(process, "fd", e.Name()))
		if err != nil || !os.SameFile(info, want) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(process, "fdinfo", e.Name()))
		if err == nil && bytes.Contains(text, []byte("\nlock:")) {
			return true, nil
		}
	}
	return false, nil
}
