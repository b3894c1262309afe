package usb_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"flipside/internal/hosttest"
	"flipside/internal/usb"
)

// sysfs is a made-up /sys.
type sysfs struct {
	t   testing.TB
	dir string
}

func newSysfs(t testing.TB) sysfs {
	s := sysfs{t, t.TempDir()}
	s.write("class/block/.keep", "")
	return s
}

func (s sysfs) system() usb.System { return usb.System{Sys: s.dir} }

func (s sysfs) write(name, content string) {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

const (
	onUSB  = "devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host0/target0:0:0/0:0:0:0/block"
	onSATA = "devices/pci0000:00/0000:00:17.0/ata1/host1/target1:0:0/1:0:0:0/block"
)

// add shows the device node as name ("sda", "sda/sda1") on a bus.
func (s sysfs) add(bus, name, node, size string) {
	s.t.Helper()
	dir := bus + "/" + name
	if node != "" {
		var st unix.Stat_t
		if err := unix.Stat(node, &st); err != nil {
			s.t.Fatal(err)
		}
		s.write(dir+"/dev", fmt.Sprintf("%d:%d\n", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))))
		s.write(dir+"/uevent", "MAJOR=7\nDEVNAME="+filepath.Base(node)+"\nDEVTYPE=disk\n")
	}
	s.write(dir+"/size", size+"\n")
	if strings.Contains(name, "/") {
		s.write(dir+"/partition", "1\n")
	}
	if err := os.Symlink("../../"+dir, filepath.Join(s.dir, "class/block", filepath.Base(name))); err != nil {
		s.t.Fatal(err)
	}
}

