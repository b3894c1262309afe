package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
)

const extension = ".jsonl"

// numbers are those of the runs in dir, in their order.
func numbers(dir string) []int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []int
	for _, e := range entries {
		digits, ours := strings.CutSuffix(e.Name(), extension)
		n, err := strconv.Atoi(digits)
		if ours && err == nil && n > 0 && filepath.Base(path(dir, n)) == e.Name() {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

func path(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("%08d%s", n, extension)) }

// GiveWay removes all runs but the newest one, for somebody who needs the room. It says whether
// there was one to remove.
func GiveWay(fsys disk.FS, dir string) bool {
	all := numbers(dir)
	removed := false
	for _, n := range all[:max(len(all)-1, 0)] {
		removed = fsys.Remove(path(dir, n)) == nil || removed
	}
	return removed
}

// file is the file of a run, while it is written.
type file struct {
	fsys   disk.FS
	dir    string
	number int
	f      disk.File
	offset int64
	named  bool // the directory was synced
}

// create makes the next file in dir, and removes what is then too old.
func create(fsys disk.FS, dir string) (*file, error) {
	if err := fsys.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	w := &file{fsys: fsys, dir: dir, number: 1}
	all := numbers(dir)
	if len(all) > 0 {
		w.number = all[len(all)-1] + 1
	}
	for len(all) >= Keep {
		if err := fsys.Remove(path(dir, all[0])); err != nil {
			return nil, err
		}
		all = all[1:]
	}
	var err error
	for {
		w.f, err = fsys.OpenFile(path(dir, w.number), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, syscall.ENOSPC) || !w.removeOldest() {
			return w, err
		}
	}
}

// removeOldest makes room; false if there is nothing left but this file.
func (w *file) removeOldest() bool {
	all := numbers(w.dir)
	return len(all) > 0 && all[0] < w.number && w.fsys.Remove(path(w.dir, all[0])) == nil
}

// append writes data behind what was written with success: over what a failed write left. On a full
// medium older runs give way.
func (w *file) append(data []byte) error {
	for {
		_, err := w.f.WriteAt(data, w.offset)
		if err == nil {
			w.offset += int64(len(data))
			return nil
		}
		if !errors.Is(err, syscall.ENOSPC) || !w.removeOldest() {
			return err
		}
	}
}

// sync is best effort.
func (w *file) sync() {
	if w.f.Sync() == nil && !w.named {
		w.named = w.fsys.SyncDir(w.dir) == nil
	}
}

// free is how many bytes the file system of dir has to spare.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		switch err := unix.Statfs(dir, &st); err {
		case nil:
			return int64(st.Bavail) * int64(st.Bsize), nil
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}
