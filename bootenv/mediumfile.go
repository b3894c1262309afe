package bootenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/atomicfile"
	"flipside/internal/disk"
)

// fileMedium is a part of a regular file or of a block device.
type fileMedium struct {
	fs      disk.FS
	path    string
	offset  int64
	size    int
	mode    fs.FileMode
	whole   bool   // the copy is the whole file
	block   bool   // it is a block device
	missing bool   // the file does not exist yet
	forceRO string // the switch in sysfs that protects an eMMC boot partition
	alone   bool   // there is no other copy
}

func (h host) regularFile(path string, at ubootenv.Location, info fs.FileInfo) (medium, error) {
	if at.Offset < 0 {
		return nil, fmt.Errorf("%s is a regular file: only block devices can have negative offsets", path)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a rename would replace the link
	}
	return &fileMedium{
		fs: h.fs, path: path, offset: at.Offset, size: at.Size, mode: info.Mode().Perm(),
		whole: at.Offset == 0 && info.Size() == int64(at.Size),
	}, nil
}

// missingFile is a second copy that U-Boot would create: uboot-redund.env on a FAT file system.
func (h host) missingFile(at ubootenv.Location) medium {
	return &fileMedium{fs: h.fs, path: at.Path, offset: at.Offset, size: at.Size, mode: 0o644, missing: true}
}

const majorMTDBlock = 31

func (h host) blockDevice(path string, at ubootenv.Location, info fs.FileInfo) (medium, error) {
	major, minor := number(info)
	if major == majorMTDBlock {
		return nil, fmt.Errorf("%s hides the flash chip, whose kind decides how copies are counted: name /dev/mtdN instead", path)
	}
	m := &fileMedium{fs: h.fs, path: path, offset: at.Offset, size: at.Size, mode: 0o600, block: true}
	if at.Offset < 0 {
		size, err := h.deviceSize(path)
		if err != nil {
			return nil, err
		}
		if m.offset = size + at.Offset; m.offset < 0 {
			return nil, fmt.Errorf("%s has %d bytes: offset %d is before its begin", path, size, at.Offset)
		}
	}
	node := filepath.Join(h.sys, "dev/block", fmt.Sprintf("%d:%d", major, minor))
	if name, err := os.Readlink(node); err == nil && isBootPartition(filepath.Base(name)) {
		m.forceRO = filepath.Join(node, "force_ro")
	}
	return m, nil
}

// isBootPartition: mmcblk0boot1. Only these are read-only by habit; what else is, is so by intent.
func isBootPartition(name string) bool {
	disk, n, found := strings.Cut(name, "boot")
	return found && strings.HasPrefix(disk, "mmcblk") && len(n) == 1
}

func (h host) deviceSize(path string) (int64, error) {
	f, err := h.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	size, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_END)
	if err != nil {
		err = fmt.Errorf("finding the size of %s: %w", path, err)
	}
	return size, errors.Join(err, f.Close())
}

func (m *fileMedium) read() ([]byte, error) {
	if m.missing {
		return nil, fs.ErrNotExist
	}
	return readUncached(m.fs, m.path, m.offset, m.size)
}

func (m *fileMedium) write(image []byte) (err error) {
	if m.alone && m.whole {
		return atomicfile.Write(m.fs, m.path, image, m.mode)
	}
	if m.forceRO != "" && readWord(m.forceRO) == "1" {
		if err := m.setForceRO("0"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.setForceRO("1")) }()
	}
	return m.overwrite(image)
}

func (m *fileMedium) overwrite(image []byte) error {
	flag := os.O_RDWR
	if m.missing {
		flag |= os.O_CREATE
	}
	f, err := m.fs.OpenFile(m.path, flag, m.mode)
	if err != nil {
		return err
	}
	// First what an earlier write left in the cache when it failed: the copy that is current now may
	// be there only, and must be on the medium before this one is touched.
	if err = f.Sync(); err == nil {
		_, err = f.WriteAt(image, m.offset)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if m.missing {
		m.missing = false
		return m.fs.SyncDir(filepath.Dir(m.path))
	}
	return nil
}

func (m *fileMedium) setForceRO(value string) error {
	f, err := m.fs.OpenFile(m.forceRO, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(value), 0)
	return errors.Join(err, f.Close())
}

func (m *fileMedium) scheme() ubootenv.Scheme { return ubootenv.Incremental }

func (m *fileMedium) isolated(other medium) error {
	o, ok := other.(*fileMedium)
	if ok && o.path == m.path && ubootenv.Overlap(m.offset, o.offset, m.size) {
		return fmt.Errorf("the copies in %s overlap, at %#x and %#x", m.path, o.offset, m.offset)
	}
	return nil
}

const (
	sector = 512
	page   = 4096 // what the kernel, and many a medium, writes at least
)

func (m *fileMedium) sharesPage(other medium) bool {
	o, ok := other.(*fileMedium)
	if !ok || o.path != m.path {
		return false
	}
	low, high := m, o
	if low.offset > high.offset {
		low, high = o, m
	}
	return (low.offset+int64(low.size)-1)/page >= high.offset/page && low == m
}

func (m *fileMedium) warnings(other medium) []string {
	switch {
	case !m.alone && m.sharesPage(other):
		return []string{fmt.Sprintf("both copies of the environment have a part in one block of 4096 bytes of %s: a power cut while it is written may lose both", m.path)}
	case !m.alone || m.size == sector && m.offset%sector == 0:
		return nil // two copies, or a single sector, which a power cut does not divide
	case m.whole:
		return []string{"the environment has one copy: a power cut while U-Boot saves it loses it"}
	}
	return []string{"the environment has one copy, which can only be overwritten in place: a power cut while it is saved loses it"}
}
