// Package disk is the narrow gate through which flipside changes anything that must survive a
// power cut: the state file, the slots, the boot environment. Everything that is durable goes
// through an FS, so that a test can record, fail or cut short every single operation.
//
// It is not a general file system abstraction: reading, listing and statting stay with package os.
package disk

import (
	"io"
	"io/fs"
	"os"
)

// FS changes the file system. Operations are durable only after the matching Sync or SyncDir.
type FS interface {
	// OpenFile is os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Mkdir is os.Mkdir.
	Mkdir(name string, perm fs.FileMode) error
	// Rename is os.Rename: atomic, but durable only after SyncDir of the directory.
	Rename(oldpath, newpath string) error
	// Remove is os.Remove.
	Remove(name string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
}

// File is an open file, block device or volume.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Sync returns when the medium has what was written; its error means that it may not.
	Sync() error
	// Fd is the descriptor, for ioctls and cache advice. Writes go through WriteAt alone.
	Fd() uintptr
}

// OS is the real file system.
type OS struct{}

func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File in a File is not nil
	}
	return f, nil
}

func (OS) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }
func (OS) Rename(oldpath, newpath string) error      { return os.Rename(oldpath, newpath) }
func (OS) Remove(name string) error                  { return os.Remove(name) }

func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
