package boottest

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"flipside/internal/disk"
)

// ErrPower is what every operation says after the power is cut.
var ErrPower = errors.New("power cut")

const sectorSize = 512

// Disk is a disk.FS in memory that forgets like a real one: until a file is synced, any of its
// written sectors may be on the medium, in any order, and until a directory is synced, none or all
// of the changes in it. Directories exist without being made.
type Disk struct {
	files   map[string]*inode // as a reader sees them now
	durable map[string]*inode // the names that a power cut leaves
	ops     int               // changes made so far
	cutAt   int               // the power is cut at this one; 0 = never
	Log     []string          // the operations that change something, for tests of their order
}

var _ disk.FS = (*Disk)(nil)

type inode struct {
	medium  []byte
	pending []change // not synced, in order
}

// change is a sector written or, with data nil, a truncation.
type change struct {
	offset int64
	data   []byte
}

// NewDisk returns a disk with files.
func NewDisk(files map[string][]byte) *Disk {
	d := &Disk{files: make(map[string]*inode), durable: make(map[string]*inode)}
	for name, data := range files {
		d.files[name] = &inode{medium: slices.Clone(data)}
		d.durable[name] = d.files[name]
	}
	return d
}

// ReadDir returns a disk with the files below a directory of this machine.
func ReadDir(t testing.TB, dir string) *Disk {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return NewDisk(files)
}

// Files is the content as a reader sees it.
func (d *Disk) Files() map[string][]byte {
	files := make(map[string][]byte)
	for name, n := range d.files {
		files[name] = n.content()
	}
	return files
}

// WriteDir stores the files at their names on this machine, for real tools to read.
func (d *Disk) WriteDir(t testing.TB) {
	t.Helper()
	for name, data := range d.Files() {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// CutAt cuts the power instead of the nth change, counted from 1; 0 never.
func (d *Disk) CutAt(n int) { d.ops, d.cutAt = 0, n }

// Cut says whether the power is off.
func (d *Disk) Cut() bool { return d.cutAt > 0 && d.ops >= d.cutAt }

// step counts a change, before it is made.
func (d *Disk) step(what, name string) error {
	if d.Cut() {
		return ErrPower
	}
	d.ops++
	if d.Cut() {
		return ErrPower
	}
	d.Log = append(d.Log, what+" "+filepath.Base(name))
	return nil
}

// AfterPowerCut calls check with a disk as it may be found when the power is back: for every
// combination of unsynced changes if there are few, else for many of them.
func (d *Disk) AfterPowerCut(check func(d *Disk)) {
	for _, names := range []map[string]*inode{d.durable, d.files} {
		var all []*change
		for _, name := range slices.Sorted(maps.Keys(names)) {
			for i := range names[name].pending {
				all = append(all, &names[name].pending[i])
			}
		}
		for _, kept := range subsets(len(all)) {
			survivors := make(map[*change]bool)
			for i, c := range all {
				survivors[c] = kept(i)
			}
			check(survivor(names, survivors))
		}
	}
}

func survivor(names map[string]*inode, survivors map[*change]bool) *Disk {
	files := make(map[string][]byte)
	for name, n := range names {
		data := slices.Clone(n.medium)
		for i := range n.pending {
			if survivors[&n.pending[i]] {
				data = n.pending[i].apply(data)
			}
		}
		files[name] = data
	}
	return NewDisk(files)
}

// subsets of n things: all if they are few; else all prefixes, all with one missing or alone, and
// a fixed choice of others.
func subsets(n int) []func(i int) bool {
	var list []func(i int) bool
	if n <= 8 {
		for mask := range 1 << n {
			list = append(list, func(i int) bool { return mask>>i&1 == 1 })
		}
		return list
	}
	for k := range n + 1 {
		list = append(list,
			func(i int) bool { return i < k },
			func(i int) bool { return i != k },
			func(i int) bool { return i == k })
	}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for range 100 {
		mask := make([]bool, n)
		for i := range mask {
			mask[i] = r.IntN(2) == 1
		}
		list = append(list, func(i int) bool { return mask[i] })
	}
	return list
}

func (c change) apply(data []byte) []byte {
	if c.data == nil {
		return data[:min(int(c.offset), len(data))]
	}
	if missing := int(c.offset) + len(c.data) - len(data); missing > 0 {
		data = append(data, make([]byte, missing)...)
	}
	copy(data[c.offset:], c.data)
	return data
}

func (n *inode) content() []byte {
	data := slices.Clone(n.medium)
	for _, c := range n.pending {
		data = c.apply(data)
	}
	return data
}

// OpenFile opens or makes a file.
func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if d.Cut() {
		return nil, ErrPower
	}
	n, found := d.files[name]
	switch {
	case !found && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case !found:
		if err := d.step("create", name); err != nil {
			return nil, err
		}
		n = &inode{}
		d.files[name] = n
	case flag&os.O_TRUNC != 0:
		if err := d.step("truncate", name); err != nil {
			return nil, err
		}
		n.pending = append(n.pending, change{})
	}
	return &file{disk: d, name: name, inode: n}, nil
}

// Mkdir does nothing.
func (d *Disk) Mkdir(name string, perm fs.FileMode) error {
	return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
}

// Rename renames a file.
func (d *Disk) Rename(oldpath, newpath string) error {
	if err := d.step("rename", oldpath); err != nil {
		return err
	}
	d.files[newpath] = d.files[oldpath]
	delete(d.files, oldpath)
	return nil
}

// Remove removes a file.
func (d *Disk) Remove(name string) error {
	if err := d.step("remove", name); err != nil {
		return err
	}
	delete(d.files, name)
	return nil
}

// SyncDir makes names durable; for simplicity, all of them.
func (d *Disk) SyncDir(dir string) error {
	if err := d.step("syncdir", dir); err != nil {
		return err
	}
	d.durable = maps.Clone(d.files)
	return nil
}

type file struct {
	disk  *Disk
	name  string
	inode *inode
}

func (f *file) Name() string                { return f.name }
func (f *file) Fd() uintptr                 { return ^uintptr(0) }
func (f *file) Close() error                { return nil }
func (f *file) Read(p []byte) (int, error)  { return 0, errors.ErrUnsupported }
func (f *file) Write(p []byte) (int, error) { return 0, errors.ErrUnsupported }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.disk.Cut() {
		return 0, ErrPower
	}
	data := f.inode.content()
	if off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt is pending, sector by sector. If the power is cut here, all of it may still happen.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if f.disk.Cut() {
		return 0, ErrPower
	}
	for at := 0; at < len(p); {
		n := min(sectorSize-int(off+int64(at))%sectorSize, len(p)-at)
		f.inode.pending = append(f.inode.pending, change{off + int64(at), slices.Clone(p[at : at+n])})
		at += n
	}
	if err := f.disk.step("write", f.name); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *file) Truncate(size int64) error {
	if err := f.disk.step("truncate", f.name); err != nil {
		return err
	}
	f.inode.pending = append(f.inode.pending, change{offset: size})
	return nil
}

func (f *file) Sync() error {
	if err := f.disk.step("sync", f.name); err != nil {
		return err
	}
	f.inode.medium, f.inode.pending = f.inode.content(), nil
	return nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	return info{filepath.Base(f.name), int64(len(f.inode.content()))}, nil
}

// info is of a regular file.
type info struct {
	name string
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return 0o644 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }
