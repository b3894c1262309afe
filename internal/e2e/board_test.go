package e2e_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// board is a kind of virtual device.
type board struct {
	name string // of its bootloader
	arch string // Debian's, and Go's
	qemu string // program
	pkg  string // Debian's package of it

	args      []string // of the machine, without disks and ports
	control   string   // QEMU's device for the control port
	memory    int      // MiB
	imageSize int64
	files     map[string]string // of every system on it

	sabotage string // what a guest does to lose its boot environment

	// boot makes what the bootloader needs: the boot partition, and what is outside of it.
	boot func(t *testing.T, b *board, content *blob)
	// flash makes the firmware's flash, or returns "".
	flash func(t *testing.T) string
	// vars reads the boot environment with a program that is not ours.
	vars func(t *testing.T, content *blob) map[string]string
}

const mib = 1 << 20

// The partitions. Before the first there is place for GRUB and U-Boot's environment.
const (
	bootStart, bootBytes = 8 * mib, 16 * mib
	slotsStart           = bootStart + bootBytes
	dataBytes            = 16 * mib
	partA, partB         = 2, 3
)

func other(part int) int { return partA + partB - part }

// slotSize leaves a little behind the image, as on devices.
func (b *board) slotSize() int64 { return b.imageSize + 4*mib }

func (b *board) slotStart(part int) int64 { return slotsStart + int64(part-partA)*b.slotSize() }
func (b *board) dataStart() int64         { return slotsStart + 2*b.slotSize() }
func (b *board) diskSize() int64          { return b.dataStart() + dataBytes }

// disk makes a disk of a device that left the factory with a system in slot A.
func (b *board) disk(t *testing.T, factory image, data map[string]string) *blob {
	t.Helper()
	content := newBlob(b.diskSize())
	content.writeAt(b.partitionTable(), 0)
	b.boot(t, b, content)
	copyFile(t, content, b.slotStart(partA), factory.path)
	dir := filepath.Join(t.TempDir(), "data")
	for name, text := range data {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o755))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "mender"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "mender/device_type"), []byte("device_type="+deviceType+"\n"), 0o644))
	img := filepath.Join(t.TempDir(), "data.img")
	// Without checksums: with them, Linux takes a commit block that was torn for a damaged journal,
	// and refuses to mount it. Our model tears it, as blocks of 1024 bytes are two sectors.
	hosttest.Run(t, "e2fsprogs", "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum", "-E", "root_owner=0:0", "-d", dir, img, fmt.Sprint(dataBytes/1024))
	copyFile(t, content, b.dataStart(), img)
	return content
}

func copyFile(t *testing.T, content *blob, offset int64, path string) {
	t.Helper()
	content.writeAt(hosttest.Read(t, path), offset)
}

// partitionTable is an MBR.
func (b *board) partitionTable() []byte {
	mbr := make([]byte, sectorBytes)
	const fat16, linux = 0x0e, 0x83
	for i, p := range []struct {
		kind        byte
		start, size int64
	}{
		{fat16, bootStart, bootBytes},
		{linux, b.slotStart(partA), b.slotSize()},
		{linux, b.slotStart(partB), b.slotSize()},
		{linux, b.dataStart(), dataBytes},
	} {
		entry := mbr[446+16*i:]
		entry[4] = p.kind
		binary.LittleEndian.PutUint32(entry[8:], uint32(p.start/sectorBytes))
		binary.LittleEndian.PutUint32(entry[12:], uint32(p.size/sectorBytes))
	}
	mbr[446] = 0x80 // to be booted
	mbr[510], mbr[511] = 0x55, 0xaa
	return mbr
}

// fat makes the boot partition, with what is in dir.
func fat(t *testing.T, content *blob, dir string) {
	t.Helper()
	img := filepath.Join(t.TempDir(), "boot.img")
	hosttest.Run(t, "dosfstools", "mkfs.vfat", "-F", "16", "-s", "4", "-C", img, fmt.Sprint(bootBytes/1024))
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		hosttest.Run(t, "mtools", "mcopy", "-s", "-i", img, filepath.Join(dir, e.Name()), "::")
	}
	copyFile(t, content, bootStart, img)
}

// parseVars takes what programs print: lines "name=value".
func parseVars(out string) map[string]string {
	vars := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, found := strings.Cut(strings.TrimRight(line, "\n"), "="); found {
			vars[name] = value
		}
	}
	return vars
}
