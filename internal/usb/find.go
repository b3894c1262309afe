// Package usb finds the file systems on USB sticks and mounts them for reading, without leaving
// anything behind: a mount is never part of the device's tree of files, and is gone with the process.
//
//	volumes, err := usb.System{}.Volumes()
//	root, err := usb.Mount(volumes[0])
//	defer root.Close()
//
// Disks and partitions are what sysfs says (Documentation/ABI/testing/sysfs-block of the kernel).
package usb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
)

// System is where the kernel shows its devices.
type System struct {
	Sys  string // "" is /sys
	Dev  string // "" is /dev
	Proc string // "" is /proc
}

// Volume is a partition of a stick, or a stick without partitions.
type Volume struct {
	Name      string // the kernel's: sda1
	Device    string // /dev/sda1
	Removable bool   // a stick; not so are hard disks, and what the device itself runs from
	Filesystem
	Err error // why it could not be looked at, or ErrUnknown

	number  uint64
	mounted string // where it is mounted already; "" if nowhere
}

// ErrUnknown means that a volume has no file system that is known.
var ErrUnknown = errors.New("no file system that is known (" + Types + ")")

func (v Volume) String() string {
	switch {
	case v.Err != nil:
		return fmt.Sprintf("%s (%v)", v.Name, v.Err)
	case v.Label != "":
		return fmt.Sprintf("%s (LABEL=%s UUID=%s)", v.Name, v.Label, v.UUID)
	}
	return fmt.Sprintf("%s (UUID=%s)", v.Name, v.UUID)
}

// onBus says whether a device's path leads through a USB host controller: /usb1/.
func onBus(dir string) bool {
	return slices.ContainsFunc(strings.Split(dir, "/"), func(part string) bool {
		number, ok := strings.CutPrefix(part, "usb")
		return ok && number != "" && strings.Trim(number, "0123456789") == ""
	})
}

// Volumes are all on the USB bus, by name.
func (s System) Volumes() ([]Volume, error) {
	class := filepath.Join(or(s.Sys, "/sys"), "class/block")
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil, fmt.Errorf("looking for USB sticks: %w", err)
	}
	sys, err := filepath.EvalSymlinks(or(s.Sys, "/sys"))
	if err != nil {
		return nil, fmt.Errorf("looking for USB sticks: %w", err)
	}
	mounts := s.mounts()
	var all []Volume
	for _, e := range entries {
		dir, err := filepath.EvalSymlinks(filepath.Join(class, e.Name()))
		if err != nil || !onBus(strings.TrimPrefix(dir, sys)) {
			continue // on another bus, or pulled out just now
		}
		if v, ok := s.volume(dir, mounts); ok {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// volume looks at a disk or partition, by its directory in sysfs; false if there cannot be a file
// system on it: no medium, or a disk with partitions.
func (s System) volume(dir string, mounts map[string]string) (Volume, bool) {
	whole := dir
	if exists(filepath.Join(dir, "partition")) {
		whole = filepath.Dir(dir)
	} else if parts, _ := filepath.Glob(filepath.Join(dir, "*", "partition")); len(parts) > 0 {
		return Volume{}, false
	}
	number := line(filepath.Join(dir, "dev"))
	if size := line(filepath.Join(dir, "size")); size == "" || size == "0" {
		return Volume{}, false
	}
	v := Volume{
		Name: filepath.Base(dir), Device: filepath.Join(or(s.Dev, "/dev"), deviceName(dir)), mounted: mounts[number],
		Removable: line(filepath.Join(whole, "removable")) == "1" && !runsFrom(whole, mounts),
	}
	major, minor, _ := strings.Cut(number, ":")
	hi, err1 := strconv.ParseUint(major, 10, 32)
	lo, err2 := strconv.ParseUint(minor, 10, 32)
	if err1 != nil || err2 != nil {
		return Volume{}, false
	}
	v.number = unix.Mkdev(uint32(hi), uint32(lo))
	v.Err = v.probe()
	return v, true
}

// deviceName is the name of the device's node.
func deviceName(dir string) string {
	data, _ := os.ReadFile(filepath.Join(dir, "uevent")) // without it the usual name has to do
	for l := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(l), "DEVNAME="); ok {
			return name
		}
	}
	return strings.ReplaceAll(filepath.Base(dir), "!", "/")
}

func (v *Volume) probe() error {
	f, err := v.open()
	if err != nil {
		return err
	}
	defer f.Close()
	found, known, err := Probe(f)
	switch {
	case err != nil:
		return disk.Cause(err)
	case !known:
		return ErrUnknown
	}
	v.Filesystem = found
	return nil
}

// open opens the node, which must be that of the device.
func (v *Volume) open() (*os.File, error) {
	f, err := os.OpenFile(v.Device, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, disk.Cause(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || uint64(st.Rdev) != v.number {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("%s is not its device node", v.Device)
	}
	return f, nil
}

// mounts are the mounted block devices by number ("8:1"), with where they are; "/" wins.
func (s System) mounts() map[string]string {
	data, _ := os.ReadFile(filepath.Join(or(s.Proc, "/proc"), "self/mountinfo")) // then mounting tells
	all := map[string]string{}
	for l := range strings.Lines(string(data)) {
		// 36 35 8:1 /root /mount/point rw - ext4 /dev/sda1 ...: proc(5)
		fields := strings.Fields(l)
		if len(fields) < 5 || fields[3] != "/" || all[fields[2]] == "/" {
			continue
		}
		all[fields[2]] = unescape.Replace(fields[4])
	}
	return all
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// runsFrom says whether the running system is on the disk.
func runsFrom(whole string, mounts map[string]string) bool {
	numbers, _ := filepath.Glob(filepath.Join(whole, "*", "dev"))
	for _, file := range append(numbers, filepath.Join(whole, "dev")) {
		if mounts[line(file)] == "/" {
			return true
		}
	}
	return false
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// line is what a file of one line says; "" if it cannot be read.
func line(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
