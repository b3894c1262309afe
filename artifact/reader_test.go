package artifact_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// TestReadTestdata reads what the real mender-artifact wrote.
func TestReadTestdata(t *testing.T) {
	rootfs := []string{"artifact_group", "rootfs_image_checksum", "rootfs-image.*"}
	sandbox := artifact.Depends{"device_type": {"sandbox"}}
	small := artifact.Header{Name: "small-1", Depends: sandbox, ClearsProvides: rootfs}
	files := artifact.Header{Name: "files-1", Depends: sandbox}
	for file, c := range map[string]struct {
		key   string
		kind  string
		want  artifact.Header // without what is in every artifact
		files []string
	}{
		"release-2.mender":       {"demo", "rootfs-image", artifact.Header{Name: "release-2", Depends: sandbox, ClearsProvides: rootfs}, []string{"release-2.ext4"}},
		"release-3.mender":       {"demo", "rootfs-image", artifact.Header{Name: "release-3", Depends: sandbox, ClearsProvides: rootfs}, []string{"release-3.ext4"}},
		"rootfs-unsigned.mender": {"", "rootfs-image", small, []string{"small.ext4"}},
		"rootfs-rsa.mender":      {"rsa", "rootfs-image", small, []string{"small.ext4"}},
		"rootfs-xz.mender":       {"demo", "rootfs-image", small, []string{"small.ext4"}},
		"rootfs-zstd.mender":     {"rsa", "rootfs-image", small, []string{"small.ext4"}},
		"module-plain.mender":    {"", "single-file", files, []string{"one.conf"}},
		"module-3-files.mender":  {"demo", "directory", files, []string{"empty.conf", "one.conf", "two.conf"}},
		"module-scripts.mender":  {"", "directory", artifact.Header{Name: "scripts-1", Depends: sandbox}, []string{"one.conf"}},
		"module-depends.mender": {"", "directory", artifact.Header{Name: "depends-1", Group: "beta",
			Depends: artifact.Depends{"device_type": {"sandbox", "other-device"}, "artifact_name": {"release-2", "release-3"},
				"artifact_group": {"stable"}, "rootfs-image.version": {"release-2"}, "feature": {"on"}},
			ClearsProvides: []string{"feature*", "rootfs-image.directory.*"}}, []string{"one.conf"}},
		"bootstrap.mender": {"rsa", "", artifact.Header{Name: "release-1", Depends: sandbox}, nil},
	} {
		t.Run(file, func(t *testing.T) {
			var keys []artifact.PublicKey
			if c.key != "" {
				keys = append(keys, publicKey(t, "other"), publicKey(t, c.key))
			}
			h, got, err := readAll(bytes.NewReader(testdata(t, file)), keys...)
			if err != nil {
				t.Fatal(err)
			}
			if h.Name != c.want.Name || h.Group != c.want.Group || h.Signed != (c.key != "") || h.Payloads[0].Type != c.kind {
				t.Errorf("name %q, group %q, signed %v, type %q", h.Name, h.Group, h.Signed, h.Payloads[0].Type)
			}
			if !reflect.DeepEqual(h.Depends, c.want.Depends) {
				t.Errorf("depends %v; want %v", h.Depends, c.want.Depends)
			}
			if c.want.ClearsProvides != nil && !slices.Equal(h.ClearsProvides, c.want.ClearsProvides) {
				t.Errorf("clears %q; want %q", h.ClearsProvides, c.want.ClearsProvides)
			}
			if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, c.files) {
				t.Errorf("files %q; want %q", names, c.files)
			}
			if sum, ok := h.Provides["rootfs-image.checksum"]; ok != (c.kind == "rootfs-image") || ok && sum != fmt.Sprintf("%x", sha256.Sum256([]byte(got[c.files[0]]))) {
				t.Errorf("provides checksum %q", sum)
			}
			if !json.Valid(h.Info) || !json.Valid(h.Payloads[0].TypeInfo) {
				t.Errorf("header-info %q, type-info %q", h.Info, h.Payloads[0].TypeInfo)
			}
		})
	}
}

