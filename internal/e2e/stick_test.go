package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"flipside/internal/hosttest"
)

// TestStick installs from a USB stick with a FAT file system, which is pulled in the middle the first
// time, and then plugged in again. It is told on one board: sticks have nothing to do with
// bootloaders.
func TestStick(t *testing.T) {
	t.Parallel()
	b := grubBoard()
	b.memory = 192 // the kernel that knows USB is larger
	binary := built(t, b)
	dir := t.TempDir()
	one := system{release: release(1), generic: true}.build(t, b, binary)
	two := system{release: release(2), generic: true}.build(t, b, binary)
	two.artifact(t, dir, nil)
	u := &unit{
		t: t, b: b, images: []image{one, two}, disk: newDisk(b.disk(t, one, nil)), console: newConsole(),
		more: []string{"-device", "qemu-xhci,id=usb", "-blockdev", "driver=file,node-name=stick,read-only=on,filename=" + stick(t, dir)},
	}
	u.tells(pulled)
}

// pulled loses its stick while it writes, and gets it back.
func pulled(u *unit) {
	if a := u.run("usb"); a.code != 0 {
		u.fatalf("usb: %s%s", a.out, a.stderr)
	}
	u.says(8, "install usb:", "no USB stick")

	u.monitor("device_add", stickDevice())
	begun := u.disk.written(u.b.slotStart(partB) + u.b.imageSize/4)
	// What was read when the file was checked must not come from memory again.
	must(u.t, u.send("while usleep 100000; do echo 1 >/proc/sys/vm/drop_caches; done & flipside install --wait 120s usb:/release-2.mender; code=$?; kill $!; exit $code"))
	select {
	case <-begun:
	case <-time.After(patience):
		u.fatalf("nothing is installed")
	}
	u.monitor("device_del", map[string]any{"id": "stick"})
	a, err := u.answer()
	must(u.t, err)
	if a.code != 8 {
		u.fatalf("the stick was pulled: exit code %d; want 8\n%s%s", a.code, a.out, a.stderr)
	}
	u.env(partA, "0", "0")
	u.idle(partA, release(1))
	u.complete(u.disk.content(), partA, release(1))

	// It is plugged in while flipside waits for it.
	must(u.t, u.send("flipside install --wait 120s usb:LABEL=UPDATES/release-2.mender"))
	u.monitor("device_add", stickDevice())
	if a, err := u.answer(); err != nil || a.code != 0 {
		u.fatalf("exit code %d, %v\n%s%s", a.code, err, a.out, a.stderr)
	}
	u.ends(partB, release(2))
}

func stickDevice() map[string]any {
	return map[string]any{"driver": "usb-storage", "id": "stick", "drive": "stick", "bus": "usb.0", "removable": true}
}

// stick makes a stick with what is in dir.
func stick(t *testing.T, dir string) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "stick")
	hosttest.Run(t, "dosfstools", "mkfs.vfat", "-F", "32", "-n", "UPDATES", "-C", img, fmt.Sprint(96*mib/1024))
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		hosttest.Run(t, "mtools", "mcopy", "-i", img, filepath.Join(dir, e.Name()), "::")
	}
	return img
}
