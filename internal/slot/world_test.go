package slot_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/internal/slot"
)

// world is a machine made of files: its /dev, /sys and /proc. Device nodes are plain files, and
// Stat says that they are devices.
type world struct {
	t     *testing.T
	dir   string
	nodes map[string]slot.Node
	table strings.Builder // mountinfo
}

// newWorld is a machine with an eMMC of three partitions, of which 2 and 3 are the slots, on which
// nothing is mounted yet.
func newWorld(t *testing.T) *world {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, nodes: map[string]slot.Node{}}
	w.write("proc/cmdline", "console=ttyS0 quiet\n")
	w.write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
	w.disk("mmcblk0", "179:0")
	w.partition("mmcblk0", "mmcblk0p1", "179:1")
	w.partition("mmcblk0", "mmcblk0p2", "179:2")
	w.partition("mmcblk0", "mmcblk0p3", "179:3")
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }
func (w *world) dev(name string) string  { return w.path("dev/" + name) }

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) link(target, name string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(target, w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func number(t *testing.T, s string) slot.Number {
	t.Helper()
	var n slot.Number
	if _, err := fmt.Sscanf(s, "%d:%d", &n.Major, &n.Minor); err != nil {
		t.Fatalf("device number %q: %v", s, err)
	}
	return n
}

func (w *world) node(name, num string, mode fs.FileMode) {
	w.write("dev/"+name, "")
	w.nodes[w.dev(name)] = slot.Node{Mode: mode, Rdev: number(w.t, num), Dev: slot.Number{Minor: 6}}
}

// blockDevice makes a device of 100 MiB whose sysfs directory is devices/sub.
func (w *world) blockDevice(sub, num string) {
	name := filepath.Base(sub)
	w.node(name, num, fs.ModeDevice)
	at := "sys/devices/" + sub
	w.write(at+"/dev", num+"\n")
	w.write(at+"/size", "204800\n")
	w.write(at+"/ro", "0\n")
	w.write(at+"/uevent", "DEVNAME="+name+"\n")
	for _, empty := range []string{"holders", "slaves"} {
		if err := os.MkdirAll(w.path(at+"/"+empty), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	w.link("../../devices/"+sub, "sys/dev/block/"+num)
}

func (w *world) disk(name, num string) { w.blockDevice(name, num) }

func (w *world) partition(disk, name, num string) {
	w.blockDevice(disk+"/"+name, num)
	w.write("sys/devices/"+disk+"/"+name+"/partition", "1\n")
}

// made says that device top is made of device bottom, as dm-verity and LUKS are.
func (w *world) made(top, bottom string) {
	w.link(w.path("sys/dev/block/"+bottom), "sys/dev/block/"+top+"/slaves/x"+strings.ReplaceAll(bottom, ":", "_"))
	w.link(w.path("sys/dev/block/"+top), "sys/dev/block/"+bottom+"/holders/x"+strings.ReplaceAll(top, ":", "_"))
}

func (w *world) volume(name, label, num string) {
	w.node(name, num, fs.ModeDevice|fs.ModeCharDevice)
	at := "sys/class/ubi/" + name
	w.write(at+"/dev", num+"\n")
	w.write(at+"/name", label+"\n")
	w.write(at+"/reserved_ebs", "100\n")
	w.write(at+"/usable_eb_size", "126976\n")
}

// mount adds a line to the mount table, and makes the mount point a directory on that device.
func (w *world) mount(num, point, fstype, source, options string) {
	fmt.Fprintf(&w.table, "27 1 %s / %s rw,relatime shared:1 - %s %s %s\n", num, point, fstype, source, options)
	w.write("proc/self/mountinfo", w.table.String())
	w.nodes[point] = slot.Node{Mode: fs.ModeDir, Dev: number(w.t, num), Ino: 2}
}

func (w *world) stat(path string) (slot.Node, error) {
	if n, ok := w.nodes[path]; ok {
		return n, nil
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return slot.Node{}, err
	}
	if n, ok := w.nodes[real]; ok {
		return n, nil
	}
	return slot.Node{}, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
}

// config has partitions 2 and 3 as slots A and B.
func (w *world) config() slot.Config {
	return slot.Config{
		PartA: w.dev("mmcblk0p2"), PartB: w.dev("mmcblk0p3"),
		Proc: w.path("proc"), Sys: w.path("sys"), Dev: w.path("dev"), Stat: w.stat,
	}
}

func (w *world) file(name, content string) {
	w.write(name, content)
	w.nodes[w.path(name)] = slot.Node{Dev: slot.Number{Minor: 6}, Ino: 77}
}