func TestReadTestdataDetails(t *testing.T) {
	h, _, err := readAll(bytes.NewReader(testdata(t, "module-3-files.mender")))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"destination":"/etc/app","mode":420,"nested":{"list":[1,2,{"a":null}]}}`; string(h.Payloads[0].MetaData) != want {
		t.Errorf("meta-data %q; want %q", h.Payloads[0].MetaData, want)
	}
	h, _, err = readAll(bytes.NewReader(testdata(t, "module-scripts.mender")))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range h.Scripts {
		names = append(names, s.Name)
		if string(s.Content) != "#!/bin/sh\necho \"$0\"\n" {
			t.Errorf("script %s is %q", s.Name, s.Content)
		}
	}
	// mender-artifact writes them in no particular order.
	slices.Sort(names)
	want := []string{"ArtifactCommit_Enter_50", "ArtifactInstall_Enter_00_check", "ArtifactInstall_Leave_10_sync", "ArtifactReboot_Enter_01_announce"}
	if !slices.Equal(names, want) {
		t.Errorf("scripts %q; want %q", names, want)
	}
	h, _, err = readAll(bytes.NewReader(testdata(t, "rootfs-unsigned.mender")))
	if err != nil {
		t.Fatal(err)
	}
	if h.Payloads[0].MetaData != nil || h.Scripts != nil {
		t.Errorf("meta-data %q, scripts %v; want none", h.Payloads[0].MetaData, h.Scripts)
	}
	h, _, err = readAll(bytes.NewReader(testdata(t, "bootstrap.mender")))
	if err != nil {
		t.Fatal(err)
	}
	if h.ClearsProvides != nil || !maps.Equal(h.Provides, artifact.Provides{"rootfs-image.version": "release-1"}) {
		t.Errorf("provides %v, clears %v", h.Provides, h.ClearsProvides)
	}
}

// TestReadInPieces: it makes no difference how the source delivers.
func TestReadInPieces(t *testing.T) {
	b := testdata(t, "module-3-files.mender")
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(b)),
		"half":     iotest.HalfReader(bytes.NewReader(b)),
		"data err": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		if _, c, err := readAll(r); err != nil || len(c) != 3 {
			t.Errorf("%s: %d files, %v", name, len(c), err)
		}
	}
}

// TestWriteToPieces: large pieces, nothing of the last before the checksum is known.
func TestWriteToPieces(t *testing.T) {
	rd, _, f := openFile(t, bytes.NewReader(testdata(t, "release-2.mender")))
	defer rd.Close()
	if f.Name != "release-2.ext4" || f.Size != 48<<20 {
		t.Errorf("file %s of %d bytes", f.Name, f.Size)
	}
	var sizes pieces
	if n, err := f.WriteTo(&sizes); n != f.Size || err != nil {
		t.Fatalf("WriteTo = %d, %v", n, err)
	}
	if len(sizes) != 4*48 || slices.Min(sizes) != 256<<10 {
		t.Errorf("%d pieces, the smallest of %d bytes", len(sizes), slices.Min(sizes))
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read after the end = %d, %v", n, err)
	}
}

type pieces []int

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, len(b))
	return len(b), nil
}

// TestWriteToWriterFails: an error of the writer is the writer's, and reading can go on.
func TestWriteToWriterFails(t *testing.T) {
	rd, _, f := openFile(t, bytes.NewReader(newPlan().bytes()))
	defer rd.Close()
	full := errors.New("no space left on device")
	if n, err := f.WriteTo(failingWriter{3, full}); n != 3 || err != full {
		t.Errorf("WriteTo = %d, %v", n, err)
	}
	if rest, err := io.ReadAll(f); string(rest) != " first file\n" || err != nil {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

type failingWriter struct {
	n   int
	err error
}

func (w failingWriter) Write(b []byte) (int, error) { return w.n, w.err }

// TestSkip: what is passed over is verified all the same.
func TestSkip(t *testing.T) {
	if _, err := artifact.Verify(bytes.NewReader(newPlan().bytes()), nil); err != nil {
		t.Errorf("Verify = %v", err)
	}
	p := newPlan()
	p.manifest = func(lines []string) []string {
		lines[0] = sum("something else") + "  data/0000/one"
		return lines
	}
	rd, err := artifact.NewReader(bytes.NewReader(p.bytes()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	payload, err := rd.Next()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := rd.Next(); !errors.Is(err, artifact.ErrChecksum) {
			t.Errorf("Next %d = %v", i, err)
		}
		if _, err := payload.Next(); !errors.Is(err, artifact.ErrChecksum) {
			t.Errorf("Payload.Next %d = %v", i, err)
		}
	}
}

// TestNothingAfterAnError: a wrong file is not handed out, nor anything behind it.
func TestNothingAfterAnError(t *testing.T) {
	p := newPlan()
	p.files[0].content = strings.Repeat("x", 5<<20)
	p.wrongSum()
	rd, payload, f := openFile(t, bytes.NewReader(p.bytes()))
	defer rd.Close()
	n, err := io.Copy(io.Discard, f)
	if n != 4<<20 || !errors.Is(err, artifact.ErrChecksum) {
		t.Errorf("%d bytes, %v; want all but the last MiB and a wrong checksum", n, err)
	}
	for range 2 {
		if n, err := f.Read(make([]byte, 10)); n != 0 || !errors.Is(err, artifact.ErrChecksum) {
			t.Errorf("Read = %d, %v", n, err)
		}
		if n, err := f.WriteTo(io.Discard); n != 0 || !errors.Is(err, artifact.ErrChecksum) {
			t.Errorf("WriteTo = %d, %v", n, err)
		}
		if f, err := payload.Next(); f != nil || !errors.Is(err, artifact.ErrChecksum) {
			t.Errorf("Payload.Next = %v, %v", f, err)
		}
	}
}

// TestCloseEndsGoroutines: the bubble is left only when every goroutine in it has ended.
func TestCloseEndsGoroutines(t *testing.T) {
	for _, file := range []string{"rootfs-rsa.mender", "rootfs-zstd.mender", "rootfs-xz.mender", "module-plain.mender"} {
		b := testdata(t, file)
		for files := range 3 {
			synctest.Test(t, func(t *testing.T) {
				rd, err := artifact.NewReader(bytes.NewReader(b), nil)
				if err != nil {
					t.Fatal(err)
				}
				if files > 0 {
					p, err := rd.Next()
					if err != nil {
						t.Fatal(err)
					}
					if files > 1 {
						f, err := p.Next()
						if err != nil {
							t.Fatal(err)
						}
						if _, err := f.Read(make([]byte, 1)); err != nil {
							t.Fatal(err)
						}
					}
				}
				for range 2 {
					if err := rd.Close(); err != nil {
						t.Error(err)
					}
				}
				if _, err := rd.Next(); err == nil || err == io.EOF || errors.Is(err, artifact.ErrRefused) {
					t.Errorf("Next after Close = %v", err)
				}
			})
		}
	}
}

// TestErrorsEndGoroutines: after an error, too, Close leaves nothing behind.
func TestErrorsEndGoroutines(t *testing.T) {
	for _, file := range []string{"rootfs-rsa.mender", "rootfs-zstd.mender", "rootfs-xz.mender"} {
		b := testdata(t, file)
		synctest.Test(t, func(t *testing.T) {
			if _, _, err := readAll(bytes.NewReader(b[:len(b)*9/10])); !errors.Is(err, artifact.ErrTruncated) {
				t.Errorf("%s: %v", file, err)
			}
		})
	}
}

func TestOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, file := range []string{"rootfs-rsa.mender", "rootfs-zstd.mender", "rootfs-xz.mender"} {
		if _, err := artifact.Verify(bytes.NewReader(testdata(t, file)), nil); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestSourceErrors: an error of the source comes through, and is none of the artifact's.
func TestSourceErrors(t *testing.T) {
	lost := errors.New("connection lost")
	for _, file := range []string{"module-3-files.mender", "rootfs-zstd.mender", "rootfs-xz.mender", "module-plain.mender"} {
		b := testdata(t, file)
		for n := 0; n < len(b); n += 101 {
			_, _, err := readAll(&failingReader{bytes.NewReader(b[:n]), lost})
			if !errors.Is(err, lost) || errors.Is(err, artifact.ErrRefused) {
				t.Fatalf("%s, source fails after %d of %d bytes: %v", file, n, len(b), err)
			}
			_, _, err = readAll(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(io.ErrUnexpectedEOF)))
			if !errors.Is(err, artifact.ErrTruncated) {
				t.Fatalf("%s, source ends unexpectedly after %d of %d bytes: %v", file, n, len(b), err)
			}
		}
	}
}

// failingReader fails once where r ends, and then reports an end.
type failingReader struct {
	r   io.Reader
	err error
}

func (f *failingReader) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err == io.EOF && f.err != nil {
		err, f.err = f.err, nil
	}
	return n, err
}

// TestTruncated: wherever the file ends, if that is not its end it is truncated.
func TestTruncated(t *testing.T) {
	for _, file := range []string{"module-depends.mender", "rootfs-rsa.mender", "rootfs-zstd.mender", "rootfs-xz.mender", "module-plain.mender", "bootstrap.mender"} {
		b := testdata(t, file)
		for n := 0; n < len(b); n += 512 {
			for _, n := range []int{n, n + 1, n + 511} {
				if n >= len(b) {
					continue
				}
				h, _, err := readAll(bytes.NewReader(b[:n]))
				if h != nil || !errors.Is(err, artifact.ErrTruncated) || !errors.Is(err, artifact.ErrRefused) {
					t.Fatalf("%s, %d of %d bytes: %v", file, n, len(b), err)
				}
			}
		}
	}
}

// TestFlipped: whichever byte is damaged, either it is noticed or it makes no difference (the owner
// or the time of a file, and what fills up a block).
func TestFlipped(t *testing.T) {
	for _, c := range []artifact.Compression{artifact.None, artifact.Gzip, artifact.Zstd} {
		spec := smallSpec(c)
		spec.Key = privateKey(t, "demo")
		b := written(t, spec)
		key := publicKey(t, "demo")
		want, files, err := readAll(bytes.NewReader(b), key)
		if err != nil {
			t.Fatal(err)
		}
		noticed := 0
		tried := 0
		for i := 0; i < len(b); i += 3 {
			tried++
			c := slices.Clone(b)
			c[i] ^= 1 << (i % 8)
			got, gotFiles, err := readAll(bytes.NewReader(c), key)
			switch {
			case err == nil && (!reflect.DeepEqual(got, want) || !maps.Equal(gotFiles, files)):
				t.Fatalf("byte %d flipped: accepted as %+v", i, got)
			case err != nil && !errors.Is(err, artifact.ErrRefused):
				t.Fatalf("byte %d flipped: %v is not a refusal", i, err)
			case err != nil:
				noticed++
			}
		}
		if noticed < tried/2 {
			t.Errorf("%s: only %d of %d damages were noticed", c, noticed, tried)
		}
	}
}

// TestNoAllocationPerBlock: five times as much goes through without more garbage.
func TestNoAllocationPerBlock(t *testing.T) {
	hosttest.Tool(t, "zstd", "zstd")
	hosttest.Tool(t, "gzip", "gzip")
	content := string(textual(15 << 20))
	for _, command := range []string{"cat", "gzip", "zstd"} {
		p := newPlan()
		p.packed = func(s string) string { return pipe(t, s, command) }
		allocs := func(n int) uint64 {
			p.files[0].content = content[:n]
			b := p.bytes()
			return allocated(func() {
				if _, err := artifact.Verify(bytes.NewReader(b), nil); err != nil {
					t.Fatal(err)
				}
			})
		}
		if less, more := allocs(3<<20), allocs(15<<20); more > less+128<<10 {
			t.Errorf("%s: %d bytes allocated for 3 MiB, %d for 15 MiB", command, less, more)
		}
	}
}
