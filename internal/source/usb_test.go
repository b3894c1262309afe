package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flipside/internal/hosttest"
	"flipside/internal/source"
	"flipside/internal/usb"
)

// bus is a made-up USB bus with real block devices: loop devices on images.
type bus struct {
	t   *testing.T
	dir string
}

func newBus(t *testing.T) bus {
	t.Helper()
	hosttest.NeedLoops(t)
	b := bus{t, t.TempDir()}
	if err := os.MkdirAll(b.dir+"/class/block", 0o755); err != nil {
		t.Fatal(err)
	}
	return b
}

// image is a file of so many MiB with what the program mkfs makes.
func (b bus) image(mib int64, pkg, mkfs string, args ...string) string {
	b.t.Helper()
	file := hosttest.Image(b.t, mib<<20)
	if mkfs != "" {
		hosttest.Run(b.t, pkg, mkfs, append(args, file)...)
	}
	return file
}

// ext4 is an image with files.
func (b bus) ext4(label string, files map[string][]byte) string {
	b.t.Helper()
	tree := b.t.TempDir()
	for name, data := range files {
		file := filepath.Join(tree, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644)); err != nil {
			b.t.Fatal(err)
		}
	}
	return b.image(8, "e2fsprogs", "mke2fs", "-q", "-t", "ext4", "-L", label, "-d", tree)
}

// plug makes an image a stick without partitions.
func (b bus) plug(name, image string) (device string) {
	b.t.Helper()
	device = hosttest.Loop(b.t, image)
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		b.t.Fatal(err)
	}
	below := "devices/usb1/1-1/host0/block/" + name
	for file, content := range map[string]string{
		"dev":  fmt.Sprintf("%d:%d\n", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))),
		"size": "1000\n", "removable": "1\n", "uevent": "DEVNAME=" + filepath.Base(device) + "\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Join(b.dir, below), 0o755), os.WriteFile(filepath.Join(b.dir, below, file), []byte(content), 0o644)); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := os.Symlink("../../"+below, filepath.Join(b.dir, "class/block", name)); err != nil {
		b.t.Fatal(err)
	}
	return device
}

// open opens uri; taking is the name of the file to choose.
func (b bus) open(uri, file string, change func(*source.Options)) (*source.Source, error) {
	var all []string
	o := source.Options{USB: usb.System{Sys: b.dir}, Choose: taking(file, &all)}
	if change != nil {
		change(&o)
	}
	return source.Open(b.t.Context(), uri, o)
}

// free checks that nothing holds the device any more.
func free(t *testing.T, device string) {
	t.Helper()
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		t.Errorf("%s is still in use: %v", device, err)
		return
	}
	_ = unix.Close(fd)
}

func TestUSB(t *testing.T) {
	b := newBus(t)
	_, data := artifact(t, "x")
	device := b.plug("sda", b.ext4("MY STICK", map[string][]byte{"a.mender": data, "dir/b.mender": data}))
	for uri, want := range map[string]string{
		"usb:":                              "usb:LABEL=MY%20STICK/a.mender",
		"usb:/":                             "usb:LABEL=MY%20STICK/a.mender",
		"usb:/a.mender":                     "usb:LABEL=MY%20STICK/a.mender",
		"usb:a.mender":                      "usb:LABEL=MY%20STICK/a.mender",
		"USB:LABEL=MY STICK":                "usb:LABEL=MY%20STICK/a.mender",
		"usb:LABEL=MY%20STICK/dir/b.mender": "usb:LABEL=MY%20STICK/dir/b.mender",
		"usb:dir/../a.mender":               "usb:LABEL=MY%20STICK/a.mender",
	} {
		src, err := b.open(uri, "a.mender", nil)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if src.Name() != want || src.Size() != int64(len(data)) || !src.Rewindable() {
			t.Errorf("%s: Name %q, Size %d, Rewindable %v; want %q", uri, src.Name(), src.Size(), src.Rewindable(), want)
		}
		checkRead(t, src, data)
		free(t, device)
	}
}

