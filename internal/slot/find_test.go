package slot_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"flipside/internal/slot"
)

func TestFindActive(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(w *world, c *slot.Config)
		active  string
		how     string // part of it
	}{
		"on partition A": {
			func(w *world, c *slot.Config) { w.mount("179:2", "/", "ext4", "/dev/root", "rw") },
			"A", "on device 179:2",
		},
		"on partition B": {
			func(w *world, c *slot.Config) { w.mount("179:3", "/", "ext4", "/dev/root", "rw") },
			"B", "on device 179:3",
		},
		"a name that lies loses against the number": {
			func(w *world, c *slot.Config) { w.mount("179:3", "/", "ext4", w.dev("mmcblk0p2"), "rw") },
			"B", "on device 179:3",
		},
		"a command line that lies loses against the number": {
			func(w *world, c *slot.Config) {
				w.mount("179:3", "/", "ext4", "/dev/root", "rw")
				w.write("proc/cmdline", "root=179:2\n")
			},
			"B", "on device 179:3",
		},
		"links to partitions": {
			func(w *world, c *slot.Config) {
				w.link("../../mmcblk0p2", "dev/disk/by-partuuid/0b5e-02")
				w.link("../../mmcblk0p3", "dev/disk/by-partuuid/0b5e-03")
				c.PartA, c.PartB = w.dev("disk/by-partuuid/0b5e-02"), w.dev("disk/by-partuuid/0b5e-03")
				w.mount("179:3", "/", "ext4", "/dev/root", "rw")
			},
			"B", "on device 179:3",
		},
		"dm-verity on B": {
			func(w *world, c *slot.Config) {
				w.disk("dm-0", "254:0")
				w.made("254:0", "179:3")
				w.mount("254:0", "/", "squashfs", "/dev/dm-0", "ro")
			},
			"B", "(dm-0), which is made of mmcblk0p3",
		},
		"a volume in LUKS on A": {
			func(w *world, c *slot.Config) {
				w.disk("dm-0", "254:0")
				w.disk("dm-1", "254:1")
				w.made("254:1", "254:0")
				w.made("254:0", "179:2")
				w.mount("254:1", "/", "ext4", "/dev/mapper/root", "rw")
			},
			"A", "(dm-1), which is made of dm-0, mmcblk0p2",
		},
		"slots that are mapped themselves": {
			func(w *world, c *slot.Config) {
				w.disk("dm-0", "254:0")
				w.disk("dm-1", "254:1")
				w.link("../dm-1", "dev/mapper/rootfs2") // the names are swapped, the numbers count
				w.link("../dm-0", "dev/mapper/rootfs3")
				c.PartA, c.PartB = w.dev("mapper/rootfs2"), w.dev("mapper/rootfs3")
				w.mount("254:0", "/", "ext4", "/dev/mapper/rootfs2", "rw")
			},
			"B", "on device 254:0",
		},
		"btrfs": {
			func(w *world, c *slot.Config) { w.mount("0:31", "/", "btrfs", w.dev("mmcblk0p3"), "rw") },
			"B", "the mount table names",
		},
		"btrfs in LUKS": {
			func(w *world, c *slot.Config) {
				w.disk("dm-0", "254:0")
				w.made("254:0", "179:3")
				w.mount("0:31", "/", "btrfs", w.dev("dm-0"), "rw")
			},
			"B", "made of mmcblk0p3",
		},
		"an overlay": {
			func(w *world, c *slot.Config) {
				w.mount("179:2", "/media/rfs/ro", "ext4", "/dev/root", "ro")
				w.mount("179:1", "/media/rfs/rw", "ext4", "/dev/mmcblk0p1", "rw")
				w.mount("0:22", "/", "overlay", "overlay", "rw,lowerdir=/media/rfs/ro,upperdir=/media/rfs/rw/up,workdir=/media/rfs/rw/work")
			},
			"A", "an overlay on /media/rfs/ro",
		},
		"an overlay on several directories, one with a colon": {
			func(w *world, c *slot.Config) {
				w.mount("0:40", "/addon", "tmpfs", "tmpfs", "ro")
				w.mount("179:3", "/ro:b", "ext4", "/dev/root", "ro")
				w.mount("0:22", "/", "overlay", "overlay", `rw,lowerdir=/gone:/addon:/ro\134:b,upperdir=/u`)
			},
			"B", "an overlay on /ro:b",
		},
		"an overlay as newer kernels show it": {
			func(w *world, c *slot.Config) {
				w.mount("179:3", "/ro", "ext4", "/dev/root", "ro")
				w.mount("0:22", "/", "overlay", "overlay", `rw,lowerdir+=/addon,lowerdir+=/ro,upperdir=/u`)
			},
			"B", "an overlay on /ro",
		},
		"an overlay whose directories the initramfs left behind": {
			func(w *world, c *slot.Config) {
				w.mount("0:22", "/", "overlay", "overlay", "rw,lowerdir=/lower")
				w.link("../../mmcblk0p3", "dev/disk/by-label/root\\x20b")
				w.write("proc/cmdline", "quiet \"root=LABEL=root b\" ro\n")
			},
			"", "", // a blank ends the word: nothing is guessed
		},
		"root=PARTUUID through udev's link": {
			func(w *world, c *slot.Config) {
				w.mount("0:22", "/", "overlay", "overlay", "rw,lowerdir=/lower")
				w.link("../../mmcblk0p3", "dev/disk/by-partuuid/5c4ff0a1-03")
				w.write("proc/cmdline", "root=/dev/mmcblk0p2 root=PARTUUID=5C4FF0A1-03 ro\n")
			},
			"B", "root=PARTUUID=5C4FF0A1-03",
		},
		"root=PARTLABEL without udev": {
			func(w *world, c *slot.Config) {
				w.mount("0:2", "/", "rootfs", "rootfs", "rw")
				w.write("sys/devices/mmcblk0/mmcblk0p2/uevent", "DEVNAME=mmcblk0p2\nPARTNAME=rootfs-a\n")
				w.write("sys/devices/mmcblk0/mmcblk0p3/uevent", "DEVNAME=mmcblk0p3\nPARTNAME=rootfs-b\n")
				w.write("proc/cmdline", "root=PARTLABEL=rootfs-a\n")
			},
			"A", "root=PARTLABEL=rootfs-a",
		},
		"root=LABEL with a slash": {
			func(w *world, c *slot.Config) {
				w.mount("0:2", "/", "rootfs", "rootfs", "rw")
				w.link("../../mmcblk0p2", `dev/disk/by-label/sys\x2froot`)
				w.write("proc/cmdline", "root=LABEL=sys/root\n")
			},
			"A", "root=LABEL=sys/root",
		},
		"root= a device, with / in a loop": {
			func(w *world, c *slot.Config) {
				w.disk("loop0", "7:0")
				w.mount("7:0", "/", "squashfs", "/dev/loop0", "ro")
				w.write("proc/cmdline", "root=/dev/mmcblk0p3\n")
			},
			"B", "root=/dev/mmcblk0p3",
		},
		"UBIFS by label": {
			func(w *world, c *slot.Config) { ubi(w, c); w.mount("0:14", "/", "ubifs", "ubi0:rootfs-b", "rw") },
			"B", "names ubi0:rootfs-b (ubifs)",
		},
		"UBIFS by label, other spelling": {
			func(w *world, c *slot.Config) { ubi(w, c); w.mount("0:14", "/", "ubifs", "ubi!rootfs-a", "rw") },
			"A", "names ubi!rootfs-a",
		},
		"UBIFS by number": {
			func(w *world, c *slot.Config) { ubi(w, c); w.mount("0:14", "/", "ubifs", "ubi0_1", "rw") },
			"B", "names ubi0_1",
		},
		"UBIFS by number of volume only": {
			func(w *world, c *slot.Config) { ubi(w, c); w.mount("0:14", "/", "ubifs", "ubi1", "rw") },
			"B", "names ubi1",
		},
		"UBIFS by node": {
			func(w *world, c *slot.Config) { ubi(w, c); w.mount("0:14", "/", "ubifs", w.dev("ubi0_0"), "rw") },
			"A", "ubi0_0",
		},
		"UBIFS, of which only the command line tells": {
			func(w *world, c *slot.Config) {
				ubi(w, c)
				w.mount("0:14", "/", "ubifs", "/dev/root", "rw")
				w.write("proc/cmdline", "ubi.mtd=4 root=ubi0:rootfs-b rootfstype=ubifs\n")
			},
			"B", "root=ubi0:rootfs-b",
		},
		"squashfs on ubiblock": {
			func(w *world, c *slot.Config) {
				ubi(w, c)
				w.disk("ubiblock0_1", "252:0")
				w.mount("252:0", "/", "squashfs", "/dev/ubiblock0_1", "ro")
			},
			"B", "on ubiblock0_1",
		},
		"another disk, whatever the command line says": {
			func(w *world, c *slot.Config) {
				w.disk("mmcblk1", "179:32")
				w.partition("mmcblk1", "mmcblk1p1", "179:33")
				w.mount("179:33", "/", "ext4", "/dev/root", "rw")
				w.write("proc/cmdline", "root=/dev/mmcblk0p2\n")
			},
			"", "/ is on device 179:33",
		},
		"a RAID of both": {
			func(w *world, c *slot.Config) {
				w.disk("md0", "9:0")
				w.made("9:0", "179:2")
				w.made("9:0", "179:3")
				w.mount("9:0", "/", "ext4", "/dev/md0", "rw")
			},
			"", "both slots are part of that",
		},
		"nothing to go by": {
			func(w *world, c *slot.Config) { w.mount("0:2", "/", "rootfs", "rootfs", "rw") },
			"", "there is no root= on the kernel's command line",
		},
		"the operator knows": {
			func(w *world, c *slot.Config) { w.mount("0:2", "/", "rootfs", "rootfs", "rw"); c.Booted = "B" },
			"B", "the operator says so",
		},
		"the operator agrees": {
			func(w *world, c *slot.Config) { w.mount("179:3", "/", "ext4", "/dev/root", "rw"); c.Booted = "B" },
			"B", "on device 179:3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.config()
			test.arrange(w, &c)
			p, err := slot.Find(c)
			if test.active == "" {
				if !errors.Is(err, slot.ErrActiveUnknown) || !strings.Contains(err.Error(), test.how) {
					t.Fatalf("Find: pair %v, error %v; want ErrActiveUnknown with %q", p, err, test.how)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Active().Name != test.active || !strings.Contains(p.How(), test.how) {
				t.Errorf("Find: active %s, because %q; want %s, because %q", p.Active().Name, p.How(), test.active, test.how)
			}
			if p.Inactive().Name == p.Active().Name {
				t.Errorf("slot %s is active and inactive", p.Active().Name)
			}
		})
	}
}

