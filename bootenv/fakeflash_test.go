package bootenv_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flipside/bootenv"
	"flipside/bootenv/internal/boottest"
	"flipside/internal/disk"
)

// machine is a disk.FS with flash devices at some paths, and the kernel's view of them.
type machine struct {
	disk.OS
	sys   string
	nodes map[string]node
}

// node is a device.
type node interface {
	io.ReaderAt
	io.WriterAt
	number() (major, minor uint32)
}

func newMachine(t *testing.T) *machine {
	return &machine{sys: t.TempDir(), nodes: make(map[string]node)}
}

// add makes a device known to the fake sysfs, with its name there and its subsystem.
func (m *machine) add(t *testing.T, path, name, subsystem string, n node) {
	t.Helper()
	m.nodes[path] = n
	major, minor := n.number()
	dir := filepath.Join(m.sys, "devices", name)
	link := filepath.Join(m.sys, "dev/char", fmt.Sprintf("%d:%d", major, minor))
	if err := errors.Join(
		os.MkdirAll(dir, 0o755),
		os.MkdirAll(filepath.Dir(link), 0o755),
		os.Symlink("../../class/"+subsystem, filepath.Join(dir, "subsystem")),
		os.Symlink("../../devices/"+name, link),
	); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	n, ok := m.nodes[name]
	if !ok {
		return m.OS.OpenFile(name, flag, perm)
	}
	return deviceFile{n, name}, nil
}

// open opens an environment on the machine with this fw_env.config.
func (m *machine) open(t *testing.T, config string) bootenv.Env {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fw_env.config")
	writeFile(t, path, []byte(config))
	h := bootenv.Host{Sys: m.sys, Flash: fakeFlash{}}
	env, err := h.Open(bootenv.Options{FS: m, FwEnvConfig: path, LockDirs: noLocks})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// deviceFile is an open device.
type deviceFile struct {
	node
	name string
}

func (f deviceFile) Name() string                { return f.name }
func (f deviceFile) Read(p []byte) (int, error)  { return 0, errors.ErrUnsupported }
func (f deviceFile) Write(p []byte) (int, error) { return 0, errors.ErrUnsupported }
func (f deviceFile) Truncate(size int64) error   { return errors.ErrUnsupported }
func (f deviceFile) Close() error                { return nil }
func (f deviceFile) Fd() uintptr                 { return ^uintptr(0) }
func (f deviceFile) Stat() (fs.FileInfo, error)  { return deviceInfo{f.node}, nil }

func (f deviceFile) Sync() error {
	if _, ok := f.node.(*blockDev); ok {
		return nil
	}
	return unix.EINVAL // as MTD devices say
}

type deviceInfo struct{ node }

func (i deviceInfo) Name() string       { return "device" }
func (i deviceInfo) Size() int64        { return 0 }
func (i deviceInfo) ModTime() time.Time { return time.Time{} }
func (i deviceInfo) IsDir() bool        { return false }

func (i deviceInfo) Mode() fs.FileMode {
	if _, ok := i.node.(*blockDev); ok {
		return fs.ModeDevice | 0o600
	}
	return fs.ModeDevice | fs.ModeCharDevice | 0o600
}

func (i deviceInfo) Sys() any {
	var s syscall.Stat_t
	major, minor := i.number()
	setNumber(&s.Rdev, unix.Mkdev(major, minor))
	return &s
}

// setNumber: the field has 32 bits on some architectures.
func setNumber[T uint32 | uint64](field *T, value uint64) { *field = T(value) }

// blockDev is a block device. It cannot be written while its switch in sysfs is 1.
type blockDev struct {
	major, minor uint32
	forceRO      string
	data         []byte
}

func (b *blockDev) number() (major, minor uint32) { return b.major, b.minor }

func (b *blockDev) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b *blockDev) WriteAt(p []byte, off int64) (int, error) {
	if ro, err := os.ReadFile(b.forceRO); err != nil || string(ro) != "0" {
		return 0, unix.EROFS
	}
	return copy(b.data[off:], p), nil
}

// power can be cut at the nth change; each byte programmed and each half of an erasure is one.
type power struct{ changes, cutAt int }

func (p *power) off() bool { return p.cutAt > 0 && p.changes >= p.cutAt }

// use counts a change, or says that there is no power for it.
func (p *power) use() bool {
	if !p.off() {
		p.changes++
	}
	return !p.off()
}

// chip is a flash chip. NOR can program any byte, and clears bits only; NAND programs erased
// pages, once.
type chip struct {
	*power
	info   bootenv.Chip
	minor  uint32
	data   []byte
	bad    map[int64]bool // erase blocks of NAND
	locked map[int64]bool // erase blocks; nil: this chip cannot lock
	erased []int64        // blocks, in the order of their erasure
	end    int64          // of the last write
}