func (s sysfs) volumes() []usb.Volume {
	s.t.Helper()
	all, err := s.system().Volumes()
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// tree is a directory for an image.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub/a.mender"), []byte("artifact"), 0o644),
		os.Symlink("/etc/passwd", filepath.Join(dir, "out")),
		os.Symlink("../../../../etc/passwd", filepath.Join(dir, "up")),
		os.Symlink("sub/a.mender", filepath.Join(dir, "in")),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

func ext4(t testing.TB) string {
	return made(t, 8, "e2fsprogs", "mke2fs", "-q", "-t", "ext4", "-L", "RELEASE", "-d", tree(t))
}

// oneStick is a stick with an ext4 file system on its first partition.
func oneStick(t testing.TB) (v usb.Volume, device string) {
	t.Helper()
	device = hosttest.Loop(t, ext4(t))
	s := newSysfs(t)
	s.write(onUSB+"/sda/removable", "1\n")
	s.add(onUSB, "sda", "", "32768")
	s.add(onUSB, "sda/sda1", device, "16384")
	all := s.volumes()
	if len(all) != 1 || all[0].Err != nil || all[0].Label != "RELEASE" || all[0].Device != device || !all[0].Removable {
		t.Fatalf("Volumes() = %+v; want the one of %s", all, device)
	}
	return all[0], device
}

// checkRoot reads what is on the stick, and tries what must not be possible.
func checkRoot(t *testing.T, root *os.Root) {
	t.Helper()
	for _, name := range []string{"sub/a.mender", "in"} {
		if data, err := root.ReadFile(name); err != nil || string(data) != "artifact" {
			t.Errorf("%s is %q, %v; want artifact", name, data, err)
		}
	}
	for _, name := range []string{"out", "up", "../etc/passwd"} {
		if _, err := root.ReadFile(name); err == nil {
			t.Errorf("%s led out of the stick", name)
		}
	}
}

func TestMount(t *testing.T) {
	hosttest.NeedLoops(t)
	for name, mount := range map[string]func(v usb.Volume) (*os.Root, error){
		"detached": usb.Mount,
		"aside":    func(v usb.Volume) (*os.Root, error) { return usb.MountAside("ext4", v.Device) },
	} {
		t.Run(name, func(t *testing.T) {
			v, device := oneStick(t)
			root, err := mount(v)
			if err != nil {
				t.Fatal(err)
			}
			checkRoot(t, root)
			if err := root.WriteFile("new", nil, 0o644); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing: %v; want EROFS", err)
			}
			d, err := root.Open(".")
			if err != nil {
				t.Fatal(err)
			}
			var st unix.Statfs_t
			const want = unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC
			if err := unix.Fstatfs(int(d.Fd()), &st); err != nil || st.Flags&want != want {
				t.Errorf("mount flags %#x, %v; want %#x", st.Flags, err, want)
			}
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil || strings.Contains(string(mounts), device+" ") {
				t.Errorf("the mount can be seen (%v)", err)
			}
			f, err := root.Open("sub/a.mender")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(d.Close(), root.Close()); err != nil {
				t.Fatal(err)
			}
			if fd, err := unix.Open(device, unix.O_RDWR|unix.O_EXCL, 0); err != unix.EBUSY {
				t.Errorf("with a file open the device is free: %d, %v", fd, err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Open(device, unix.O_RDWR|unix.O_EXCL, 0)
			if err != nil {
				t.Fatalf("the device is still in use: %v", err)
			}
			_ = unix.Close(fd)
		})
	}
}

// TestMountEach says which file systems this kernel has, and mounts those.
func TestMountEach(t *testing.T) {
	hosttest.NeedLoops(t)
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			device := hosttest.Loop(t, make(t))
			s := newSysfs(t)
			s.add(onUSB, "sda", device, "16384")
			root, err := usb.Mount(s.volumes()[0])
			var unsupported *usb.UnsupportedError
			if errors.As(err, &unsupported) {
				have, readErr := os.ReadFile("/proc/filesystems")
				if readErr != nil || strings.Contains(string(have), "\t"+unsupported.Type+"\n") {
					t.Errorf("%v, but it has (%v)", err, readErr)
				}
				t.Logf("NOT TESTED: %v, so that it could not be mounted", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := root.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMountedAlready(t *testing.T) {
	hosttest.NeedLoops(t)
	device := hosttest.Loop(t, ext4(t))
	dir := filepath.Join(t.TempDir(), "my stick")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	hosttest.Run(t, "mount", "mount", device, dir) // for writing: the kernel refuses another mount for reading
	t.Cleanup(func() { hosttest.Run(t, "mount", "umount", dir) })
	s := newSysfs(t)
	s.add(onUSB, "sda", device, "16384")
	root, err := usb.Mount(s.volumes()[0])
	if err != nil {
		t.Fatal(err)
	}
	checkRoot(t, root)
	if err := root.Close(); err != nil {
		t.Error(err)
	}
}

func TestVolumes(t *testing.T) {
	device, other := hosttest.Loop(t, ext4(t)), hosttest.Loop(t, hosttest.Image(t, 1<<20))
	s := newSysfs(t)
	s.write(onUSB+"/sda/removable", "1\n")
	s.add(onUSB, "sda", "/dev/null", "100") // its partitions count
	s.add(onUSB, "sda/sda1", device, "100")
	s.add(onUSB, "sda/sda2", other, "100") // nothing on it
	s.write(onUSB+"/sdb/removable", "0\n")
	s.add(onUSB, "sdb", device, "100") // a hard disk
	s.add(onUSB, "sdc", device, "0")   // a card reader without a card
	s.add(onSATA, "sdd", device, "100")
	s.add(onUSB, "sde", device, "100")
	s.write(onUSB+"/sde/dev", "7:99999\n") // its node is another one's
	s.add(onUSB, "sdf", device, "100")
	s.write(onUSB+"/sdf/uevent", "DEVNAME=no-such-node\n")
	if err := os.Symlink("../../nowhere", filepath.Join(s.dir, "class/block/sdg")); err != nil {
		t.Fatal(err) // it was pulled out a moment ago
	}
	var got []string
	for _, v := range s.volumes() {
		got = append(got, fmt.Sprintf("%s %v %v", v.Name, v.Removable, strings.Replace(v.String(), "UUID="+v.UUID, "UUID=U", 1)))
	}
	want := []string{
		"sda1 true sda1 (LABEL=RELEASE UUID=U)",
		"sda2 true sda2 (" + usb.ErrUnknown.Error() + ")",
		"sdb false sdb (LABEL=RELEASE UUID=U)",
		"sde false sde (" + device + " is not its device node)",
		"sdf false sdf (no such file or directory)",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNotWhatItRunsFrom: a board that was booted from a stick does not take it for one.
func TestNotWhatItRunsFrom(t *testing.T) {
	device := hosttest.Loop(t, ext4(t))
	s := newSysfs(t)
	s.write(onUSB+"/sda/removable", "1\n")
	s.add(onUSB, "sda", "", "100")
	s.add(onUSB, "sda/sda1", device, "100")
	number, err := os.ReadFile(filepath.Join(s.dir, onUSB, "sda/sda1/dev"))
	if err != nil {
		t.Fatal(err)
	}
	proc := t.TempDir()
	if err := errors.Join(os.Mkdir(proc+"/self", 0o755),
		os.WriteFile(proc+"/self/mountinfo", fmt.Appendf(nil, "22 1 %s / / rw - ext4 /dev/root rw\n", strings.TrimSpace(string(number))), 0o644)); err != nil {
		t.Fatal(err)
	}
	all, err := usb.System{Sys: s.dir, Proc: proc}.Volumes()
	if err != nil || len(all) != 1 || all[0].Removable {
		t.Errorf("Volumes() = %+v, %v; want one that is not removable", all, err)
	}
}

func TestNoSysfs(t *testing.T) {
	if _, err := (usb.System{Sys: t.TempDir()}).Volumes(); err == nil {
		t.Error("no sysfs, no error")
	}
}