// ubi makes volumes 0 and 1 the slots.
func ubi(w *world, c *slot.Config) {
	w.volume("ubi0_0", "rootfs-a", "250:1")
	w.volume("ubi0_1", "rootfs-b", "250:2")
	w.volume("ubi1_1", "rootfs-b", "249:2")
	c.PartA, c.PartB = "ubi0_0", "ubi0_1"
}

func TestFindRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(w *world, c *slot.Config)
		want    string
	}{
		"A is not configured": {func(w *world, c *slot.Config) { c.PartA = "" }, "slot A: RootfsPartA is not configured"},
		"B is not configured": {func(w *world, c *slot.Config) { c.PartB = "" }, "slot B: RootfsPartB is not configured"},
		"B does not exist":    {func(w *world, c *slot.Config) { c.PartB = w.dev("mmcblk0p7") }, "mmcblk0p7: no such file"},
		"A and B are one":     {func(w *world, c *slot.Config) { c.PartB = c.PartA }, "are the same block device"},
		"B is a link to A":    {func(w *world, c *slot.Config) { w.link("mmcblk0p2", "dev/b3"); c.PartB = w.dev("b3") }, "are the same block device"},
		"B is a file":         {func(w *world, c *slot.Config) { w.file("dev/file3", "x"); c.PartB = w.dev("file3") }, "neither a block device nor a UBI volume"},
		"B is a directory":    {func(w *world, c *slot.Config) { w.mount("179:1", w.dir, "ext4", "x", "rw"); c.PartB = w.dir }, "neither a block device nor a UBI volume"},
		"B is a character": {func(w *world, c *slot.Config) {
			w.node("tty3", "4:3", os.ModeDevice|os.ModeCharDevice)
			c.PartB = w.dev("tty3")
		}, "no UBI volume"},
		"equal numbers":   {func(w *world, c *slot.Config) { w.disk("sda2", "8:2"); c.PartB = w.dev("sda2") }, "both have the number 2"},
		"no number":       {func(w *world, c *slot.Config) { w.disk("sdb", "8:16"); c.PartB = w.dev("sdb") }, "does not end in a number"},
		"a mapped device": {func(w *world, c *slot.Config) { w.disk("dm-3", "254:3"); c.PartB = w.dev("dm-3") }, "mapped device"},
		"a label of one": {func(w *world, c *slot.Config) {
			w.disk("dm-3", "254:3")
			w.link("../../dm-3", "dev/disk/by-label/b7")
			c.PartB = w.dev("disk/by-label/b7")
		}, "mapped device"},
		"a number too large": {func(w *world, c *slot.Config) {
			w.disk("sd99999999999999999999", "8:16")
			c.PartB = w.dev("sd99999999999999999999")
		}, "no partition number"},
		"no sysfs": {func(w *world, c *slot.Config) { c.Sys = w.path("none") }, "no such file"},
		"no mount table": {func(w *world, c *slot.Config) {
			c.Proc = w.path("none")
			w.mount("0:22", "/", "overlay", "overlay", "rw")
		}, "mount table"},
		"a garbled mount table": {func(w *world, c *slot.Config) {
			w.mount("0:22", "/", "overlay", "overlay", "rw")
			w.write("proc/self/mountinfo", "27 1 x\n")
		}, "unknown line"},
		"the operator is wrong": {func(w *world, c *slot.Config) { c.Booted = "B" }, "slot B is said to run, but slot A does"},
		"no such slot":          {func(w *world, c *slot.Config) { c.Booted = "C" }, `there is no slot "C"`},
		"UBI without a volume":  {func(w *world, c *slot.Config) { ubi(w, c); c.PartB = "ubi0:rootfs-c" }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mount("179:2", "/", "ext4", "/dev/root", "rw")
			c := w.config()
			test.arrange(w, &c)
			p, err := slot.Find(c)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Find: pair %v, error %v; want an error with %q", p, err, test.want)
			}
		})
	}
}

