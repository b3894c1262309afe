package faultdisk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"flipside/internal/disk"
)

// OpenFile is os.OpenFile, except that it does not follow a symbolic link.
func (d *FS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	kind, err := openKind(name, flag)
	if err != nil {
		return nil, err
	}
	f := &file{disk: d, appends: flag&os.O_APPEND != 0, direct: flag&syscall.O_DIRECT != 0}
	flag &^= syscall.O_DIRECT // not every file system has it
	err = d.run(action{op: Op{Kind: kind, Path: name}, do: func() error { return f.open(kind, name, flag, perm) }})
	if err == nil {
		return f, nil
	}
	if f.real != nil {
		err = errors.Join(err, f.real.Close())
	}
	return nil, err
}

// openKind says what opening a file does to it.
func openKind(name string, flag int) (Kind, error) {
	info, err := real(name)
	switch {
	case err != nil:
		return "", err
	case info == nil && flag&os.O_CREATE != 0:
		return Create, nil
	case info == nil:
		return Open, nil // it will fail
	case info.Mode().Type() == fs.ModeSymlink:
		return "", fmt.Errorf("%s is a symbolic link", name)
	case flag&os.O_TRUNC != 0:
		return Truncate, nil
	}
	return Open, nil
}

// file is an open file.
type file struct {
	disk    *FS
	node    *node
	real    *os.File
	appends bool
	direct  bool // reads past the cache
}

var _ disk.File = (*file)(nil)

func (f *file) open(kind Kind, name string, flag int, perm fs.FileMode) error {
	at, err := f.disk.find(name)
	if err != nil {
		return err
	}
	if n := at.node(); kind == Truncate && n.file != nil {
		if err := f.disk.willTruncate(n, 0); err != nil {
			return err
		}
	}
	if f.real, err = os.OpenFile(name, flag, perm); err != nil {
		f.real = nil
		return err
	}
	if kind == Create {
		if err := f.disk.created("create", at); err != nil {
			return err
		}
	}
	if f.node = at.node(); f.node.file == nil {
		return fmt.Errorf("%s is no regular file", name)
	}
	return nil
}

func (f *file) Name() string               { return f.real.Name() }
func (f *file) Stat() (fs.FileInfo, error) { return f.real.Stat() }

// Fd is the real descriptor. What is written through it is not noticed.
func (f *file) Fd() uintptr { return f.real.Fd() }

func (f *file) Read(p []byte) (n int, err error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	offset, err := f.real.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	err = f.disk.run(action{op: f.op(Read, offset, len(p)), do: func() error {
		n, err = f.real.Read(p)
		f.pastCache(p[:n], offset)
		return err
	}})
	return n, err
}

func (f *file) ReadAt(p []byte, offset int64) (n int, err error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err = f.disk.run(action{op: f.op(Read, offset, len(p)), do: func() error {
		n, err = f.real.ReadAt(p, offset)
		f.pastCache(p[:n], offset)
		return err
	}})
	return n, err
}

func (f *file) pastCache(p []byte, offset int64) {
	if f.direct {
		f.node.fromMedium(p, offset)
	}
}

func (f *file) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	from := io.SeekCurrent
	if f.appends {
		from = io.SeekEnd
	}
	offset, err := f.real.Seek(0, from)
	if err != nil {
		return 0, err
	}
	return f.write(p, offset, f.real.Write)
}

func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.write(p, offset, func(p []byte) (int, error) { return f.real.WriteAt(p, offset) })
}

func (f *file) write(p []byte, offset int64, write func([]byte) (int, error)) (n int, err error) {
	do := func(p []byte) error {
		if err := f.disk.willWrite(f.node, p, offset); err != nil {
			return err
		}
		n, err = write(p)
		return err
	}
	err = f.disk.run(action{
		op:   f.op(Write, offset, len(p)),
		do:   func() error { return do(p) },
		fail: func(why error) error { return errors.Join(why, do(p[:len(p)/2])) },
	})
	return n, err
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.run(action{op: f.op(Truncate, size, 0), do: func() error {
		if err := f.disk.willTruncate(f.node, size); err != nil {
			return err
		}
		return f.real.Truncate(size)
	}})
}

// Sync makes the content last, not the name: in the model, which is quick; the real file is not
// synced.
func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.run(action{
		op: f.op(Sync, 0, 0),
		do: func() error { return f.disk.didSync(f.node) },
		fail: func(why error) error {
			f.node.failedSync()
			return why
		},
	})
}

// Close closes the file whatever comes of it.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	var closing error
	err := f.disk.run(action{op: f.op(Close, 0, 0), do: func() error { return nil }})
	closing = f.real.Close()
	return errors.Join(err, closing)
}

func (f *file) op(kind Kind, offset int64, length int) Op {
	return Op{Kind: kind, Path: f.real.Name(), Offset: offset, Length: length}
}
