package slot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Config says where the slots are, and where to look for what runs.
type Config struct {
	PartA, PartB string // RootfsPartA and RootfsPartB

	// Root is what runs: "" is "/". Where AllowFiles is set it may be a file, or a link to one:
	// the running slot's.
	Root string
	// Booted is "A" or "B" if the operator says which slot runs. It counts only where that
	// cannot be found out; where it can, a contradiction is an error.
	Booted string
	// AllowFiles lets plain files be slots: in a sandbox, never on a device.
	AllowFiles bool

	Proc, Sys, Dev string // "" is /proc, /sys and /dev
	// Stat says what a path is, links followed; nil asks the kernel.
	Stat func(path string) (Node, error)
}

func (c Config) root() string { return or(c.Root, "/") }
func (c Config) proc() string { return or(c.Proc, "/proc") }
func (c Config) sys() string  { return or(c.Sys, "/sys") }
func (c Config) dev() string  { return or(c.Dev, "/dev") }

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

func (c Config) stat(path string) (Node, error) {
	if c.Stat != nil {
		return c.Stat(path)
	}
	return statNode(path)
}

// slots finds both slots, and makes sure that they are two.
func (c Config) slots() (a, b Slot, err error) {
	if a, err = c.slot("A", "RootfsPartA", c.PartA); err != nil {
		return a, b, err
	}
	if b, err = c.slot("B", "RootfsPartB", c.PartB); err != nil {
		return a, b, err
	}
	if a.node.identity() == b.node.identity() {
		return a, b, fmt.Errorf("slot A (%s) and slot B (%s) are the same %s", a.Path, b.Path, a.Kind)
	}
	if a.Part == b.Part {
		return a, b, fmt.Errorf("slot A (%s) and slot B (%s) both have the number %d: the bootloader could not tell them apart",
			a.Path, b.Path, a.Part)
	}
	return a, b, nil
}

// slot finds the slot name, which the configuration key says is at path.
func (c Config) slot(name, key, path string) (Slot, error) {
	if path == "" {
		return Slot{}, &ConfigError{Slot: name, Key: key}
	}
	s := Slot{Name: name, Path: path}
	err := c.resolve(&s)
	if err == nil {
		err = c.measure(&s)
	}
	if err == nil {
		s.Part, err = c.number(s)
	}
	if err != nil {
		return Slot{}, &ConfigError{Slot: name, Key: key, Path: path, Err: err}
	}
	return s, nil
}

// resolve finds the device that the configured path leads to.
func (c Config) resolve(s *Slot) error {
	path := s.Path
	if strings.HasPrefix(path, "ubi") {
		path = filepath.Join(c.dev(), path) // as Mender's client does
	}
	if id, ok := c.volumeNamed(path); ok && strings.ContainsAny(path, ":!") {
		v, _ := c.volumeWith(id)
		path = filepath.Join(c.dev(), v.name)
	}
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	s.Device = device
	s.node, err = c.stat(device)
	return err
}

// measure says what the slot is and how much it holds, and refuses what cannot be a slot.
func (c Config) measure(s *Slot) (err error) {
	switch {
	case s.node.isBlock():
		s.Kind = Block
		s.Size, err = c.blockSize(s.node.Rdev)
	case s.node.isChar():
		v, ok := c.volumeWith(s.node.identity())
		if !ok {
			return fmt.Errorf("%s is a character device, but no UBI volume", s.Device)
		}
		s.Kind = Volume
		s.Size, err = v.size()
	case s.node.isFile() && c.AllowFiles:
		s.Kind = File
		s.Size, err = fileSize(s.Device)
	default:
		return fmt.Errorf("%s is neither a block device nor a UBI volume", s.Device)
	}
	return err
}

// number is the decimal number at the end of the slot's name, by which the bootloader knows it.
//
// Of names that mean something else than a partition, the device behind the link counts: all that
// is below /dev/disk, and /dev/root. Of other names the last digits as configured count even if
// it is a link (/dev/mapper/rootfs2), as with Mender's client.
func (c Config) number(s Slot) (int, error) {
	path := filepath.Clean(s.Path)
	if strings.HasPrefix(path, c.dev()+"/disk/") || path == c.dev()+"/root" || strings.ContainsAny(path, ":!") {
		path = s.Device
	}
	digits := trailingDigits(path)
	if digits == "" {
		path = s.Device
		digits = trailingDigits(path)
	}
	if digits == "" {
		return 0, fmt.Errorf("%s does not end in a number by which the bootloader could know it", path)
	}
	if s.Kind == Block && strings.HasPrefix(filepath.Base(path), "dm-") {
		return 0, fmt.Errorf("%s is a mapped device: its number changes and means nothing to the bootloader", path)
	}
	n, err := strconv.Atoi(digits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is no partition number", digits)
	}
	return n, err
}

func trailingDigits(path string) string {
	i := len(path)
	for i > 0 && '0' <= path[i-1] && path[i-1] <= '9' {
		i--
	}
	return path[i:]
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
