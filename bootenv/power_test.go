package bootenv_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/bootenv/bootsim"
	"flipside/bootenv/internal/boottest"
	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
)

// everyPowerCut does something to a copy of a disk again and again, with the power cut at the
// first change, at the second, and so on until it comes to its end. check sees every disk that
// may be found afterwards; done says whether the work was reported as done.
func everyPowerCut(t *testing.T, start *boottest.Disk, work func(d *boottest.Disk) error, check func(d *boottest.Disk, done bool)) {
	t.Helper()
	for n := 1; ; n++ {
		d := boottest.NewDisk(start.Files())
		d.CutAt(n)
		err := work(d)
		if err != nil && !errors.Is(err, boottest.ErrPower) {
			t.Fatalf("power cut at change %d: %v", n, err)
		}
		d.AfterPowerCut(func(d *boottest.Disk) { check(d, err == nil) })
		if err == nil {
			if n == 1 {
				t.Fatal("the work has changed nothing")
			}
			return
		}
		if n == 1000 {
			t.Fatal("the work does not end")
		}
	}
}

// TestUBootPowerCut writes a new environment over one whose other copy is older, damaged or blank.
func TestUBootPowerCut(t *testing.T) {
	const size = 8192
	old := bootenv.Vars{"a": "1", "big": strings.Repeat("o", 6000), "mender_boot_part": "2"}
	changes := bootenv.Vars{"a": "2", "big": strings.Repeat("n", 7000)}
	current := []string{"a=1", "big=" + old["big"], "mender_boot_part=2"}
	want := maps.Clone(old)
	maps.Copy(want, changes)
	for name, other := range map[string][]byte{
		"older":   image(t, size, true, 6, "a=0", "big="+strings.Repeat("x", 6000)),
		"damaged": append(make([]byte, 100), image(t, size, true, 6, "a=0")[100:]...),
		"blank":   make([]byte, size),
	} {
		t.Run(name, func(t *testing.T) {
			config := files(t, image(t, size, true, 7, current...), other)
			work := func(d *boottest.Disk) error {
				return openFS(t, config, d).Write(t.Context(), changes)
			}
			seen := map[string]int{}
			everyPowerCut(t, boottest.ReadDir(t, filepath.Dir(config)), work, func(d *boottest.Disk, done bool) {
				got := read(t, openFS(t, config, d))
				seen[got["a"]]++
				if !maps.Equal(got, want) && (done || !maps.Equal(got, old)) {
					t.Fatalf("neither old nor new, done %v: %.200q", done, got)
				}
			})
			if seen["1"] == 0 || seen["2"] == 0 {
				t.Errorf("seen: %v; want old and new", seen)
			}
		})
	}
}

// TestUBootPowerCutWithTool: what fw_printenv sees after a torn write.
func TestUBootPowerCutWithTool(t *testing.T) {
	printenv, _ := libubootenv(t)
	config := files(t, image(t, 1024, true, 7, "a=1", "big="+strings.Repeat("o", 700)), image(t, 1024, true, 6, "a=0"))
	work := func(d *boottest.Disk) error {
		return openFS(t, config, d).Write(t.Context(), bootenv.Vars{"a": "2"})
	}
	everyPowerCut(t, boottest.ReadDir(t, filepath.Dir(config)), work, func(d *boottest.Disk, done bool) {
		d.WriteDir(t)
		ours := read(t, openFS(t, config, d))["a"]
		if tool := printed(run(t, "", printenv, "-c", config))["a"]; tool != ours || ours == "0" {
			t.Errorf("a=%s; fw_printenv says %s", ours, tool)
		}
	})
}

func TestUBootOneFilePowerCut(t *testing.T) {
	config := files(t, image(t, 2048, false, 0, "a=1", "big="+strings.Repeat("o", 1500)))
	dir := filepath.Dir(config)
	work := func(d *boottest.Disk) error {
		return openFS(t, config, d).Write(t.Context(), bootenv.Vars{"a": "2"})
	}
	everyPowerCut(t, boottest.ReadDir(t, dir), work, func(d *boottest.Disk, done bool) {
		if got := read(t, openFS(t, config, d))["a"]; got != "2" && (done || got != "1") {
			t.Errorf("a=%q, done %v", got, done)
		}
	})
}

