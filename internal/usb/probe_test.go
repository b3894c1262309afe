package usb_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"flipside/internal/hosttest"
	"flipside/internal/usb"
)

// makers make an image of each kind, with label RELEASE.
var makers = map[string]func(t testing.TB) string{
	"fat12": func(t testing.TB) string { return made(t, 4, "dosfstools", "mkfs.vfat", "-F12", "-nRELEASE") },
	"fat16": func(t testing.TB) string { return made(t, 20, "dosfstools", "mkfs.vfat", "-F16", "-nRELEASE") },
	"fat32": func(t testing.TB) string { return made(t, 40, "dosfstools", "mkfs.vfat", "-F32", "-nRELEASE") },
	"fat big": func(t testing.TB) string {
		return made(t, 80, "dosfstools", "mkfs.vfat", "-F32", "-S4096", "-s1", "-nRELEASE")
	},
	"no label": func(t testing.TB) string { return made(t, 20, "dosfstools", "mkfs.vfat") },
	"exfat":    func(t testing.TB) string { return made(t, 8, "exfatprogs", "mkfs.exfat", "-L", "RELEASE") },
	"ntfs":     func(t testing.TB) string { return made(t, 8, "ntfs-3g", "mkntfs", "-Q", "-F", "-L", "RELEASE") },
	"ext2": func(t testing.TB) string {
		return made(t, 8, "e2fsprogs", "mke2fs", "-q", "-t", "ext2", "-L", "RELEASE")
	},
	"ext4": func(t testing.TB) string {
		return made(t, 8, "e2fsprogs", "mke2fs", "-q", "-t", "ext4", "-L", "RELEASE")
	},
	"iso9660": func(t testing.TB) string {
		file := hosttest.Image(t, 1<<20)
		hosttest.Run(t, "genisoimage", "genisoimage", "-quiet", "-V", "RELEASE", "-o", file, t.TempDir())
		return file
	},
}

func made(t testing.TB, mib int64, pkg, name string, args ...string) string {
	t.Helper()
	file := hosttest.Image(t, mib<<20)
	hosttest.Run(t, pkg, name, append(args, file)...)
	return file
}

// TestProbe compares with blkid.
func TestProbe(t *testing.T) {
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			file := make(t)
			want := map[string]string{}
			for l := range strings.Lines(hosttest.Run(t, "util-linux", "blkid", "-p", "-o", "export", file)) {
				key, value, _ := strings.Cut(strings.TrimSpace(l), "=")
				want[key] = value
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, known, err := usb.Probe(f)
			if err != nil || !known {
				t.Fatalf("Probe: known %v, %v", known, err)
			}
			if want["TYPE"] == "ext2" || want["TYPE"] == "ext4" {
				want["TYPE"] = "ext" // the kernel's driver is the same
			}
			if got.Type != want["TYPE"] || got.Label != want["LABEL"] || got.UUID != want["UUID"] {
				t.Errorf("got %+v; want TYPE %s, LABEL %s, UUID %s", got, want["TYPE"], want["LABEL"], want["UUID"])
			}
		})
	}
}

func TestProbeNothing(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty": nil, "zeros": make([]byte, 1<<20), "ones": bytes.Repeat([]byte{0xFF}, 1<<20),
		"partition table": append(make([]byte, 510), 0x55, 0xAA), "text": []byte(strings.Repeat("hello\n", 20000)),
	} {
		if fs, known, err := usb.Probe(bytes.NewReader(data)); known || err != nil {
			t.Errorf("%s: Probe = %+v, %v, %v; want nothing", name, fs, known, err)
		}
	}
}

func FuzzProbe(f *testing.F) {
	for name, make := range makers {
		if name == "fat32" || name == "fat big" {
			continue // too large for a seed
		}
		data, err := os.ReadFile(make(f))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 128<<10)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fs, known, err := usb.Probe(bytes.NewReader(data))
		if err != nil || known != (fs.Type != "") {
			t.Errorf("Probe = %+v, %v, %v", fs, known, err)
		}
	})
}
