package bootenv_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/bootenv/internal/boottest"
	"flipside/internal/hosttest"
)

// TestBlockDevice: offsets from the end, as fw_setenv understands them.
func TestBlockDevice(t *testing.T) {
	printenv, setenv := libubootenv(t)
	dir := boottest.Open(t, vectors).Extract(t, "uboot/negative-offset")
	device := hosttest.Loop(t, dir+"/disk.img")
	config := filepath.Join(t.TempDir(), "fw_env.config")
	writeFile(t, config, fmt.Appendf(nil, "%[1]s -0x4000 0x2000\n%[1]s -0x2000 0x2000\n", device))
	env := open(t, config)
	before := read(t, env)
	wantVars(t, before, printed(run(t, "", printenv, "-c", config)))
	if r := inspect(t, env); len(r.Copies) != 2 || !r.Copies[1].Current || len(before) == 0 {
		t.Errorf("copies %+v; want the second to be current", r.Copies)
	}
	rest := hosttest.Read(t, dir+"/disk.img")[:0xC000]
	for i := range 4 {
		before["n"] = fmt.Sprint(i)
		if i%2 == 0 {
			write(t, env, bootenv.Vars{"n": before["n"]})
		} else {
			run(t, "", setenv, "-c", config, "n", before["n"])
		}
		wantVars(t, read(t, env), before)
		wantVars(t, printed(run(t, "", printenv, "-c", config)), before)
	}
	if !bytes.Equal(hosttest.Read(t, dir+"/disk.img")[:0xC000], rest) {
		t.Error("bytes before the environment have changed")
	}

	writeFile(t, config, fmt.Appendf(nil, "%s -0x20000 0x2000\n", device))
	if _, err := open(t, config).Read(t.Context()); err == nil || !strings.Contains(err.Error(), "before its begin") {
		t.Errorf("Read beyond the begin = %v", err)
	}
	writeFile(t, config, fmt.Appendf(nil, "%s -0x4000 0x2000\n", dir+"/disk.img"))
	if _, err := open(t, config).Read(t.Context()); err == nil || !strings.Contains(err.Error(), "only block devices") {
		t.Errorf("Read from the end of a file = %v", err)
	}
}

// TestBlockDeviceCache: what another node of the device wrote counts, not what the page cache of
// this one remembers.
func TestBlockDeviceCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	writeFile(t, file, append(image(t, 0x1000, true, 1, "a=1"), image(t, 0x1000, true, 0)...))
	device := hosttest.Loop(t, file)
	config := filepath.Join(t.TempDir(), "fw_env.config")
	writeFile(t, config, fmt.Appendf(nil, "%[1]s 0 1000\n%[1]s 0x1000 1000\n", device))

	f, err := os.Open(device) // stays open, or the kernel forgets the cache by itself
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cached, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = behind.WriteAt(image(t, 0x1000, true, 2, "a=2"), 0x1000)
	if err := errors.Join(err, behind.Sync(), behind.Close()); err != nil {
		t.Fatal(err)
	}
	again := make([]byte, len(cached))
	if _, err := f.ReadAt(again, 0); err != nil || !bytes.Equal(again, cached) {
		t.Fatalf("the device has no cache to be wrong here: %v", err)
	}
	wantVars(t, read(t, open(t, config)), bootenv.Vars{"a": "2"})
}

// TestHugeOffsets: with bit 31 set, libubootenv's offsets become negative.
func TestHugeOffsets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(image(t, 0x4000, true, 1, "a=1"), 3<<30)
	if err := errors.Join(err, f.Truncate(8<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "fw_env.config")
	writeFile(t, config, fmt.Appendf(nil, "%[1]s 0xC0000000 4000\n%[1]s 0x1C0000000 4000\n", file))
	env := open(t, config)
	for i := range 3 {
		write(t, env, bootenv.Vars{"a": fmt.Sprint(i)})
		wantVars(t, read(t, env), bootenv.Vars{"a": fmt.Sprint(i)})
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 8<<30 {
		t.Errorf("the file has %d bytes, %v; want its size unchanged", info.Size(), err)
	}
}

func TestSharedPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	writeFile(t, file, append(image(t, 0x800, true, 1, "a=1"), image(t, 0x800, true, 0)...))
	config := filepath.Join(t.TempDir(), "fw_env.config")
	writeFile(t, config, fmt.Appendf(nil, "%[1]s 0x800 800\n%[1]s 0 800\n", file))
	wantWarning(t, inspect(t, open(t, config)), "one block of 4096")
}

// TestEMMCBootPartition: these are write-protected by a switch in sysfs, which has to be restored.
func TestEMMCBootPartition(t *testing.T) {
	m := newMachine(t)
	for i := range 2 {
		name := fmt.Sprintf("mmcblk0boot%d", i)
		dev := &blockDev{major: 179, minor: uint32(8 * (i + 1)), data: image(t, 0x1000, true, byte(i), "a=1")}
		dev.forceRO = filepath.Join(m.sys, "devices", name, "force_ro")
		m.add(t, "/dev/"+name, name, "block", dev)
		writeFile(t, dev.forceRO, []byte("1"))
		link := filepath.Join(m.sys, "dev/block", fmt.Sprintf("179:%d", dev.minor))
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink("../../devices/"+name, link)); err != nil {
			t.Fatal(err)
		}
	}
	env := m.open(t, "/dev/mmcblk0boot0 0 1000\n/dev/mmcblk0boot1 0 1000\n")
	for i := range 2 {
		write(t, env, bootenv.Vars{"a": fmt.Sprint(2 + i)})
		for _, n := range m.nodes {
			if ro := hosttest.Read(t, n.(*blockDev).forceRO); string(ro) != "1" {
				t.Errorf("force_ro is %s after a write", ro)
			}
		}
		wantVars(t, read(t, env), bootenv.Vars{"a": fmt.Sprint(2 + i)})
	}
}