func newChip(kind bootenv.ChipType, minor uint32, size, eraseSize, writeSize int64) *chip {
	c := &chip{
		power: new(power),
		info:  bootenv.Chip{Type: kind, Size: size, EraseSize: eraseSize, WriteSize: writeSize},
		minor: minor,
		data:  slices.Repeat([]byte{0xFF}, int(size)),
		bad:   make(map[int64]bool),
	}
	return c
}

func (c *chip) number() (major, minor uint32) { return 90, c.minor }

func (c *chip) ReadAt(p []byte, off int64) (int, error) {
	if c.off() {
		return 0, boottest.ErrPower
	}
	n := copy(p, c.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (c *chip) WriteAt(p []byte, off int64) (int, error) {
	block := off / c.info.EraseSize * c.info.EraseSize
	page := c.info.WriteSize
	switch {
	case c.locked[block]:
		return 0, unix.EROFS
	case c.bad[block]:
		return 0, unix.EIO
	case off%page != 0 || int64(len(p))%page != 0:
		return 0, unix.EINVAL
	}
	c.end = off + int64(len(p))
	for i, b := range p {
		if !c.use() {
			return i, boottest.ErrPower
		}
		if c.info.Type == bootenv.ChipNAND && c.data[off+int64(i)] != 0xFF && b != 0xFF {
			return i, unix.EIO // programmed twice
		}
		c.data[off+int64(i)] &= b
	}
	return len(p), nil
}

// fakeFlash does to chips and volumes what the kernel's drivers do.
type fakeFlash struct{}

func chipOf(f disk.File) *chip { return f.(deviceFile).node.(*chip) }

func (fakeFlash) Chip(f disk.File) (bootenv.Chip, error) { return chipOf(f).info, nil }

func (fakeFlash) Bad(f disk.File, at int64) (bool, error) { return chipOf(f).bad[at], nil }

func (fakeFlash) Erase(f disk.File, at, length int64) error {
	c := chipOf(f)
	switch {
	case at%c.info.EraseSize != 0 || length != c.info.EraseSize:
		return unix.EINVAL
	case c.locked[at]:
		return unix.EROFS
	case c.bad[at]:
		return unix.EIO
	}
	c.erased = append(c.erased, at)
	if !c.use() {
		return boottest.ErrPower
	}
	for i := at; i < at+length; i += 3 {
		c.data[i] |= 0x5A // cut short, an erasure leaves anything
	}
	if !c.use() {
		return boottest.ErrPower
	}
	for i := at; i < at+length; i++ {
		c.data[i] = 0xFF
	}
	return nil
}

func (fakeFlash) Locked(f disk.File, at, length int64) (bool, error) {
	c := chipOf(f)
	if c.locked == nil {
		return false, unix.EOPNOTSUPP
	}
	return c.locked[at], nil
}

func (fakeFlash) Lock(f disk.File, at, length int64) error   { return setLock(f, at, true) }
func (fakeFlash) Unlock(f disk.File, at, length int64) error { return setLock(f, at, false) }

func setLock(f disk.File, at int64, locked bool) error {
	c := chipOf(f)
	if c.locked == nil {
		return unix.EOPNOTSUPP
	}
	c.locked[at] = locked
	return nil
}

func (fakeFlash) StartUpdate(f disk.File, bytes int64) error {
	v, ok := f.(deviceFile).node.(*volume)
	if !ok || bytes > int64(v.size) {
		return unix.EINVAL
	}
	if !v.use() {
		return boottest.ErrPower
	}
	v.marker, v.expected, v.data = true, int(bytes), nil
	return nil
}

// volume is a static UBI volume.
type volume struct {
	*power
	minor    uint32
	size     int
	data     []byte
	marker   bool // an update has begun and not ended
	expected int
}

func (v *volume) number() (major, minor uint32) { return 250, v.minor }

func (v *volume) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case v.off():
		return 0, boottest.ErrPower
	case v.marker:
		return 0, unix.EBADF
	case off >= int64(len(v.data)):
		return 0, io.EOF
	}
	n := copy(p, v.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (v *volume) WriteAt(p []byte, off int64) (int, error) {
	if !v.marker || off != int64(len(v.data)) {
		return 0, unix.EPERM // volumes are not written without an update
	}
	for i, b := range p {
		if !v.use() {
			return i, boottest.ErrPower
		}
		v.data = append(v.data, b)
	}
	v.marker = len(v.data) < v.expected
	return len(p), nil
}
