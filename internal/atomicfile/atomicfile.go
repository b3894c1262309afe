// Package atomicfile replaces whole files so that after a power cut the old or the new content is
// there, never a mixture and never nothing.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"flipside/internal/disk"
)

// ErrUnsettled means that a Write failed so late that after a power cut the old or the new content
// is there. Where an error is not this one, the old content is.
var ErrUnsettled = errors.New("the old or the new content is there")

// Write replaces the file name by data. When it returns nil, the new content is on the medium.
// The temporary file is name + ".new", in the same directory; one that a power cut left behind is
// overwritten.
func Write(fsys disk.FS, name string, data []byte, perm fs.FileMode) error {
	temp := name + ".new"
	if err := writeSynced(fsys, temp, data, perm); err != nil {
		_ = fsys.Remove(temp) // best effort: the next Write truncates it anyway
		return err            // it names the file
	}
	if err := fsys.Rename(temp, name); err != nil {
		return unsettled{err}
	}
	// The directory too: without it the rename may be lost with the power.
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return unsettled{fmt.Errorf("syncing the directory of %s: %w", name, err)}
	}
	return nil
}

// unsettled marks its error as ErrUnsettled. The user is told the cause alone.
type unsettled struct{ error }

func (u unsettled) Unwrap() []error { return []error{ErrUnsettled, u.error} }

func writeSynced(fsys disk.FS, name string, data []byte, perm fs.FileMode) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