// device is what the selection tests run on: an environment and its bootloader.
type device struct {
	parts [2]int
	disk  *boottest.Disk
	open  func(fsys disk.FS) bootenv.Env
	boot  func(d disk.FS) (int, []string, error)
}

func ubootDevice(t *testing.T) device {
	vars := []string{"altbootcmd=run mender_altbootcmd; run bootcmd", "bootcmd=run mender_setup", "bootcount=0", "bootlimit=1",
		"mender_boot_part=2", "mender_boot_part_hex=2", "mender_check_saveenv_canary=1", "mender_saveenv_canary=1", "upgrade_available=0"}
	config := files(t, image(t, 2048, true, 255, vars...), image(t, 2048, true, 254, vars...))
	u := bootsim.UBoot{Config: config, PartA: 2, PartB: 10}
	return device{
		parts: [2]int{2, 10},
		disk:  boottest.ReadDir(t, filepath.Dir(config)),
		open:  func(fsys disk.FS) bootenv.Env { return openFS(t, config, fsys) },
		boot: func(d disk.FS) (int, []string, error) {
			return u.Boot(t.Context(), d, func(int) bool { return true })
		},
	}
}

func grubDevice(t *testing.T, dir string) device {
	g := bootsim.GRUB{Dir: dir, PartA: 3, PartB: 4}
	return device{
		parts: [2]int{3, 4},
		disk:  boottest.ReadDir(t, dir),
		open:  func(fsys disk.FS) bootenv.Env { return openGrub(t, dir, fsys) },
		boot: func(d disk.FS) (int, []string, error) {
			return g.Boot(t.Context(), d, func(int) bool { return true })
		},
	}
}

func openGrub(t *testing.T, dir string, fsys disk.FS) bootenv.Env {
	t.Helper()
	env, err := bootenv.Open(bootenv.Options{GrubDir: dir, FS: fsys, LockDirs: noLocks})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// TestSelectionPowerCuts goes through Try, Confirm and Revert with the power cut at every change,
// and lets the bootloader boot from every disk that may be found then: what it boots, and what is
// selected then, has to be what was before or what was wanted, and doing it again has to succeed.
func TestSelectionPowerCuts(t *testing.T) {
	v := boottest.Open(t, vectors)
	devices := map[string]func(t *testing.T) device{
		"U-Boot": ubootDevice,
		"GRUB":   func(t *testing.T) device { return grubDevice(t, v.Extract(t, "mender-grubenv/00-initial")) },
	}
	type selection = bootenv.Selection
	for name, newDevice := range devices {
		t.Run(name, func(t *testing.T) {
			dev := newDevice(t)
			a, b := dev.parts[0], dev.parts[1]
			for _, tt := range []struct {
				name     string
				before   func(env bootenv.Env, d disk.FS)
				work     func(env bootenv.Env) error
				old, new selection
				// What boots next from the old and the new selection, and is selected then.
				boots map[selection]selection
			}{
				{"try", func(bootenv.Env, disk.FS) {},
					func(env bootenv.Env) error { return bootenv.Try(t.Context(), env, b) },
					selection{a, false}, selection{b, true},
					map[selection]selection{{a, false}: {a, false}, {b, true}: {b, true}}},
				{"confirm", func(env bootenv.Env, d disk.FS) { try(t, env, b); boot(t, dev, d) },
					func(env bootenv.Env) error { return bootenv.Confirm(t.Context(), env, b) },
					selection{b, true}, selection{b, false},
					// A trial that was booted once and is not confirmed falls back.
					map[selection]selection{{b, true}: {a, false}, {b, false}: {b, false}}},
				{"revert before the reboot", func(env bootenv.Env, d disk.FS) { try(t, env, b) },
					func(env bootenv.Env) error { return bootenv.Revert(t.Context(), env, a) },
					selection{b, true}, selection{a, false},
					map[selection]selection{{b, true}: {b, true}, {a, false}: {a, false}}},
				{"revert after the reboot", func(env bootenv.Env, d disk.FS) { try(t, env, b); boot(t, dev, d) },
					func(env bootenv.Env) error { return bootenv.Revert(t.Context(), env, a) },
					selection{b, true}, selection{a, false},
					map[selection]selection{{b, true}: {a, false}, {a, false}: {a, false}}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					start := boottest.NewDisk(dev.disk.Files())
					tt.before(dev.open(start), start)
					work := func(d *boottest.Disk) error { return tt.work(dev.open(d)) }
					everyPowerCut(t, start, work, func(d *boottest.Disk, done bool) {
						got := selected(t, dev.open(d))
						if got != tt.new && (done || got != tt.old) {
							t.Fatalf("selected %+v, done %v; want %+v or %+v", got, done, tt.old, tt.new)
						}
						rebooted := boottest.NewDisk(d.Files())
						part := boot(t, dev, rebooted)
						after := selected(t, dev.open(rebooted))
						if want := tt.boots[got]; after != want || part != want.Part {
							t.Fatalf("from %+v, it boots %d and selects %+v; want %+v", got, part, after, want)
						}
						if err := work(d); err != nil {
							t.Fatalf("again: %v", err)
						}
						if got := selected(t, dev.open(d)); got != tt.new {
							t.Fatalf("selected %+v after doing it again; want %+v", got, tt.new)
						}
					})
				})
			}
		})
	}
}

