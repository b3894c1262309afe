package powerloss_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/internal/disk"
)

// The tests here prove the others: they break the promises that the code relies upon, or the order
// in which it writes, on the way to the disk, where it cannot notice. Each must be found.

func TestFaultsAreFound(t *testing.T) {
	for name, f := range map[string]struct {
		wrap  func(disk.FS) disk.FS
		blind bool    // no cuts at the end of commands: they would find it at once
		want  []error // one of these
	}{
		"the slot is not synced before it is selected": {
			wrap:  func(d disk.FS) disk.FS { return broken{FS: d, unsynced: isSlot} },
			blind: true,
			want:  []error{errIncomplete},
		},
		"the state is not synced": {
			wrap:  func(d disk.FS) disk.FS { return broken{FS: d, unsynced: isState} },
			blind: true,
			want:  []error{errTrialLeft, errStatus, errProvides},
		},
		"the state is recorded after the act": {
			wrap: func(d disk.FS) disk.FS { return &late{FS: d} },
			want: []error{errTrialLeft, errProvides},
		},
		"the environment is not synced": {
			wrap: func(d disk.FS) disk.FS { return broken{FS: d, unsynced: isEnv} },
			want: []error{errLost},
		},
		"the copy of the environment that counts is written, too": {
			wrap: func(d disk.FS) disk.FS { return broken{FS: d, doubled: isEnv} },
			want: []error{errProvides, errTrialLeft, errStatus}, // the older copy counts, or none
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rootfs, smallSlot)
			x := newExplorer(r, 1)
			x.wrap, x.blind = f.wrap, f.blind
			err := x.explore(t.Context(), starts(t, r)[updated], doInstall)
			if !slices.ContainsFunc(f.want, func(want error) bool { return errors.Is(err, want) }) {
				t.Errorf("after %d cuts: %v; want one of %q", x.runs, err, f.want)
			}
			t.Logf("found with cut %d: %v", x.runs, err)
		})
	}
}

func isSlot(path string) bool { return strings.HasPrefix(filepath.Base(path), "mmcblk0p") }
func isState(path string) bool {
	return filepath.Base(filepath.Dir(path)) == "flipside" || filepath.Base(path) == "flipside"
}
func isEnv(path string) bool { return filepath.Base(path) == "uboot-env" }

// broken is a disk that does nothing in some Syncs, or writes both halves of a file.
type broken struct {
	disk.FS
	unsynced, doubled func(path string) bool
}

func is(f func(string) bool, path string) bool { return f != nil && f(path) }

func (d broken) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return brokenFile{f, is(d.unsynced, name), is(d.doubled, name)}, nil
}

func (d broken) SyncDir(dir string) error {
	if is(d.unsynced, dir) {
		return nil
	}
	return d.FS.SyncDir(dir)
}

type brokenFile struct {
	disk.File
	unsynced, doubled bool
}

func (f brokenFile) Sync() error {
	if f.unsynced {
		return nil
	}
	return f.File.Sync()
}

func (f brokenFile) WriteAt(p []byte, offset int64) (int, error) {
	if f.doubled {
		if _, err := f.File.WriteAt(p, int64(len(p))-offset); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(p, offset)
}

// late is a disk on which a state file gets its name only when the environment has been written.
type late struct {
	disk.FS
	pending func() error
}

func (d *late) Rename(from, to string) error {
	if err := d.flush(); err != nil {
		return err
	}
	if !isState(to) {
		return d.FS.Rename(from, to)
	}
	d.pending = func() error {
		if err := d.FS.Rename(from, to); err != nil {
			return err
		}
		return d.FS.SyncDir(filepath.Dir(to))
	}
	return nil
}

func (d *late) flush() error {
	act := d.pending
	d.pending = nil
	if act == nil {
		return nil
	}
	return act()
}

func (d *late) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if isState(name) {
		if err := d.flush(); err != nil {
			return nil, err
		}
	}
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || !isEnv(name) {
		return f, err
	}
	return &lateFile{File: f, disk: d}, nil
}

type lateFile struct {
	disk.File
	disk    *late
	written bool
}

func (f *lateFile) WriteAt(p []byte, offset int64) (int, error) {
	f.written = true
	return f.File.WriteAt(p, offset)
}

func (f *lateFile) Sync() error {
	err := f.File.Sync()
	if f.written {
		err = errors.Join(err, f.disk.flush())
	}
	return err
}
