package artifact_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"flipside/artifact"
)

// To fuzz, add -fuzzminimizetime=10x: what the goroutines do differs from run to run, and go test
// would spend its time on finding out why.

// maxFuzzAlloc is far above what the limits allow for an artifact as small as those that the fuzzer
// makes, and far below what a size without a limit would ask for: xz's dictionary of 64 MiB twice,
// for header and payload, and as much for blocks, zstd's window of 128 MiB twice, and what is between them.
const maxFuzzAlloc = 400 << 20

// FuzzReader reads anything. What is accepted was verified: a second look at the bytes by other
// means finds every file's checksum in the manifest.
func FuzzReader(f *testing.F) {
	for _, c := range []artifact.Compression{artifact.None, artifact.Gzip, artifact.XZ, artifact.Zstd} {
		s := smallSpec(c)
		f.Add(written(f, s))
		s.Key = privateKey(f, "demo")
		s.Scripts = []artifact.Script{{Name: "ArtifactInstall_Enter_00", Content: []byte("#!/bin/sh\n")}}
		s.MetaData = []byte(`{"a":1}`)
		f.Add(written(f, s))
	}
	p := newPlan()
	f.Add(p.bytes())
	p.outer = added(member{name: "data/0001.tar"})
	f.Add(p.bytes())
	key := publicKey(f, "demo")
	f.Fuzz(func(t *testing.T, b []byte) {
		var h *artifact.Header
		var files contents
		var err error
		if got := allocated(func() { h, files, err = readAll(bytes.NewReader(b)) }); got > maxFuzzAlloc {
			t.Errorf("%d bytes allocated for %d bytes of input", got, len(b))
		}
		if err != nil {
			if !errors.Is(err, artifact.ErrRefused) {
				t.Errorf("%v is not a refusal", err)
			}
			return
		}
		checkAccepted(t, b, h, files)
		if _, err := artifact.Verify(bytes.NewReader(b), []artifact.PublicKey{key}); err != nil && !errors.Is(err, artifact.ErrSignature) && !errors.Is(err, artifact.ErrUnsigned) {
			t.Errorf("accepted without keys, but with keys: %v", err)
		}
	})
}

// checkAccepted looks for the checksums of what was accepted in the bytes that it came from.
func checkAccepted(t *testing.T, b []byte, h *artifact.Header, files contents) {
	if h.Name == "" || len(h.Depends["device_type"]) == 0 || len(h.Payloads) != 1 {
		t.Errorf("accepted header %+v", h)
	}
	for name, content := range files {
		line := fmt.Sprintf("%x  data/0000/%s", sha256.Sum256([]byte(content)), name)
		if !bytes.Contains(b, []byte(line)) {
			t.Errorf("accepted %q without the line %q in a manifest", name, line)
		}
		if strings.Contains(name, "/") || name == ".." || name == "." {
			t.Errorf("accepted a file %q", name)
		}
	}
}

// FuzzManifest: a manifest is accepted only if it is the list of exactly what is there.
func FuzzManifest(f *testing.F) {
	p := newPlan()
	good := ""
	p.manifest = func(lines []string) []string {
		good = strings.Join(lines, "\n")
		return lines
	}
	p.bytes()
	for _, s := range []string{good, good + "\n", good + "\n\n", strings.ToUpper(good), "", "\n", strings.Replace(good, "header.tar", "header.tar.gz", 1),
		good + "\n" + sum("x") + "  data/0000/x", strings.ReplaceAll(good, "  ", " ")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, manifest string) {
		p.manifest = func([]string) []string { return []string{manifest} }
		_, _, err := readAll(bytes.NewReader(p.bytes()))
		switch {
		case err == nil:
			want := strings.Split(good, "\n")
			lines := strings.Split(manifest, "\n")
			if len(lines) != len(want) {
				t.Errorf("accepted %q", manifest)
			}
			for _, line := range want {
				if !strings.Contains(manifest, line) {
					t.Errorf("accepted without %q: %q", line, manifest)
				}
			}
		case !errors.Is(err, artifact.ErrRefused):
			t.Errorf("%v is not a refusal", err)
		}
	})
}

// FuzzHeader: whatever the three JSON files say, what is accepted is there and is of one mind.
func FuzzHeader(f *testing.F) {
	p := newPlan()
	f.Add(p.info, p.typeInfo, "")
	f.Add(p.info, p.typeInfo, `{"a":[1,{"b":null}]}`)
	f.Add(strings.Replace(p.info, `"directory"`, "null", 1), `{"type":null}`, "")
	f.Add(p.info, `{"type":"","artifact_depends":{"a":"b","c":["d"]},"artifact_provides":{"e":"f"},"clears_artifact_provides":["*"]}`, "{}")
	f.Add(`{"payloads":[],"payloads":[{}]}`, `{"type":"\ud800"}`, "[]")
	f.Fuzz(func(t *testing.T, info, typeInfo, metaData string) {
		p := newPlan()
		p.info, p.typeInfo, p.metaData, p.files = info, typeInfo, metaData, nil
		h, err := artifact.Verify(bytes.NewReader(p.bytes()), nil)
		if err != nil {
			if !errors.Is(err, artifact.ErrRefused) {
				t.Errorf("%v is not a refusal", err)
			}
			return
		}
		if string(h.Info) != info || string(h.Payloads[0].TypeInfo) != typeInfo || string(h.Payloads[0].MetaData) != metaData {
			t.Errorf("handed out %q, %q, %q", h.Info, h.Payloads[0].TypeInfo, h.Payloads[0].MetaData)
		}
		var o map[string]any
		for _, text := range []string{info, typeInfo} {
			if err := json.Unmarshal([]byte(text), &o); err != nil {
				t.Errorf("accepted %q: %v", text, err)
			}
		}
		if h.Name == "" || len(h.Depends["device_type"]) == 0 || strings.Contains(h.Payloads[0].Type, "/") {
			t.Errorf("accepted %+v", h)
		}
		for key, values := range h.Depends {
			if len(values) == 0 {
				t.Errorf("accepted %s without a value", key)
			}
		}
	})
}

// FuzzPacked reads anything as a packed payload: what is not the two files is refused.
func FuzzPacked(f *testing.F) {
	good := newPlan()
	for _, c := range []artifact.Compression{artifact.Gzip, artifact.XZ, artifact.Zstd} {
		s := smallSpec(c)
		s.Files = nil
		for _, m := range good.files {
			s.Files = append(s.Files, artifact.FileBytes(m.name, []byte(m.content)))
		}
		f.Add(entryOf(f, written(f, s), "data/0000.tar"))
	}
	f.Add([]byte(tarred(good.files)))
	f.Fuzz(func(t *testing.T, packed []byte) {
		p := newPlan()
		p.outer = func(m []member) []member { m[3].content = string(packed); return m }
		b := p.bytes()
		var files contents
		var err error
		if got := allocated(func() { _, files, err = readAll(bytes.NewReader(b)) }); got > maxFuzzAlloc {
			t.Errorf("%d bytes allocated for %d bytes of input", got, len(b))
		}
		if err == nil && len(files) == len(good.files) || errors.Is(err, artifact.ErrRefused) {
			return
		}
		t.Errorf("%d files, %v", len(files), err)
	})
}

// entryOf returns an entry of an artifact, whatever its suffix.
func entryOf(t testing.TB, b []byte, prefix string) []byte {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("no %s: %v", prefix, err)
		}
		if strings.HasPrefix(h.Name, prefix) {
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
}