// TestBootloaderPowerCuts cuts the power while the bootloader counts or falls back.
func TestBootloaderPowerCuts(t *testing.T) {
	v := boottest.Open(t, vectors)
	for name, newDevice := range map[string]func(t *testing.T) device{
		"U-Boot": ubootDevice,
		"GRUB":   func(t *testing.T) device { return grubDevice(t, v.Extract(t, "mender-grubenv/00-initial")) },
	} {
		t.Run(name, func(t *testing.T) {
			dev := newDevice(t)
			a, b := dev.parts[0], dev.parts[1]
			try(t, dev.open(dev.disk), b)
			for range 2 { // the first boot of the trial, then the fallback
				work := func(d *boottest.Disk) error { _, _, err := dev.boot(d); return err }
				everyPowerCut(t, dev.disk, work, func(d *boottest.Disk, done bool) {
					got := selected(t, dev.open(d))
					if got != (bootenv.Selection{Part: b, Trial: true}) && got != (bootenv.Selection{Part: a}) {
						t.Fatalf("selected %+v", got)
					}
					if err := bootenv.Revert(t.Context(), dev.open(d), a); err != nil {
						t.Fatal(err)
					}
					if part := boot(t, dev, d); part != a {
						t.Fatalf("boots %d after a revert to %d", part, a)
					}
				})
				boot(t, dev, dev.disk)
			}
			if got := selected(t, dev.open(dev.disk)); got != (bootenv.Selection{Part: a}) {
				t.Errorf("selected %+v after two boots; want the fallback to %d", got, a)
			}
		})
	}
}

func try(t *testing.T, env bootenv.Env, part int) {
	t.Helper()
	if err := bootenv.Try(t.Context(), env, part); err != nil {
		t.Fatal(err)
	}
}

