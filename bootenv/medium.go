package bootenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"flipside/bootenv/internal/ubootenv"
)

// medium is the place of one copy of a U-Boot environment.
type medium interface {
	// read returns the copy as the medium has it. An error means that the bootloader cannot read
	// it either.
	read() ([]byte, error)
	// write replaces the copy, and nothing around it; the medium has it when write returns.
	write(image []byte) error
	// scheme is how flags are counted on such a medium.
	scheme() ubootenv.Scheme
	// isolated is an error if writing this copy puts other, which is valid, at risk.
	isolated(other medium) error
	// warnings are sentences about the place; other is that of the other copy, or nil.
	warnings(other medium) []string
}

// obsoleter is a medium on which the replaced copy has to be marked in place.
type obsoleter interface {
	obsolete() error
}

// medium finds out what a location is by looking at it: a path says nothing, /dev/mtdblock0 is no
// MTD device. An error means that this cannot be told, which is not the same as a bad copy: U-Boot
// may well see what is not visible from here.
func (h host) medium(at ubootenv.Location) (medium, error) {
	path, err := h.resolveUBI(at.Path)
	if err != nil {
		return nil, err
	}
	info, err := h.stat(path)
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return h.regularFile(path, at, info)
	case mode&fs.ModeCharDevice != 0:
		return h.charDevice(path, at, info)
	case mode&fs.ModeDevice != 0:
		return h.blockDevice(path, at, info)
	}
	return nil, fmt.Errorf("%s is neither a file, a block device, an MTD device nor a UBI volume", path)
}

// stat opens the file, so that a test's devices are what they pretend to be. What would wait for
// another process when opened is refused before.
func (h host) stat(path string) (fs.FileInfo, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDir) != 0 {
		return info, nil
	}
	f, err := h.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	return info, errors.Join(err, f.Close())
}

// number is the device number of a device node.
func number(info fs.FileInfo) (major, minor uint32) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	dev := uint64(s.Rdev) // 32 bits on MIPS
	return unix.Major(dev), unix.Minor(dev)
}

// charDevice asks the kernel which driver a character device has.
func (h host) charDevice(path string, at ubootenv.Location, info fs.FileInfo) (medium, error) {
	major, minor := number(info)
	node := filepath.Join(h.sys, "dev/char", fmt.Sprintf("%d:%d", major, minor))
	subsystem, err := os.Readlink(filepath.Join(node, "subsystem"))
	if err != nil {
		return nil, fmt.Errorf("finding out what %s is: %w", path, err)
	}
	switch filepath.Base(subsystem) {
	case "mtd":
		return h.mtd(path, at, info)
	case "ubi":
		return h.ubi(path, at, node)
	}
	return nil, fmt.Errorf("%s is neither an MTD device nor a UBI volume", path)
}

// resolveUBI finds the volume of "/dev/ubi0:name" and "/dev/mtd0:name".
func (h host) resolveUBI(path string) (string, error) {
	device, volume, found := strings.Cut(path, ":")
	dir, base := filepath.Split(device)
	if !found || !strings.HasPrefix(base, "ubi") && !strings.HasPrefix(base, "mtd") {
		return path, nil
	}
	ubi := base
	if chip, isMTD := strings.CutPrefix(base, "mtd"); isMTD {
		var err error
		if ubi, err = h.attached(chip); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
	}
	names, err := filepath.Glob(filepath.Join(h.sys, "class/ubi", ubi+"_*", "name"))
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if readWord(name) == volume {
			return dir + filepath.Base(filepath.Dir(name)), nil
		}
	}
	return "", fmt.Errorf("%s: %s has no volume of that name", path, ubi)
}

// attached is the UBI device that an MTD device is attached to. Attaching it is left to the
// system: it may write to the flash.
func (h host) attached(chip string) (string, error) {
	numbers, err := filepath.Glob(filepath.Join(h.sys, "class/ubi/ubi*/mtd_num"))
	if err != nil {
		return "", err
	}
	for _, number := range numbers {
		if readWord(number) == chip {
			return filepath.Base(filepath.Dir(number)), nil
		}
	}
	return "", fmt.Errorf("mtd%s is not attached to UBI (ubiattach does that)", chip)
}

// readWord is the content of a file of sysfs, or nothing.
func readWord(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
