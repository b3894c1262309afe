package e2e_test

import (
	"testing"
	"time"
)

// TestSmallMemory installs an image of 256 MiB on a device with 64 MiB of memory, of which the
// kernel takes the larger part. A PC would need 72 MiB to boot Debian's kernel at all.
func TestSmallMemory(t *testing.T) {
	t.Parallel()
	began := time.Now()
	b := ubootBoard()
	b.memory, b.imageSize = 64, 256*mib
	binary := built(t, b)
	dir := t.TempDir()
	one := system{release: release(1)}.build(t, b, binary)
	two := system{release: release(2), filler: 180 * mib}.build(t, b, binary)
	two.artifact(t, dir, nil)
	u := &unit{t: t, b: b, images: []image{one, two}, disk: newDisk(b.disk(t, one, nil)), medium: media(t, dir), console: newConsole()}
	u.boots(u.power(), partA, release(1))
	t.Logf("memory: %s", u.run("free -k").out)
	u.flipside(0, "install /media/release-2.mender")
	u.env(partB, "1", "0")
	u.boots(u.reboot(), partB, release(2))
	u.flipside(0, "commit")
	u.idle(partB, release(2))
	t.Logf("%5.1f s", time.Since(began).Seconds())
}
