package doctor_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/disk"
	"flipside/internal/doctor"
	"flipside/internal/sandbox"
	"flipside/internal/slot"
)

// slotSize is that of both slots.
const slotSize = 1 << 20

// envSize is that of each copy of the sandbox's U-Boot environment.
const envSize = 0x4000

// fixture is a device to be broken, and where it is examined.
type fixture struct {
	t   *testing.T
	dir string
	o   device.Options
	how doctor.Options

	space doctor.Space
}

// healthy is a device with a verification key, an update module and a state script, on which
// nothing is wrong.
func healthy(t *testing.T) *fixture {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile("../../testdata/artifacts/keys/demo.pub")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sandbox.Create(t.Context(), filepath.Join(dir, "device"), sandbox.Spec{SlotSize: slotSize, VerifyKey: key})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, dir: s.Dir, o: s.Options(), space: doctor.Space{Free: 100 << 20, Files: 1000}}
	f.how = doctor.Options{
		Built: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Now:   func() time.Time { return time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC) },
		Proc:  f.path("proc"), Sys: f.path("sys"), Dev: f.path("dev"),
		Space: func(string) (doctor.Space, error) { return f.space, nil },
	}
	f.write("proc/self/mountinfo", "25 1 0:22 / /run rw - tmpfs tmpfs rw\n")
	f.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
	f.write("proc/cmdline", "console=ttyS0\n")
	f.write("proc/1/cmdline", "/sbin/init\x00")
	f.program(modules+"single-file", "#!/bin/sh\n")
	f.program(scripts+"Download_Enter_05_wifi", "#!/usr/bin/env sh\n")
	f.write(scripts+"version", "3")
	return f
}

// Where things are on the device.
const (
	conf    = "etc/mender/mender.conf"
	modules = "usr/share/mender/modules/v3/"
	scripts = "etc/mender/scripts/"
	data    = "var/lib/mender/"
	state   = data + "flipside/"
)

// metal is healthy with slots that pass for partitions of an eMMC, and with a data partition.
func metal(t *testing.T) *fixture {
	t.Helper()
	f := healthy(t)
	f.o.FileSlots = false
	f.o.Root = f.path("rootfs")
	f.mkdir("rootfs")
	nodes := map[string]slot.Node{
		f.o.Root:      {Mode: fs.ModeDir, Dev: slot.Number{Major: 179, Minor: 2}, Ino: 2},
		f.o.Datastore: {Mode: fs.ModeDir, Dev: slot.Number{Major: 179, Minor: 4}, Ino: 2},
	}
	for minor, name := range map[uint32]string{2: "mmcblk0p2", 3: "mmcblk0p3"} {
		number := slot.Number{Major: 179, Minor: minor}
		nodes[f.path("dev/"+name)] = slot.Node{Mode: fs.ModeDevice, Rdev: number, Dev: slot.Number{Minor: 6}}
		f.write("sys/dev/block/"+number.String()+"/size", "2048\n")
		f.write("sys/dev/block/"+number.String()+"/ro", "0\n")
	}
	f.how.Stat = func(path string) (slot.Node, error) {
		if n, ok := nodes[path]; ok {
			return n, nil
		}
		return slot.Node{}, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	f.write("proc/self/mountinfo", "25 1 179:2 / "+f.o.Root+" rw - ext4 /dev/root rw\n")
	return f
}

// lies makes the file system of path another one than it is.
func (f *fixture) lies(path string, on slot.Number) {
	stat := f.how.Stat
	f.how.Stat = func(p string) (slot.Node, error) {
		n, err := stat(p)
		if p == path {
			n.Dev = on
		}
		return n, err
	}
}

// singleCopy is healthy, but for an environment that U-Boot keeps in one place.
func singleCopy(t *testing.T) *fixture {
	t.Helper()
	f := healthy(t)
	vars, err := f.env().Read(t.Context())
	f.must(err)
	var body strings.Builder
	for name, value := range vars {
		body.WriteString(name + "=" + value + "\x00")
	}
	stored := body.String() + strings.Repeat("\x00", envSize-4-body.Len())
	sum := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(stored)))
	f.write("dev/uboot-env", string(sum)+stored)
	f.write("etc/fw_env.config", f.path("dev/uboot-env")+" 0x0 0x4000\n")
	return f
}

