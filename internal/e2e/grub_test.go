package e2e_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// grubBoard is a PC with a BIOS and GRUB.
func grubBoard() *board {
	return &board{
		name: "grub", arch: "amd64", qemu: "qemu-system-x86_64", pkg: "qemu-system-x86",
		args:    []string{"-machine", "pc", "-cpu", "qemu64,+rdrand,+ssse3"},
		control: "isa-serial", memory: 128, imageSize: 36 * mib,
		files:    map[string]string{"boot/efi/.keep": ""},
		sabotage: "for n in 1 2; do : >/boot/efi/grub-mender-grubenv/mender_grubenv$n/env || exit 1; done; sync",
		boot:     grubBoot,
		vars:     grubVars,
	}
}

// grubBoot does what grub-install does, which itself needs a disk of the host.
func grubBoot(t *testing.T, _ *board, content *blob) {
	t.Helper()
	const lib = "/usr/lib/grub/i386-pc"
	core := filepath.Join(t.TempDir(), "core.img")
	hosttest.Run(t, "grub-common", "grub-mkimage", "-d", grubLib(t, lib), "-O", "i386-pc", "-o", core, "-p", "(hd0,msdos1)/grub",
		"biosdisk", "part_msdos", "fat", "ext2", "normal", "configfile", "linux", "loadenv", "test", "true", "echo", "reboot", "serial", "terminal")
	boot := hosttest.Read(t, filepath.Join(lib, "boot.img"))
	// As grub-install does: the BIOS says truly which disk it boots from, and the rest of GRUB
	// follows in the second sector.
	boot[0x66], boot[0x67] = 0x90, 0x90
	content.writeAt(boot[:440], 0)
	copyFile(t, content, sectorBytes, core)

	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "grub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "grub/grub.cfg"), hosttest.Read(t, "testdata/grub.cfg"), 0o644))
	for _, n := range []string{"mender_grubenv1", "mender_grubenv2"} {
		must(t, grubCopy(filepath.Join(dir, "grub-mender-grubenv", n)))
	}
	fat(t, content, dir)
}

func grubLib(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "boot.img")); err != nil {
		t.Fatalf("%v: install the Debian package grub-pc-bin (or run .ci/tools)", err)
	}
	return dir
}

// grubCopy is a copy of the environment from the factory. What is between the variables makes that
// they are in different sectors, so that a write can be torn between them.
func grubCopy(dir string) error {
	lock := grubBlock("editing=0")
	sum := sha256.Sum256(lock)
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "env"), grubBlock("bootcount=0", "mender_boot_part=2",
			"filler="+strings.Repeat("x", 600), "upgrade_available=0"), 0o644),
		os.WriteFile(filepath.Join(dir, "lock"), lock, 0o644),
		os.WriteFile(filepath.Join(dir, "lock.sha256sum"), []byte(fmt.Sprintf("%x  lock\n", sum)), 0o644),
	)
}

func grubBlock(lines ...string) []byte {
	text := "# GRUB Environment Block\n" + strings.Join(lines, "\n") + "\n"
	return []byte(text + strings.Repeat("#", 1024-len(text)))
}

// grubVars are the variables of the copy that GRUB takes.
func grubVars(t *testing.T, content *blob) map[string]string {
	t.Helper()
	dir := t.TempDir()
	img := filepath.Join(dir, "boot.img")
	must(t, os.WriteFile(img, content.bytes(bootStart, bootBytes), 0o600))
	hosttest.Run(t, "mtools", "mcopy", "-s", "-i", img, "::grub-mender-grubenv", dir)
	block := func(name string) map[string]string {
		return parseVars(hosttest.Run(t, "grub-common", "grub-editenv", filepath.Join(dir, "grub-mender-grubenv", name), "list"))
	}
	use := "mender_grubenv1"
	if block("mender_grubenv2/lock")["editing"] == "0" && block("mender_grubenv1/lock")["editing"] != "0" {
		use = "mender_grubenv2"
	}
	return block(use + "/env")
}