func TestUSBErrors(t *testing.T) {
	b := newBus(t)
	_, data := artifact(t, "x")
	one := b.plug("sda", b.ext4("ONE", map[string][]byte{"a.mender": data, "only/here.mender": data}))
	two := b.plug("sdb", b.ext4("TWO", map[string][]byte{"a.mender": data, "notes.txt": data}))
	for uri, test := range map[string]struct{ words, hint string }{
		"usb:LABEL=THREE":           {"there is no such stick, only sda (LABEL=ONE UUID=", "check the name"},
		"usb:UUID=1234-ABCD":        {"there is no such stick", "check the name"},
		"usb:/a.mender":             {"it is on 2 sticks: usb:LABEL=ONE and usb:LABEL=TWO", "say which one"},
		"usb:/b.mender":             {"no such file or directory on the stick", "check the path"},
		"usb:LABEL=ONE/none.mender": {"no such file or directory on the stick", "check the path"},
		"usb:LABEL=TWO/":            {"there is no artifact in it", "put an artifact there"},
	} {
		_, err := b.open(uri, "here.mender", nil)
		usage := strings.Contains(test.words, "2 sticks") // which of them is asked of whoever called
		if e := wantError(t, err, test.words, usage); !strings.Contains(e.Hint, test.hint) {
			t.Errorf("%s: hint %q; want %q", uri, e.Hint, test.hint)
		}
		free(t, one)
		free(t, two)
	}
	_, err := b.open("usb:%zz", "", nil)
	wantError(t, err, "invalid URL escape", true)
	_, err = b.open("usb:LABEL=ONE", "", func(o *source.Options) { o.Choose = nil })
	wantError(t, err, "it is a directory", false)
	// The stick that has it.
	src, err := b.open("usb:/only", "here.mender", nil)
	if err != nil {
		t.Fatal(err)
	}
	free(t, two)
	checkRead(t, src, data)
}

func TestUSBUnusable(t *testing.T) {
	for name, test := range map[string]struct {
		plug  func(b bus)
		words string
		hint  string
	}{
		"no stick":      {func(b bus) {}, "opening usb:: there is no USB stick", "--wait 60s waits for it"},
		"nothing on it": {func(b bus) { b.plug("sda", b.image(1, "", "")) }, "sda: no file system that is known", "format the stick"},
		"damaged": {func(b bus) {
			file := b.ext4("X", nil)
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				b.t.Fatal(err)
			}
			_, err = f.WriteAt(make([]byte, 100), 1024) // the superblock's numbers; its magic stands above them
			_, err2 := f.WriteAt([]byte{0x53, 0xEF}, 1024+56)
			if err := errors.Join(err, err2, f.Close()); err != nil {
				b.t.Fatal(err)
			}
			b.plug("sda", file)
		}, "mounting sda", "damaged"},
		"not in this kernel": {func(b bus) { b.plug("sda", b.image(4, "dosfstools", "mkfs.vfat", "-nRELEASE")) }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t)
			test.plug(b)
			_, err := b.open("usb:", "a", nil)
			if name == "not in this kernel" {
				have, readErr := os.ReadFile("/proc/filesystems")
				if readErr != nil {
					t.Fatal(readErr)
				}
				if strings.Contains(string(have), "\tvfat\n") {
					test.words, test.hint = "there is no artifact in it", "put an artifact there"
				} else {
					test.words, test.hint = "mounting sda (LABEL=RELEASE UUID=", "/proc/filesystems"
				}
			}
			if e := wantError(t, err, test.words, false); !strings.Contains(e.Hint, test.hint) {
				t.Errorf("hint %q; want %q", e.Hint, test.hint)
			}
		})
	}
}

func TestUSBWaits(t *testing.T) {
	b := newBus(t)
	_, data := artifact(t, "x")
	image := b.ext4("LATE", map[string][]byte{"a.mender": data})
	plugged := make(chan struct{})
	src, err := b.open("usb:LABEL=LATE/a.mender", "", func(o *source.Options) {
		o.WaitMedium = time.Minute
		o.Notify = func(text string) {
			if text != "waiting up to 1m0s for a USB stick" {
				t.Errorf("note %q", text)
			}
			go func() { b.plug("sda", image); close(plugged) }()
		}
	})
	<-plugged
	if err != nil {
		t.Fatal(err)
	}
	checkRead(t, src, data)

	ctx, cancel := context.WithCancel(t.Context())
	_, err = source.Open(ctx, "usb:LABEL=NEVER", source.Options{
		USB: usb.System{Sys: b.dir}, WaitMedium: time.Hour, Notify: func(string) { cancel() },
	})
	if err != context.Canceled {
		t.Errorf("Open = %v; want context.Canceled", err)
	}
	_, err = b.open("usb:LABEL=NEVER", "", func(o *source.Options) { o.WaitMedium = time.Millisecond })
	wantError(t, err, "there is no such stick", false)
}

// TestUSBPulled: the end of the stick goes away while it is read.
func TestUSBPulled(t *testing.T) {
	b := newBus(t)
	data := bytes.Repeat([]byte("mender"), 1<<20)
	image := b.ext4("X", map[string][]byte{"a.mender": data})
	device := b.plug("sda", image)
	src, err := b.open("usb:/a.mender", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(src, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 1<<20); err != nil {
		t.Fatal(err)
	}
	hosttest.Run(t, "mount", "losetup", "--set-capacity", device)
	_, err = io.Copy(io.Discard, src)
	e := wantError(t, err, "reading usb:LABEL=X/a.mender: input/output error", false)
	if !e.Retryable || !strings.Contains(e.Hint, "pulled out") {
		t.Errorf("error %#v; want it retryable, with a hint", e)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	free(t, device)
}
