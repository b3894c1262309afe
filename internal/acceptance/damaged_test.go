package acceptance_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/internal/storytest"
)

// TestNoArtifact: what people give by mistake.
func TestNoArtifact(t *testing.T) {
	s := newSandbox(t, 1)
	for name, c := range map[string]struct{ content, code, want string }{
		"empty":   {"", "6", "empty"},
		"text":    {strings.Repeat("hello\n", 1000), "6", ""},
		"zeros":   {strings.Repeat("\x00", 10240), "6", ""},
		"page":    {"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "6", "an HTML page instead of an artifact"},
		"noise":   {string(storytest.Noise("noise", 100_000)), "6", ""},
		"gzip":    {"\x1f\x8b\x08\x00\x00\x00\x00\x00" + strings.Repeat("x", 2000), "6", ""},
		"program": {"\x7fELF" + strings.Repeat("\x00", 5000), "6", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			s.T = t
			s.refused(c.code, c.want, "install", file)
		})
	}
	s.T = t
	s.refused("1", "no such file or directory$", "install", "nowhere.mender")
	s.refused("1", "there is no artifact in it$", "install", t.TempDir())
	s.refused("6", "format version 2", "install", testdata+"/artifacts/format-2.mender")
	s.refused("6", "augmented", "install", testdata+"/artifacts/augmented.mender")
}

// TestTruncated: wherever an artifact ends too early, it is refused as incomplete.
func TestTruncated(t *testing.T) {
	for _, c := range []struct {
		artifact string
		step     int
		slotMiB  int
	}{
		{"release-2.mender", 4 << 10, 48},
		{"rootfs-rsa.mender", 512, 1},
		{"rootfs-xz.mender", 4 << 10, 1},
		{"rootfs-zstd.mender", 4 << 10, 1},
	} {
		t.Run(c.artifact, func(t *testing.T) {
			s := newSandbox(t, c.slotMiB)
			data := readArtifact(t, c.artifact)
			file := filepath.Join(t.TempDir(), c.artifact)
			for at := 0; at < endOfLast(t, data); at += c.step {
				if err := os.WriteFile(file, data[:at], 0o644); err != nil {
					t.Fatal(err)
				}
				s.refused("6", "empty|not complete", "install", file)
			}
		})
	}
}

// entry is where an entry of a tar archive is.
type entry struct {
	name            string
	header, content int // offsets
	size            int
}

func entries(t *testing.T, data []byte) (all []entry) {
	t.Helper()
	r := bytes.NewReader(data)
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		at := len(data) - r.Len()
		all = append(all, entry{h.Name, at - 512, at, int(h.Size)})
	}
}

// endOfLast is where the content of the last entry ends.
func endOfLast(t *testing.T, data []byte) int {
	all := entries(t, data)
	last := all[len(all)-1]
	return last.content + last.size
}

// TestFlipped turns over a bit in every kind of byte that an artifact has: in the header of each
// entry, and at the beginning, in the middle and at the end of its content.
func TestFlipped(t *testing.T) {
	for artifact, key := range map[string]string{
		"rootfs-rsa.mender":  "rsa.pub",
		"rootfs-xz.mender":   "demo.pub",
		"rootfs-zstd.mender": "rsa.pub",
	} {
		t.Run(artifact, func(t *testing.T) {
			s := newSandbox(t, 1)
			data := readArtifact(t, artifact)
			file := filepath.Join(t.TempDir(), artifact)
			for _, e := range entries(t, data) {
				for what, at := range map[string]int{
					"name": e.header, "size": e.header + 134, "checksum": e.header + 150, "type": e.header + 156,
					"beginning": e.content, "middle": e.content + e.size/2, "end": e.content + e.size - 1,
				} {
					bad := slices.Clone(data)
					bad[at] ^= 4
					if err := os.WriteFile(file, bad, 0o644); err != nil {
						t.Fatal(err)
					}
					r := s.exec([]string{s.program, "--sandbox", s.dir, "inspect", file})
					if r.Code == 0 && e.name != "manifest.sig" {
						t.Errorf("%s of %s: inspect takes it", what, e.name)
					}
					s.refused("6", "", "install", "--key", testdata+"/artifacts/keys/"+key, file)
				}
			}
			s.must("0", "--sandbox", s.dir, "install", "--key", testdata+"/artifacts/keys/"+key, testdata+"/artifacts/"+artifact)
		})
	}
}