func TestSlot(t *testing.T) {
	for name, test := range map[string]struct {
		part   func(w *world) string
		number int
		device string
		size   int64
		kind   slot.Kind
	}{
		"eMMC":             {func(w *world) string { return device(w, "mmcblk1p4") }, 4, "mmcblk1p4", 100 << 20, slot.Block},
		"NVMe":             {func(w *world) string { return device(w, "nvme0n1p7") }, 7, "nvme0n1p7", 100 << 20, slot.Block},
		"SCSI":             {func(w *world) string { return device(w, "sda10") }, 10, "sda10", 100 << 20, slot.Block},
		"leading zero":     {func(w *world) string { return device(w, "x0p08") }, 8, "x0p08", 100 << 20, slot.Block},
		"link by partuuid": {func(w *world) string { return disklink(w, "by-partuuid/7f6a-99", "sda12") }, 12, "sda12", 100 << 20, slot.Block},
		"link by label":    {func(w *world) string { return disklink(w, "by-label/rootfs1", "sda12") }, 12, "sda12", 100 << 20, slot.Block},
		"link with number": {func(w *world) string { device(w, "dm-1"); w.link("dm-1", "dev/root5"); return w.dev("root5") }, 5, "dm-1", 100 << 20, slot.Block},
		"link without":     {func(w *world) string { device(w, "sda6"); w.link("sda6", "dev/slot-b"); return w.dev("slot-b") }, 6, "sda6", 100 << 20, slot.Block},
		"/dev/root":        {func(w *world) string { device(w, "sda6"); w.link("sda6", "dev/root"); return w.dev("root") }, 6, "sda6", 100 << 20, slot.Block},
		"UBI":              {func(w *world) string { w.volume("ubi0_4", "b", "250:5"); return "ubi0_4" }, 4, "ubi0_4", 100 * 126976, slot.Volume},
		"UBI with /dev":    {func(w *world) string { w.volume("ubi0_4", "b", "250:5"); return w.dev("ubi0_4") }, 4, "ubi0_4", 100 * 126976, slot.Volume},
		"UBI by label":     {func(w *world) string { w.volume("ubi0_4", "b9", "250:5"); return "ubi0:b9" }, 4, "ubi0_4", 100 * 126976, slot.Volume},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mount("179:2", "/", "ext4", "/dev/root", "rw")
			c := w.config()
			c.PartB = test.part(w)
			p, err := slot.Find(c)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Inactive()
			if got.Part != test.number || got.Device != w.dev(test.device) || got.Size != test.size || got.Kind != test.kind || got.Path != c.PartB {
				t.Errorf("slot at %s is %+v; want part %d of %s, %d bytes, a %s", c.PartB, got, test.number, test.device, test.size, test.kind)
			}
			if found, ok := p.WithPart(test.number); !ok || found.Name != "B" {
				t.Errorf("WithPart(%d) = %v, %v; want slot B", test.number, found, ok)
			}
			if found, ok := p.WithPart(99); ok {
				t.Errorf("WithPart(99) = %v; want none", found)
			}
		})
	}
}

