package slot_test

import (
	"errors"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/internal/slot"
)

func TestRefuse(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(w *world, c *slot.Config)
		want    string // "" if B may be written
		inUse   bool
	}{
		"free": {func(w *world, c *slot.Config) {}, "", false},
		"others are mounted": {
			func(w *world, c *slot.Config) {
				w.mount("179:1", "/boot", "vfat", "/dev/mmcblk0p1", "rw")
				w.mount("0:5", "/tmp", "tmpfs", "tmpfs", "rw")
			}, "", false,
		},
		"mounted": {
			func(w *world, c *slot.Config) { w.mount("179:3", `/mnt/with\040blank`, "ext4", "/dev/whatever", "rw") },
			"it is mounted on /mnt/with blank", true,
		},
		"mounted as btrfs": {
			func(w *world, c *slot.Config) { w.mount("0:40", "/mnt", "btrfs", w.dev("mmcblk0p3"), "rw") },
			"it is mounted on /mnt", true,
		},
		"what is made of it is mounted": {
			func(w *world, c *slot.Config) {
				w.disk("dm-0", "254:0")
				w.made("254:0", "179:3")
				w.mount("254:0", "/mnt", "ext4", "/dev/mapper/b", "rw")
			}, "its part dm-0 is mounted on /mnt", true,
		},
		"held": {
			func(w *world, c *slot.Config) {
				w.disk("dm-0", "254:0")
				w.write("sys/devices/dm-0/dm/name", "backup\n")
				w.made("254:0", "179:3")
			}, "it is held by dm-0 (backup)", true,
		},
		"its disk is mounted as a whole": {
			func(w *world, c *slot.Config) {
				w.disk("sda", "8:0")
				w.partition("sda", "sda3", "8:3")
				c.PartB = w.dev("sda3")
				w.mount("8:0", "/mnt", "ext4", "/dev/sda", "rw")
			}, "its whole disk sda is mounted on /mnt", true,
		},
		"swap": {
			func(w *world, c *slot.Config) {
				w.write("proc/swaps", "Filename Type Size Used Priority\n"+w.dev("mmcblk0p3")+"   partition 1000 0 -2\n")
			}, "it is swap space", true,
		},
		"its part is swap": {
			func(w *world, c *slot.Config) {
				w.disk("x7", "8:16")
				w.partition("x7", "x7p1", "8:17")
				c.PartB = w.dev("x7")
				w.write("proc/swaps", "Filename Type Size Used Priority\n"+w.dev("x7p1")+"   partition 1000 0 -2\n")
			}, "its part x7p1 is swap space", true,
		},
		"swap to something else": {
			func(w *world, c *slot.Config) {
				w.write("proc/swaps", "Filename Type Size Used Priority\n"+w.dev("mmcblk0p1")+"   partition 1000 0 -2\n/gone file 1 0 -3\n")
			}, "", false,
		},
		"the disk with the running slot": {
			func(w *world, c *slot.Config) { c.PartB = w.dev("mmcblk0") },
			"its part mmcblk0p2 is slot A", false,
		},
		"a disk with a mounted partition": {
			func(w *world, c *slot.Config) {
				w.disk("x7", "8:16")
				w.partition("x7", "x7p1", "8:17")
				c.PartB = w.dev("x7")
				w.mount("8:17", "/data", "ext4", "/dev/x7p1", "rw")
			}, "its part x7p1 is mounted on /data", true,
		},
		"read-only": {
			func(w *world, c *slot.Config) { w.write("sys/devices/mmcblk0/mmcblk0p3/ro", "1\n") },
			"it is read-only", false,
		},
		"not known whether read-only": {
			func(w *world, c *slot.Config) { w.write("sys/devices/mmcblk0/mmcblk0p3/ro", "") },
			"cannot be written", false,
		},
		"no mount table": {
			func(w *world, c *slot.Config) { c.Proc = w.path("none") },
			"mount table", false,
		},
		"a garbled mount table": {
			func(w *world, c *slot.Config) { w.write("proc/self/mountinfo", "27 1 a:b / / rw - x y z\n") },
			"unknown line", false,
		},
		"a mounted volume": {
			func(w *world, c *slot.Config) {
				ubi(w, c)
				w.table.Reset()
				w.mount("0:14", "/", "ubifs", "ubi0:rootfs-a", "rw")
				w.mount("0:15", "/mnt", "ubifs", "ubi0_1", "rw")
			}, "it is mounted on /mnt", true,
		},
		"a free volume": {
			func(w *world, c *slot.Config) {
				ubi(w, c)
				w.table.Reset()
				w.mount("0:14", "/", "ubifs", "ubi0:rootfs-a", "rw")
			}, "", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mount("179:2", "/", "ext4", "/dev/root", "rw")
			c := w.config()
			test.arrange(w, &c)
			p, err := slot.Find(c)
			if err != nil {
				t.Fatal(err)
			}
			err = slot.Refuse(c, p)
			switch {
			case test.want == "":
				if err != nil {
					t.Errorf("Refuse: %v; want nil", err)
				}
			case err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "slot B"):
				t.Errorf("Refuse: %v; want an error with %q", err, test.want)
			case errors.Is(err, slot.ErrInUse) != test.inUse:
				t.Errorf("Refuse: %v; is ErrInUse: %v; want %v", err, !test.inUse, test.inUse)
			}
		})
	}
}

func TestRefuseSelection(t *testing.T) {
	w := newWorld(t)
	w.mount("179:2", "/", "ext4", "/dev/root", "rw")
	p, err := slot.Find(w.config())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		sel  bootenv.Selection
		want string
	}{
		{bootenv.Selection{Part: 2}, ""},
		{bootenv.Selection{Part: 3, Trial: true}, "on trial already: slot B"},
		{bootenv.Selection{Part: 2, Trial: true}, "on trial already: slot A"},
		{bootenv.Selection{Part: 3}, "the bootloader has selected slot B"},
		{bootenv.Selection{Part: 7}, "the bootloader has selected part 7, which is neither slot"},
	} {
		err := slot.RefuseSelection(p, test.sel)
		if test.want == "" {
			if err != nil {
				t.Errorf("RefuseSelection(%+v) = %v; want nil", test.sel, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("RefuseSelection(%+v) = %v; want an error with %q", test.sel, err, test.want)
		}
		if errors.Is(err, slot.ErrOnTrial) != test.sel.Trial {
			t.Errorf("RefuseSelection(%+v) = %v; ErrOnTrial: %v; want %v", test.sel, err, !test.sel.Trial, test.sel.Trial)
		}
	}
}