func selected(t *testing.T, env bootenv.Env) bootenv.Selection {
	t.Helper()
	s, err := bootenv.ReadSelection(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func boot(t *testing.T, dev device, fsys disk.FS) int {
	t.Helper()
	part, log, err := dev.boot(fsys)
	if err != nil {
		t.Fatalf("boot: %v; log %q", err, log)
	}
	return part
}

// brokenFS fails some operations, or lies about them.
type brokenFS struct {
	disk.FS
	open func(name string, flag int) error
	file func(disk.File) disk.File
}

func (b brokenFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	if b.open != nil {
		if err := b.open(name, flag); err != nil {
			return nil, err
		}
	}
	f, err := b.FS.OpenFile(name, flag, perm)
	if err == nil && b.file != nil {
		f = b.file(f)
	}
	return f, err
}

// forgetful is a medium that says that it has stored what it has not.
type forgetful struct{ disk.File }

func (f forgetful) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }

// full is a file system without room; failing one that fails in Sync.
type full struct{ disk.File }

func (f full) WriteAt(p []byte, off int64) (int, error) { return 0, errNoSpace }

type failing struct{ disk.File }

func (f failing) Sync() error { return errIO }

// unreadable has a bad sector.
type unreadable struct{ disk.File }

func (f unreadable) ReadAt(p []byte, off int64) (int, error) { return 0, errIO }

var (
	errNoSpace = errors.New("no space left on device")
	errIO      = errors.New("input/output error")
)

// TestBrokenMedia: a medium that fails keeps the old environment; the other copy is not touched.
func TestBrokenMedia(t *testing.T) {
	v := boottest.Open(t, vectors)
	for _, tt := range []struct {
		name string
		fs   brokenFS
		want error
	}{
		{"forgetful", brokenFS{file: func(f disk.File) disk.File { return forgetful{f} }}, bootenv.ErrReadBack},
		{"full", brokenFS{file: func(f disk.File) disk.File { return full{f} }}, errNoSpace},
		{"failing sync", brokenFS{file: func(f disk.File) disk.File { return failing{f} }}, errIO},
		{"read-only", brokenFS{open: func(name string, flag int) error {
			if flag&(os.O_RDWR|os.O_WRONLY) != 0 {
				return os.ErrPermission
			}
			return nil
		}}, os.ErrPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.fs.FS = disk.OS{}
			grubDir := v.Extract(t, "mender-grubenv/00-initial")
			config := files(t, image(t, 1024, true, 7, "upgrade_available=0"), image(t, 1024, true, 6))
			old := hosttest.Read(t, filepath.Dir(config)+"/env0")
			changes := bootenv.Vars{"upgrade_available": "1"}
			if err := openFS(t, config, tt.fs).Write(t.Context(), changes); !errors.Is(err, tt.want) {
				t.Errorf("U-Boot: Write = %v; want %v", err, tt.want)
			}
			if got := hosttest.Read(t, filepath.Dir(config)+"/env0"); string(got) != string(old) {
				t.Error("U-Boot: the current copy has changed")
			}
			if err := openGrub(t, grubDir, tt.fs).Write(t.Context(), changes); !errors.Is(err, tt.want) {
				t.Errorf("GRUB: Write = %v; want %v", err, tt.want)
			}
			if got := read(t, openGrub(t, grubDir, disk.OS{}), "upgrade_available"); got["upgrade_available"] != "0" {
				t.Errorf("GRUB: %q; want the old value", got)
			}
		})
	}
}

func TestUnreadableCopy(t *testing.T) {
	for bad := range 2 {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			config := files(t, image(t, 1024, true, 7, "a=1"), image(t, 1024, true, 7, "a=1"))
			name := fmt.Sprintf("%s/env%d", filepath.Dir(config), bad)
			fsys := brokenFS{FS: disk.OS{}, file: func(f disk.File) disk.File {
				if f.Name() == name {
					return unreadable{f}
				}
				return f
			}}
			env := openFS(t, config, fsys)
			wantVars(t, read(t, env), bootenv.Vars{"a": "1"})
			wantWarning(t, inspect(t, env), "input/output error")
			// It is still bad after the write, which says so.
			if err := env.Write(t.Context(), bootenv.Vars{"a": "2"}); !errors.Is(err, bootenv.ErrReadBack) {
				t.Errorf("Write = %v; want ErrReadBack", err)
			}
			other := hosttest.Read(t, fmt.Sprintf("%s/env%d", filepath.Dir(config), 1-bad))
			if im, err := ubootenv.Decode(other, true); err != nil || im.Flags != 7 {
				t.Errorf("the good copy has flags %d, %v; want it untouched", im.Flags, err)
			}
		})
	}
}
