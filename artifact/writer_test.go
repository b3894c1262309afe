package artifact_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"flipside/artifact"
)

// TestWriteRead: what goes in comes out.
func TestWriteRead(t *testing.T) {
	spec := artifact.Spec{
		Name: "release-7", Group: "beta",
		Depends: artifact.Depends{"device_type": {"a", "b"}, "artifact_name": {"release-6"}, "artifact_group": {"g"},
			"one": {"v"}, "more": {"v1", "v2"}},
		Provides:       artifact.Provides{"k": "v"},
		ClearsProvides: []string{},
		Type:           "my-module",
		MetaData:       []byte(`{"a":1}`),
		Scripts:        []artifact.Script{{Name: "ArtifactInstall_Enter_00", Content: []byte("#!/bin/sh\n")}, {Name: "ArtifactCommit_Leave_01_x"}},
		Files: []artifact.FileSpec{
			artifact.FileBytes("b", []byte("second in the alphabet")),
			artifact.FileBytes("a", noise(2<<20+1)),
			artifact.FileBytes("empty", nil),
			artifact.FileBytes("größe mit blank "+strings.Repeat("x", 200), []byte("x")),
		},
	}
	want := contents{}
	for _, f := range spec.Files {
		r, _ := f.Open()
		b, _ := io.ReadAll(r)
		want[f.Name] = string(b)
	}
	for _, c := range []artifact.Compression{"", artifact.None, artifact.Gzip, artifact.XZ, artifact.Zstd} {
		spec.Compression = c
		b := written(t, spec)
		if !bytes.Equal(b, written(t, spec)) {
			t.Errorf("%s: two artifacts from one Spec differ", c)
		}
		h, got, err := readAll(bytes.NewReader(b))
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: other files", c)
		}
		p := h.Payloads[0]
		if h.Name != spec.Name || h.Group != spec.Group || h.Signed || p.Type != spec.Type || string(p.MetaData) != `{"a":1}` ||
			!reflect.DeepEqual(h.Depends, spec.Depends) || !maps.Equal(h.Provides, spec.Provides) ||
			h.ClearsProvides == nil || len(h.ClearsProvides) != 0 || len(h.Scripts) != 2 || string(h.Scripts[0].Content) != "#!/bin/sh\n" {
			t.Errorf("%s: header %+v", c, h)
		}
	}
}

// TestWriteAbsent: no provides and no clears-provides are something else than empty ones.
func TestWriteAbsent(t *testing.T) {
	s := smallSpec(artifact.None)
	s.SoftwareVersion = ""
	h, err := artifact.Verify(bytes.NewReader(written(t, s)), nil)
	if err != nil || h.Provides != nil || h.ClearsProvides != nil {
		t.Errorf("provides %v, clears %v, %v; want none", h.Provides, h.ClearsProvides, err)
	}
	s.Provides, s.ClearsProvides = artifact.Provides{}, []string{}
	h, err = artifact.Verify(bytes.NewReader(written(t, s)), nil)
	if err != nil || h.Provides == nil || h.ClearsProvides == nil {
		t.Errorf("provides %v, clears %v, %v; want empty ones", h.Provides, h.ClearsProvides, err)
	}
}

func TestFilePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.ext4")
	if _, err := artifact.FilePath(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("image"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := artifact.FilePath(path)
	if err != nil {
		t.Fatal(err)
	}
	s := smallSpec(artifact.Gzip)
	s.Files = []artifact.FileSpec{f}
	if _, got, err := readAll(bytes.NewReader(written(t, s))); err != nil || got["image.ext4"] != "image" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("image, grown"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := artifact.Write(io.Discard, s); err == nil {
		t.Error("a file that grew was written")
	}
}

// TestWriteRefuses: nothing is written that could not be read.
func TestWriteRefuses(t *testing.T) {
	full := errors.New("no space left on device")
	changing := 0
	for name, c := range map[string]struct {
		want string
		sin  func(*artifact.Spec)
	}{
		"no name":         {"no artifact_name", func(s *artifact.Spec) { s.Name = "" }},
		"name with lines": {"control characters", func(s *artifact.Spec) { s.Name = "a\nb" }},
		"no device type":  {"no device_type", func(s *artifact.Spec) { s.Depends = nil }},
		"depends on none": {"no value would do", func(s *artifact.Spec) { s.Depends["k"] = []string{} }},
		"type":            {"not a plain file name", func(s *artifact.Spec) { s.Type = "../sh" }},
		"files, no type":  {"without type has no files", func(s *artifact.Spec) { s.Type = "" }},
		"scripts, no type": {"type null", func(s *artifact.Spec) {
			s.Type, s.Files = "", nil
			s.Scripts = []artifact.Script{{Name: "ArtifactInstall_Enter_00"}}
		}},
		"script": {"not the name of a state script", func(s *artifact.Spec) { s.Scripts = []artifact.Script{{Name: "Download_Enter_00"}} }},
		"script twice": {"is there twice", func(s *artifact.Spec) {
			s.Scripts = make([]artifact.Script, 2)
			s.Scripts[0].Name = "ArtifactInstall_Enter_00"
			s.Scripts[1] = s.Scripts[0]
		}},
		"meta-data":      {"not a JSON object", func(s *artifact.Spec) { s.MetaData = []byte("[]") }},
		"file outside":   {"not a plain file name", func(s *artifact.Spec) { s.Files[0].Name = "../x" }},
		"file twice":     {"two payload files one", func(s *artifact.Spec) { s.Files = append(s.Files, s.Files[0]) }},
		"file too short": {"has 15 bytes, not 16", func(s *artifact.Spec) { s.Files[0].Size++ }},
		"file too long":  {"one", func(s *artifact.Spec) { s.Files[0].Size-- }},
		"file not there": {full.Error(), func(s *artifact.Spec) { s.Files[0].Open = func() (io.ReadCloser, error) { return nil, full } }},
		"file changes": {"changed while it was read", func(s *artifact.Spec) {
			s.Compression, s.Files[0].Size = artifact.None, 1
			s.Files[0].Open = func() (io.ReadCloser, error) {
				changing++
				return io.NopCloser(strings.NewReader(string(rune('a' + changing)))), nil
			}
		}},
		"compression": {`unknown compression "zip"`, func(s *artifact.Spec) { s.Compression = "zip" }},
	} {
		s := smallSpec(artifact.Gzip)
		c.sin(&s)
		if err := artifact.Write(io.Discard, s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestWriteToFullDisk(t *testing.T) {
	full := errors.New("no space left on device")
	b := written(t, smallSpec(artifact.Gzip))
	for n := 0; n < len(b); n += 100 {
		if err := artifact.Write(&disk{n, full}, smallSpec(artifact.Gzip)); !errors.Is(err, full) {
			t.Errorf("disk full after %d bytes: %v", n, err)
		}
	}
}

// disk has room for left bytes.
type disk struct {
	left int
	err  error
}

func (d *disk) Write(b []byte) (int, error) {
	if len(b) > d.left {
		n := d.left
		d.left = 0
		return n, d.err
	}
	d.left -= len(b)
	return len(b), nil
}
