package e2e_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// ubootBoard is an arm64 board with U-Boot. The kernel is not compressed: U-Boot would need longer
// for that than all else takes.
func ubootBoard() *board {
	return &board{
		name: "uboot", arch: "arm64", qemu: "qemu-system-aarch64", pkg: "qemu-system-arm",
		args:    []string{"-machine", "virt", "-cpu", "cortex-a57", "-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"},
		control: "pci-serial", memory: 128, imageSize: 48 * mib,
		files:    map[string]string{"etc/fw_env.config": fwEnvConfig("/dev/vda", ubootCopy0, ubootCopy1)},
		sabotage: "dd if=/dev/zero of=/dev/vda bs=1M seek=4 count=2 conv=notrunc && sync",
		boot:     ubootBoot, flash: ubootFlash, vars: ubootVars,
	}
}

// Where the copies of the environment are, as testdata/boot.scr has it.
const (
	ubootCopy0, ubootCopy1 = 4 * mib, 5 * mib
	ubootEnvBytes          = 0x4000
)

func fwEnvConfig(device string, offsets ...int) string {
	var b strings.Builder
	for _, at := range offsets {
		b.WriteString(device + " " + hex(at) + " " + hex(ubootEnvBytes) + "\n")
	}
	return b.String()
}

func ubootBoot(t *testing.T, _ *board, content *blob) {
	t.Helper()
	vars := strings.Split(strings.TrimSpace(string(hosttest.Read(t, "testdata/uboot.env"))), "\n")
	// More sectors, so that a write can be torn anywhere.
	for _, name := range []string{"a", "c", "n"} {
		vars = append(vars, name+"="+strings.Repeat(name, 700))
	}
	slices.Sort(vars)
	list := []byte(strings.Join(vars, "\x00") + "\x00\x00")
	content.writeAt(ubootImage(list, ubootEnvBytes, 1), ubootCopy0)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "boot.scr"), ubootScript(hosttest.Read(t, "testdata/boot.scr")), 0o644))
	fat(t, content, dir)
}

// ubootImage is a stored environment: a checksum, flags if there are two copies, variables.
func ubootImage(list []byte, size int, flags ...byte) []byte {
	data := append(list, make([]byte, size-4-len(flags)-len(list))...)
	header := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	return slices.Concat(header, flags, data)
}

// ubootScript wraps a script as U-Boot's source command wants it: see include/image.h there.
func ubootScript(text []byte) []byte {
	body := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	body = append(append(body, 0, 0, 0, 0), text...)
	const linux, arm64, script = 5, 22, 6
	header := struct {
		Magic, Sum, Time, Size, Load, Entry, DataSum uint32
		OS, Arch, Type, Compression                  byte
		Name                                         [32]byte
	}{Magic: 0x27051956, Size: uint32(len(body)), DataSum: crc32.ChecksumIEEE(body), OS: linux, Arch: arm64, Type: script}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.BigEndian, header)
	header.Sum = crc32.ChecksumIEEE(b.Bytes())
	b.Reset()
	_ = binary.Write(&b, binary.BigEndian, header)
	return append(b.Bytes(), body...)
}

// ubootFlash has the environment that this build of U-Boot reads, and cannot save under QEMU: it
// says only to go on with the script.
func ubootFlash(t *testing.T) string {
	t.Helper()
	const size, flashBytes = 0x40000, 64 * mib
	list := strings.Join([]string{
		"baudrate=115200", "bootdelay=-2",
		"bootcmd=virtio scan; load virtio 0:1 40140000 /boot.scr; source 40140000; echo e2e: stopped",
	}, "\x00") + "\x00\x00"
	path := filepath.Join(t.TempDir(), "flash")
	must(t, os.WriteFile(path, ubootImage([]byte(list), size), 0o600))
	must(t, os.Truncate(path, flashBytes))
	return path
}

func ubootVars(t *testing.T, content *blob) map[string]string {
	t.Helper()
	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	must(t, os.WriteFile(env, slices.Concat(content.bytes(ubootCopy0, ubootEnvBytes), content.bytes(ubootCopy1, ubootEnvBytes)), 0o600))
	config := filepath.Join(dir, "fw_env.config")
	must(t, os.WriteFile(config, []byte(fwEnvConfig(env, 0, ubootEnvBytes)), 0o600))
	return parseVars(hosttest.Run(t, "libubootenv-tool", "fw_printenv", "-c", config))
}
