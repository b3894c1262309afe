package usb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Filesystem is what a superblock says, in blkid's words.
type Filesystem struct {
	Type  string // vfat, exfat, ntfs, ext, iso9660
	Label string
	UUID  string
}

// Types are the file systems that Probe knows.
const Types = "vfat, exfat, ntfs, ext2 to ext4, iso9660"

var little = binary.LittleEndian

// Probe recognizes the file system on a device; false if there is none that it knows. Nothing that
// the device says is trusted further than to compare it and show it.
func Probe(dev io.ReaderAt) (Filesystem, bool, error) {
	head := make([]byte, 64<<10)
	n, err := dev.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return Filesystem{}, false, err
	}
	clear(head[n:])
	for _, probe := range []func(io.ReaderAt, []byte) (Filesystem, bool){probeExFAT, probeNTFS, probeVFAT, probeExt, probeISO} {
		if fs, ok := probe(dev, head); ok {
			return fs, true, nil
		}
	}
	return Filesystem{}, false, nil
}

// probeExt follows the kernel's ext4 documentation, "Super Block".
func probeExt(_ io.ReaderAt, head []byte) (Filesystem, bool) {
	super := head[1024:2048]
	if little.Uint16(super[56:]) != 0xEF53 {
		return Filesystem{}, false
	}
	u := super[104:120]
	return Filesystem{
		Type: "ext", Label: text(super[120:136]),
		UUID: fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:16]),
	}, true
}

// probeISO follows ECMA-119, section 8.4. Its identifier is the time of the last change, or that of
// the making.
func probeISO(_ io.ReaderAt, head []byte) (Filesystem, bool) {
	volume := head[32<<10:]
	if volume[0] != 1 || string(volume[1:6]) != "CD001" {
		return Filesystem{}, false
	}
	fs := Filesystem{Type: "iso9660", Label: text(volume[40:72])}
	for _, at := range []int{830, 813} {
		if t := string(volume[at : at+16]); strings.Trim(t, "0123456789") == "" && strings.Trim(t, "0") != "" {
			fs.UUID = t[:4] + "-" + t[4:6] + "-" + t[6:8] + "-" + t[8:10] + "-" + t[10:12] + "-" + t[12:14] + "-" + t[14:16]
			break
		}
	}
	return fs, true
}

// bootSector says whether the first sector is one of the family of FAT and NTFS.
func bootSector(head []byte) bool { return head[510] == 0x55 && head[511] == 0xAA }

// probeVFAT follows Microsoft's "FAT32 File System Specification", with its fields' names.
func probeVFAT(dev io.ReaderAt, head []byte) (Filesystem, bool) {
	sector, cluster := int64(little.Uint16(head[11:])), int64(head[13])
	reserved, tables := int64(little.Uint16(head[14:])), int64(head[16])
	if !bootSector(head) || !powerOfTwo(sector, 512, 4096) || !powerOfTwo(cluster, 1, 128) || reserved == 0 || tables == 0 || tables > 2 {
		return Filesystem{}, false
	}
	size := int64(little.Uint16(head[22:])) // BPB_FATSz16
	at, length, serial := reserved+tables*size, int64(little.Uint16(head[17:]))*32, head[39:43]
	if size == 0 { // FAT32
		size = int64(little.Uint32(head[36:]))
		first := int64(little.Uint32(head[44:])) // BPB_RootClus
		if size == 0 || first < 2 {
			return Filesystem{}, false
		}
		at, length, serial = reserved+tables*size+(first-2)*cluster, cluster*sector, head[67:71]
	}
	return Filesystem{Type: "vfat", Label: labelFAT(directory(dev, at*sector, length)), UUID: serialNumber(serial)}, true
}

// labelFAT is the volume label among the entries of a root directory: the one in the boot sector is
// often outdated.
func labelFAT(entries []byte) string {
	for ; len(entries) >= 32 && entries[0] != 0; entries = entries[32:] {
		const volume, longName = 0x08, 0x0F
		if attr := entries[11] & 0x3F; attr&longName != longName && attr&volume != 0 && entries[0] != 0xE5 {
			return text(entries[:11])
		}
	}
	return ""
}

// probeExFAT follows Microsoft's "exFAT file system specification", sections 3.1 and 7.3.
func probeExFAT(dev io.ReaderAt, head []byte) (Filesystem, bool) {
	sector, cluster := head[108], head[109]
	first := int64(little.Uint32(head[96:]))
	if string(head[3:11]) != "EXFAT   " || !bootSector(head) || sector < 9 || sector > 12 || cluster > 25-sector || first < 2 {
		return Filesystem{}, false
	}
	at := int64(little.Uint32(head[88:]))<<sector + (first-2)<<(sector+cluster)
	fs := Filesystem{Type: "exfat", UUID: serialNumber(head[100:104])}
	entries := directory(dev, at, 1<<(sector+cluster))
	for ; len(entries) >= 32 && entries[0] != 0; entries = entries[32:] {
		const label = 0x83
		if n := int(entries[1]); entries[0] == label && n <= 11 {
			fs.Label = wide(entries[2 : 2+2*n])
			break
		}
	}
	return fs, true
}

// probeNTFS reads the name from the file $Volume, number 3 of the master file table.
func probeNTFS(dev io.ReaderAt, head []byte) (Filesystem, bool) {
	sector, cluster := int64(little.Uint16(head[11:])), int64(head[13])
	if string(head[3:11]) != "NTFS    " || !bootSector(head) || !powerOfTwo(sector, 512, 4096) || !powerOfTwo(cluster, 1, 128) {
		return Filesystem{}, false
	}
	fs := Filesystem{Type: "ntfs", UUID: fmt.Sprintf("%016X", little.Uint64(head[72:]))}
	record := int64(int8(head[64])) * cluster * sector // in clusters, or as a power of two
	if e := int8(head[64]); e < 0 && e >= -16 {
		record = 1 << -e
	}
	table := int64(little.Uint64(head[48:]))
	if record < 512 || record > 64<<10 || table < 0 || table > 1<<40 {
		return fs, true
	}
	r := directory(dev, table*cluster*sector+3*record, record)
	if len(r) < 48 || string(r[:4]) != "FILE" {
		return fs, true
	}
	for at := int(little.Uint16(r[20:])); at+24 <= len(r); {
		a := r[at:]
		kind, size := little.Uint32(a), int(little.Uint32(a[4:]))
		value, length := int(little.Uint16(a[20:])), int(little.Uint32(a[16:]))
		const volumeName = 0x60
		switch {
		case kind == volumeName && length >= 0 && length <= 256 && value+length <= len(a):
			fs.Label = wide(a[value : value+length])
			return fs, true
		case size < 24 || size > len(a):
			return fs, true
		}
		at += size
	}
	return fs, true
}

func powerOfTwo(n, least, most int64) bool { return n >= least && n <= most && n&(n-1) == 0 }

// directory reads the beginning of what is at an offset; nothing if it cannot be read.
func directory(dev io.ReaderAt, at, length int64) []byte {
	b := make([]byte, min(length, 64<<10))
	n, err := dev.ReadAt(b, at)
	if err != nil && err != io.EOF || at < 0 {
		return nil
	}
	return b[:n]
}

// text is a padded name.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimRight(string(b), " ")
}

func wide(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, little.Uint16(b))
	}
	return string(utf16.Decode(units))
}

// serialNumber is "1234-ABCD".
func serialNumber(b []byte) string {
	n := little.Uint32(b)
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xFFFF)
}
