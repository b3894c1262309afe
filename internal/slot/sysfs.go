package slot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const sectorSize = 512 // sysfs counts in these, whatever the device's own are

// blockDir is what sysfs knows of a block device.
func (c Config) blockDir(n Number) string {
	return filepath.Join(c.sys(), "dev/block", n.String())
}

// blockName is the kernel's name of a block device, its number if sysfs does not know it.
func (c Config) blockName(n Number) string {
	if dir, err := filepath.EvalSymlinks(c.blockDir(n)); err == nil {
		return filepath.Base(dir)
	}
	return n.String()
}

func readNumber(file string) (Number, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Number{}, err
	}
	return parseNumber(string(data))
}

func readInt(file string) (int64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// blockSize is the size of a block device in bytes.
func (c Config) blockSize(n Number) (int64, error) {
	sectors, err := readInt(filepath.Join(c.blockDir(n), "size"))
	return sectors * sectorSize, err
}

// readOnly reports whether the kernel lets nobody write a block device.
func (c Config) readOnly(n Number) (bool, error) {
	ro, err := readInt(filepath.Join(c.blockDir(n), "ro"))
	return ro != 0, err
}

// zeroes reports whether a block device makes zeros without being sent them. A partition's queue is
// its disk's.
func (c Config) zeroes(n Number) bool {
	if disk, ok := c.disk(n); ok {
		n = disk
	}
	most, err := readInt(filepath.Join(c.blockDir(n), "queue/write_zeroes_max_bytes"))
	return err == nil && most > 0
}

// uevent is a device's properties: DEVNAME, PARTNAME, …
func (c Config) uevent(n Number) map[string]string {
	data, err := os.ReadFile(filepath.Join(c.blockDir(n), "uevent"))
	if err != nil {
		return nil
	}
	properties := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		properties[key] = value
	}
	return properties
}

// related are the numbers of the devices in a sysfs directory such as slaves or holders. That
// there is no such directory means that there are none.
func related(dir string) ([]Number, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Number
	for _, e := range entries {
		n, err := readNumber(filepath.Join(dir, e.Name(), "dev"))
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// below are n and all devices that it is made of: device mapper, RAID. The result is ordered from
// n downwards.
func (c Config) below(n Number) ([]Number, error) {
	return closure(n, func(n Number) ([]Number, error) {
		return related(filepath.Join(c.blockDir(n), "slaves"))
	})
}

// above are n and all devices that would change with it: its partitions, and what is made of them.
func (c Config) above(n Number) ([]Number, error) {
	return closure(n, func(n Number) ([]Number, error) {
		parts, err := c.partitions(n)
		if err != nil {
			return nil, err
		}
		holders, err := related(filepath.Join(c.blockDir(n), "holders"))
		return append(parts, holders...), err
	})
}

// closure follows next from n, each device once.
func closure(n Number, next func(Number) ([]Number, error)) ([]Number, error) {
	all, seen := []Number{n}, map[Number]bool{n: true}
	for i := 0; i < len(all); i++ {
		more, err := next(all[i])
		if err != nil {
			return nil, err
		}
		for _, m := range more {
			if !seen[m] {
				seen[m] = true
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// partitions are a disk's.
func (c Config) partitions(n Number) ([]Number, error) {
	dir := c.blockDir(n)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Number
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(sub, "partition")); err != nil {
			continue
		}
		part, err := readNumber(filepath.Join(sub, "dev"))
		if err != nil {
			return nil, err
		}
		all = append(all, part)
	}
	return all, nil
}

// disk is the disk that a partition is part of.
func (c Config) disk(n Number) (Number, bool) {
	dir, err := filepath.EvalSymlinks(c.blockDir(n))
	if err != nil {
		return Number{}, false
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err != nil {
		return Number{}, false
	}
	whole, err := readNumber(filepath.Join(filepath.Dir(dir), "dev"))
	return whole, err == nil
}

// volume is a UBI volume as sysfs shows it: "ubi0_1".
type volume struct {
	name string
	dir  string
	id   identity
}

// volumes are all UBI volumes; none where the kernel has no UBI.
func (c Config) volumes() []volume {
	dirs, _ := filepath.Glob(filepath.Join(c.sys(), "class/ubi/ubi*_*"))
	var all []volume
	for _, dir := range dirs {
		if n, err := readNumber(filepath.Join(dir, "dev")); err == nil {
			all = append(all, volume{name: filepath.Base(dir), dir: dir, id: charDevice(n)})
		}
	}
	return all
}

func (c Config) volumeWith(id identity) (volume, bool) {
	for _, v := range c.volumes() {
		if v.id == id {
			return v, true
		}
	}
	return volume{}, false
}

// volumeNamed understands all the ways in which a mount, or root=, names a UBI volume: ubi0_1,
// ubi1 (volume 1 of device 0), ubi0:rootfs, ubi:rootfs, and "!" for ":".
func (c Config) volumeNamed(source string) (identity, bool) {
	name, ok := strings.CutPrefix(filepath.Base(source), "ubi")
	if !ok || strings.Contains(source, "/") && filepath.Dir(source) != c.dev() {
		return identity{}, false
	}
	name = strings.Replace(name, "!", ":", 1)
	device, label, labelled := strings.Cut(name, ":")
	if device == "" {
		device = "0"
	}
	for _, v := range c.volumes() {
		switch {
		case labelled && strings.HasPrefix(v.name, "ubi"+device+"_") && v.label() == label,
			!labelled && v.name == "ubi"+name,
			!labelled && v.name == "ubi0_"+name:
			return v.id, true
		}
	}
	return identity{}, false
}

func (v volume) label() string { return readLine(filepath.Join(v.dir, "name")) }

// size is what an update of the volume may bring: bytes in all the erase blocks reserved for it.
// data_bytes would be what the last update of a static volume brought.
func (v volume) size() (int64, error) {
	blocks, err := readInt(filepath.Join(v.dir, "reserved_ebs"))
	if err != nil {
		return 0, fmt.Errorf("size of UBI volume %s: %w", v.name, err)
	}
	usable, err := readInt(filepath.Join(v.dir, "usable_eb_size"))
	if err != nil {
		return 0, fmt.Errorf("size of UBI volume %s: %w", v.name, err)
	}
	return blocks * usable, nil
}

// readLine is what a file of one line says; "" if it cannot be read.
func readLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
