package e2e_test

import "testing"

// TestSmallMemory installs an image of 256 MiB on a device with 64 MiB of memory, of which the
// kernel takes the larger part. A PC would need 72 MiB to boot Debian's kernel at all.
func TestSmallMemory(t *testing.T) {
	t.Parallel()
	b := ubootBoard()
	b.memory, b.imageSize = 64, 256*mib
	binary := built(t, b)
	dir := t.TempDir()
	one := system{release: release(1)}.build(t, b, binary)
	two := system{release: release(2), filler: 180 * mib}.build(t, b, binary)
	two.artifact(t, dir, nil)
	u := &unit{t: t, b: b, images: []image{one, two}, disk: newDisk(b.disk(t, one, nil)), medium: media(t, dir), console: newConsole()}
	u.tells(func(u *unit) {
		t.Logf("memory: %s", u.run("free -k").out)
		u.flipside(0, "install /media/release-2.mender")
		u.ends(partB, release(2))
	})
}