func device(w *world, name string) string {
	w.disk(name, "259:5")
	return w.dev(name)
}

func disklink(w *world, link, name string) string {
	device(w, name)
	w.link("../../"+name, "dev/disk/"+link)
	return w.dev("disk/" + link)
}

// TestFindFiles: a sandbox, in which a link says what runs.
func TestFindFiles(t *testing.T) {
	w := newWorld(t)
	w.write("slots/root2", "aaaa")
	w.write("slots/root3", "bbbbbb")
	w.link("slots/root3", "running")
	c := slot.Config{PartA: w.path("slots/root2"), PartB: w.path("slots/root3"), Root: w.path("running"), AllowFiles: true}
	p, err := slot.Find(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Inactive(); got.Name != "A" || got.Part != 2 || got.Size != 4 || got.Kind != slot.File {
		t.Errorf("the inactive slot is %+v; want A, part 2, 4 bytes", got)
	}
	c.AllowFiles = false
	if p, err := slot.Find(c); err == nil {
		t.Errorf("without AllowFiles, Find = %v; want an error", p)
	}
	c.AllowFiles, c.Root = true, w.path("slots/none")
	if _, err := slot.Find(c); !errors.Is(err, slot.ErrActiveUnknown) {
		t.Errorf("with no running slot, Find: %v; want ErrActiveUnknown", err)
	}
	w.write("other", "")
	c.Root = w.path("other")
	if _, err := slot.Find(c); !errors.Is(err, slot.ErrActiveUnknown) {
		t.Errorf("with another running file, Find: %v; want ErrActiveUnknown", err)
	}
}
