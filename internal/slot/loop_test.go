package slot_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/progress"
	"flipside/internal/slot"
)

// These tests ask the real kernel, with loop devices.

// loop makes a block device of size bytes and returns its path.
func loop(t testing.TB, size int64, options ...string) string {
	t.Helper()
	return hosttest.Loop(t, hosttest.Image(t, size), options...)
}

// mounted makes an ext4 file system on dev and mounts it until the test ends.
func mounted(t testing.TB, dev string) string {
	t.Helper()
	hosttest.Run(t, "e2fsprogs", "mkfs.ext4", "-q", "-F", dev)
	point := t.TempDir()
	if err := unix.Mount(dev, point, "ext4", 0, ""); err != nil {
		t.Fatalf("mounting %s: %v", dev, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(point, 0); err != nil {
			t.Errorf("unmounting %s: %v", point, err)
		}
	})
	return point
}

// loops are two loop devices as slots, of which the first one is mounted as the running system.
func loops(t testing.TB, size int64, options ...string) (slot.Config, slot.Pair) {
	t.Helper()
	a, b := loop(t, size, options...), loop(t, size, options...)
	c := slot.Config{PartA: a, PartB: b, Root: mounted(t, a)}
	return c, find(t, c)
}

func find(t testing.TB, c slot.Config) slot.Pair {
	t.Helper()
	p, err := slot.Find(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLoopFind(t *testing.T) {
	c, p := loops(t, 16*mib)
	if p.Active().Device != c.PartA || p.Inactive().Size != 16*mib {
		t.Errorf("active is %s, inactive is %+v; want %s and 16 MiB", p.Active().Device, p.Inactive(), c.PartA)
	}
	if err := slot.Refuse(c, p); err != nil {
		t.Errorf("Refuse: %v; want nil", err)
	}
	// An overlay on it has no device number; the kernel's mount table says what is below.
	over := t.TempDir()
	for _, dir := range []string{"up", "work", "all"} {
		if err := os.Mkdir(filepath.Join(over, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	all := filepath.Join(over, "all")
	options := "lowerdir=" + c.Root + ",upperdir=" + filepath.Join(over, "up") + ",workdir=" + filepath.Join(over, "work")
	if err := unix.Mount("overlay", all, "overlay", 0, options); err != nil {
		t.Fatalf("mounting an overlay: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(all, 0) })
	c.Root = all
	p = find(t, c)
	if p.Active().Name != "A" || !strings.Contains(p.How(), "an overlay on") {
		t.Errorf("below the overlay: active is %s, because %q; want A", p.Active().Name, p.How())
	}
}

func TestLoopRefuses(t *testing.T) {
	t.Run("mounted", func(t *testing.T) {
		c, p := loops(t, 16*mib)
		point := mounted(t, c.PartB)
		err := slot.Refuse(c, p)
		if !errors.Is(err, slot.ErrInUse) || !strings.Contains(err.Error(), "it is mounted on "+point) {
			t.Errorf("Refuse: %v; want ErrInUse, naming %s", err, point)
		}
		if _, err := slot.Open(slot.Access{Config: c}, p.Inactive()); !errors.Is(err, slot.ErrInUse) {
			t.Errorf("Open: %v; want ErrInUse", err)
		}
	})
	t.Run("held", func(t *testing.T) {
		c, p := loops(t, 16*mib)
		first, err := slot.Open(slot.Access{Config: c}, p.Inactive())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := slot.Open(slot.Access{Config: c}, p.Inactive()); !errors.Is(err, slot.ErrInUse) {
			t.Errorf("opening it twice: %v; want ErrInUse", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := slot.Open(slot.Access{Config: c}, p.Inactive())
		if err != nil {
			t.Fatalf("opening it after Close: %v", err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("swap", func(t *testing.T) {
		c, p := loops(t, 16*mib)
		hosttest.Run(t, "util-linux", "mkswap", c.PartB)
		hosttest.Run(t, "mount", "swapon", c.PartB)
		defer hosttest.Run(t, "mount", "swapoff", c.PartB)
		if err := slot.Refuse(c, p); !errors.Is(err, slot.ErrInUse) || !strings.Contains(err.Error(), "swap space") {
			t.Errorf("Refuse: %v; want ErrInUse, as swap space", err)
		}
		if _, err := slot.Open(slot.Access{Config: c}, p.Inactive()); !errors.Is(err, slot.ErrInUse) {
			t.Errorf("Open: %v; want ErrInUse", err)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		c, _ := loops(t, 16*mib)
		c.PartB = loop(t, 16*mib, "-r")
		p := find(t, c)
		if err := slot.Refuse(c, p); err == nil || !strings.Contains(err.Error(), "it is read-only") {
			t.Errorf("Refuse: %v; want that it is read-only", err)
		}
	})
	t.Run("the disk with a mounted partition", func(t *testing.T) {
		c, _ := loops(t, 16*mib)
		c.PartB = partitioned(t)
		part := c.PartB + "p1"
		point := mounted(t, part)
		p := find(t, c)
		err := slot.Refuse(c, p)
		if !errors.Is(err, slot.ErrInUse) || !strings.Contains(err.Error(), "is mounted on "+point) {
			t.Errorf("Refuse: %v; want ErrInUse, naming %s", err, point)
		}
		if _, err := slot.Open(slot.Access{Config: c}, p.Inactive()); !errors.Is(err, slot.ErrInUse) {
			t.Errorf("Open: %v; want ErrInUse", err)
		}
		c.PartA, c.PartB = part, c.PartA
		c.Root = point
		c.PartB = strings.TrimSuffix(part, "p1")
		if got := find(t, c).Active().Device; got != part {
			t.Fatalf("active is %s; want %s", got, part)
		}
		if err := slot.Refuse(c, find(t, c)); err == nil || !strings.Contains(err.Error(), "is slot A") {
			t.Errorf("Refuse of the running slot's disk: %v; want an error", err)
		}
	})
}

// partitioned is a loop device of 32 MiB with one partition of 16 MiB. The kernel is told so: some
// do not read partition tables.
func partitioned(t *testing.T) string {
	t.Helper()
	dev := loop(t, 32*mib)
	hosttest.Run(t, "util-linux", "addpart", dev, "1", "2048", "32768")
	t.Cleanup(func() { hosttest.Run(t, "util-linux", "delpart", dev, "1") })
	return dev
}

// TestLoopWrite: direct access to real devices with sectors of both sizes, and images of odd ones.
func TestLoopWrite(t *testing.T) {
	for name, options := range map[string][]string{"512": nil, "4096": {"-b", "4096"}} {
		t.Run(name, func(t *testing.T) {
			c, p := loops(t, 16*mib, options...)
			before := noise(16*mib, 9)
			if err := os.WriteFile(c.PartB, before, 0); err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1, 511, 512, 4097, 3*mib - 1, 5*mib + 4096 + 512 + 7, 16 * mib} {
				image := noise(size, uint64(size))
				record := &opens{}
				target, err := slot.Open(slot.Access{Config: c, FS: record}, p.Inactive())
				if err != nil {
					t.Fatal(err)
				}
				if last := record.flags[len(record.flags)-1]; last != os.O_RDWR|unix.O_EXCL|unix.O_DIRECT {
					t.Errorf("opened with %#x; want O_DIRECT and O_EXCL", last)
				}
				if _, err := target.WriteAndReadBack(t.Context(), blocks{bytes.NewReader(image)}, int64(size)); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if err := target.Close(); err != nil {
					t.Fatal(err)
				}
				copy(before, image)
				if !bytes.Equal(hosttest.Read(t, c.PartB), before) {
					t.Fatalf("%d bytes: the device is not the image followed by what was there", size)
				}
			}
		})
	}
}

// opens records how files are opened, and can keep O_DIRECT away.
type opens struct {
	disk.OS
	flags    []int
	buffered bool
}

func (o *opens) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	if o.buffered && flag&unix.O_DIRECT != 0 {
		return nil, &os.PathError{Op: "open", Path: name, Err: unix.EINVAL}
	}
	o.flags = append(o.flags, flag)
	return o.OS.OpenFile(name, flag, perm)
}

// TestLoopCached: through the page cache, of which little may be used, and none may be believed.
func TestLoopCached(t *testing.T) {
	c, p := loops(t, 32*mib)
	image := noise(32*mib, 4)
	access := slot.Access{Config: c, FS: &opens{buffered: true}}
	target, err := slot.Open(access, p.Inactive())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.WriteAndReadBack(t.Context(), blocks{bytes.NewReader(image)}, 32*mib); err != nil {
		t.Fatal(err)
	}
	if pages := residentPages(t, c.PartB, 32*mib); pages > 8*mib/os.Getpagesize() {
		t.Errorf("%d pages are in the page cache; want them dropped", pages)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	events := &sink{}
	events.at(progress.ReadBack, func() { spoil(t, c.PartB, 20*mib) })
	access.Sink = events
	_, err = put(t, access, p.Inactive(), image)
	if !errors.Is(err, slot.ErrReadBack) || !strings.Contains(err.Error(), "between byte 20971520 and byte 22020095") {
		t.Errorf("reading back a rotten medium: %v; want ErrReadBack, and where", err)
	}
}

// TestLoopStaleCache: pages in the cache are no reason not to write, for they may never have reached
// the medium.
func TestLoopStaleCache(t *testing.T) {
	c, p := loops(t, 8*mib)
	image := noise(8*mib, 4)
	access := slot.Access{Config: c, FS: &opens{buffered: true}}
	if _, err := put(t, access, p.Inactive(), image); err != nil {
		t.Fatal(err)
	}
	keep, err := os.Open(c.PartB) // the cache lives as long as the device is open
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	if !bytes.Equal(hosttest.Read(t, c.PartB), image) {
		t.Fatal("the slot does not have the image")
	}
	spoil(t, c.PartB, 3*mib)
	if !bytes.Equal(hosttest.Read(t, c.PartB), image) {
		t.Fatal("this test needs a page cache that does not know the medium")
	}
	stats, err := put(t, access, p.Inactive(), image)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Written != 4096 {
		t.Errorf("%+v; want the spoilt 4 KiB written", stats)
	}
}

// spoil changes the file behind a loop device: the medium, of whose changes the cache knows nothing.
func spoil(t *testing.T, dev string, at int64) {
	t.Helper()
	f, err := os.OpenFile(hosttest.Run(t, "mount", "losetup", "-n", "-O", "BACK-FILE", dev), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("rot"), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLoopNodeReplaced: the name of the slot leads to the running one when it is opened.
func TestLoopNodeReplaced(t *testing.T) {
	c, _ := loops(t, 8*mib)
	number := func(dev string) int {
		var st unix.Stat_t
		if err := unix.Stat(dev, &st); err != nil {
			t.Fatal(err)
		}
		return int(st.Rdev)
	}
	other := loop(t, 8*mib)
	node := filepath.Join(t.TempDir(), "slot99")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, number(c.PartB)); err != nil {
		t.Fatal(err)
	}
	c.PartB = node
	p := find(t, c)
	if err := os.Remove(node); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, number(other)); err != nil {
		t.Fatal(err)
	}
	if _, err := slot.Open(slot.Access{Config: c}, p.Inactive()); err == nil || !strings.Contains(err.Error(), "became something else") {
		t.Errorf("Open: %v; want an error", err)
	}
}

// residentPages counts the pages of a device that are in the page cache.
func residentPages(t *testing.T, dev string, size int) int {
	t.Helper()
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	n := 0
	for _, page := range mincore(t, memory) {
		n += int(page & 1)
	}
	return n
}

// TestLoopShort: the device ends before sysfs says so.
func TestLoopShort(t *testing.T) {
	c, p := loops(t, 8*mib)
	short := p.Inactive()
	short.Size = 16 * mib
	target, err := slot.Open(slot.Access{Config: c}, short)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	_, err = target.Write(t.Context(), blocks{repeat(noise(mib, 1), 12)}, 12*mib)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Write beyond the end: %v; want ENOSPC", err)
	}
}
