package slot

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Number is a device number. Major 0 is a file system without a device of its own.
type Number struct{ Major, Minor uint32 }

func (n Number) String() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }

// parseNumber reads "179:2".
func parseNumber(s string) (Number, error) {
	major, minor, ok := strings.Cut(strings.TrimSpace(s), ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	if !ok || errA != nil || errB != nil {
		return Number{}, fmt.Errorf("%q is not a device number", s)
	}
	return Number{uint32(a), uint32(b)}, nil
}

// Node is what the kernel says of a path.
type Node struct {
	Mode fs.FileMode // the type bits
	Rdev Number      // the device that it is, if it is one
	Dev  Number      // the device whose file system it lies in
	Ino  uint64
}

func statNode(path string) (Node, error) {
	var st unix.Stat_t
	for {
		err := unix.Stat(path, &st)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return Node{}, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
	}
	return nodeOf(uint32(st.Mode), uint64(st.Rdev), uint64(st.Dev), uint64(st.Ino)), nil
}

func nodeOf(mode uint32, rdev, dev, ino uint64) Node {
	return Node{
		Mode: typeBits(mode),
		Rdev: Number{unix.Major(rdev), unix.Minor(rdev)},
		Dev:  Number{unix.Major(dev), unix.Minor(dev)},
		Ino:  ino,
	}
}

func typeBits(mode uint32) fs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return fs.ModeDevice
	case unix.S_IFCHR:
		return fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFREG:
		return 0
	}
	return fs.ModeIrregular
}

func (n Node) isBlock() bool { return n.Mode.Type() == fs.ModeDevice }
func (n Node) isChar() bool  { return n.Mode.Type() == fs.ModeDevice|fs.ModeCharDevice }
func (n Node) isFile() bool  { return n.Mode.IsRegular() }

// identity is equal for two paths exactly if they lead to the same thing. Names are not part of
// it: they are what goes wrong.
type identity struct {
	mode   fs.FileMode
	number Number
	ino    uint64
}

func (n Node) identity() identity {
	if n.isBlock() || n.isChar() {
		return identity{mode: n.Mode.Type(), number: n.Rdev}
	}
	return identity{mode: n.Mode.Type(), number: n.Dev, ino: n.Ino}
}

func blockDevice(n Number) identity { return identity{mode: fs.ModeDevice, number: n} }

func charDevice(n Number) identity {
	return identity{mode: fs.ModeDevice | fs.ModeCharDevice, number: n}
}