// grub is healthy with Mender's GRUB environment.
func grub(t *testing.T) *fixture {
	t.Helper()
	f := healthy(t)
	const dir = "boot/efi/grub-mender-grubenv"
	for _, copy := range []string{"/mender_grubenv1", "/mender_grubenv2"} {
		f.write(dir+copy+"/env", grubBlock("bootcount=0\nmender_boot_part=2\nupgrade_available=0\n"))
		f.write(dir+copy+"/lock", grubBlock("editing=0\n"))
	}
	f.configure(func(c map[string]any) {
		delete(c, "FwEnvConfig")
		c["GrubEnvDir"] = f.path(dir)
	})
	f.setenv(bootenv.Vars{"mender_systemd_machine_id": "1"}) // the checksums too
	return f
}

func grubBlock(text string) string {
	text = "# GRUB Environment Block\n" + text
	return text + strings.Repeat("#", 1024-len(text))
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) write(name, content string) {
	f.t.Helper()
	f.must(errors.Join(os.MkdirAll(filepath.Dir(f.path(name)), 0o755), os.WriteFile(f.path(name), []byte(content), 0o644)))
}

func (f *fixture) program(name, content string) {
	f.t.Helper()
	f.write(name, content)
	f.chmod(name, 0o755)
}

func (f *fixture) mkdir(name string) { f.t.Helper(); f.must(os.MkdirAll(f.path(name), 0o755)) }
func (f *fixture) remove(name string) {
	f.t.Helper()
	f.must(os.RemoveAll(f.path(name)))
}
func (f *fixture) chmod(name string, mode fs.FileMode) {
	f.t.Helper()
	f.must(os.Chmod(f.path(name), mode))
}
func (f *fixture) link(target, name string) {
	f.t.Helper()
	f.remove(name)
	f.must(os.Symlink(target, f.path(name)))
}

func (f *fixture) copy(from, name string) {
	f.t.Helper()
	content, err := os.ReadFile(from)
	f.must(err)
	f.write(name, string(content))
}

// configure changes mender.conf.
func (f *fixture) configure(change func(map[string]any)) {
	f.t.Helper()
	text, err := os.ReadFile(f.path(conf))
	f.must(err)
	var c map[string]any
	f.must(json.Unmarshal(text, &c))
	change(c)
	text, err = json.Marshal(c)
	f.must(err)
	f.write(conf, string(text))
}

// key sets a key of mender.conf.
func (f *fixture) key(name string, value any) {
	f.t.Helper()
	f.configure(func(c map[string]any) { c[name] = value })
}

func (f *fixture) env() bootenv.Env {
	f.t.Helper()
	env, err := device.Dissect(withFS(f.o)).BootEnv()
	f.must(err)
	return env
}

func withFS(o device.Options) device.Options {
	o.FS = disk.OS{}
	return o
}

// setenv changes the bootloader's variables.
func (f *fixture) setenv(vars bootenv.Vars) {
	f.t.Helper()
	f.must(f.env().Write(f.t.Context(), vars))
}

// scratch overwrites a part of a copy of the environment.
func (f *fixture) scratch(copy int) {
	f.t.Helper()
	file, err := os.OpenFile(f.path("dev/uboot-env"), os.O_WRONLY, 0)
	f.must(err)
	_, err = file.WriteAt([]byte("scratched"), int64(copy)*envSize+10)
	f.must(errors.Join(err, file.Close()))
}

// deploy leaves a deployment behind that has gone through states.
func (f *fixture) deploy(states ...deployment.State) {
	f.t.Helper()
	store, err := deployment.OpenStore(disk.OS{}, f.path(state), func() (artifact.Provides, error) { return nil, nil })
	f.must(err)
	r := deployment.Record{Artifact: deployment.Artifact{Name: "release-2", PayloadType: "rootfs-image"}}
	for _, s := range states {
		f.must(store.Enter(&r, s))
	}
}

func (f *fixture) examine() doctor.Diagnosis {
	f.t.Helper()
	return doctor.Examine(f.t.Context(), f.o, f.how)
}

// bad are the findings that are not ok.
func bad(d doctor.Diagnosis) (list []doctor.Finding) {
	for _, f := range d.Findings {
		if f.Level != doctor.OK {
			list = append(list, f)
		}
	}
	return list
}

func find(t *testing.T, d doctor.Diagnosis, check string) doctor.Finding {
	t.Helper()
	for _, f := range d.Findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("nothing was found about %s: %+v", check, d.Findings)
	return doctor.Finding{}
}
