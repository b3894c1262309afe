package artifact_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// Tests against the real tools.

// run runs a command in dir and returns what it printed.
func run(t testing.TB, dir string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// key is the path of a test key.
func keyPath(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(artifacts, "keys", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func writeFile(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// noise is n bytes that hardly compress, some of them; always the same.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		if i%8192 < 512 {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

// TestReadRealTool reads everything that mender-artifact can write.
func TestReadRealTool(t *testing.T) {
	hosttest.Tool(t, "mender-artifact", "mender-artifact")
	dir := t.TempDir()
	files := contents{
		"image.ext4": string(noise(1<<20 + 17)), "small.txt": "a small one\n", "empty": "",
		"archive.tar.gz": string(noise(70000)), strings.Repeat("long-", 40) + "name": "x",
	}
	for name, content := range files {
		writeFile(t, dir, name, []byte(content))
	}
	writeFile(t, dir, "meta.json", []byte(`{"a":{"b":[1,"x",null]}}`))
	writeFile(t, dir, "ArtifactInstall_Enter_01_x", []byte("#!/bin/sh\nexit 0\n"))
	writeFile(t, dir, "ArtifactCommit_Leave_99", []byte("#!/bin/sh\nexit 1\n"))

	module := []string{"module-image", "-n", "name", "-t", "sandbox", "-T", "my-module"}
	for kind, c := range map[string]struct {
		args  []string
		files []string
	}{
		"rootfs":    {[]string{"rootfs-image", "-n", "name", "-t", "sandbox", "-f", "image.ext4", "--no-progress"}, []string{"image.ext4"}},
		"no files":  {module, nil},
		"one file":  {append(module, "-f", "archive.tar.gz", "-m", "meta.json"), []string{"archive.tar.gz"}},
		"all files": {withFiles(module, files), []string{"image.ext4", "small.txt", "empty", "archive.tar.gz", strings.Repeat("long-", 40) + "name"}},
		"everything": {[]string{"rootfs-image", "-n", "name", "-t", "sandbox", "-t", "other", "-f", "image.ext4", "--no-progress",
			"-s", "ArtifactInstall_Enter_01_x", "-s", "ArtifactCommit_Leave_99", "-N", "a", "-N", "b", "-G", "g", "-g", "h",
			"-d", "k:v", "-p", "p:q", "--clears-provides", "x.*", "--software-filesystem", "fs", "--software-name", "app", "--software-version", "7"}, []string{"image.ext4"}},
		"no defaults": {[]string{"rootfs-image", "-n", "name", "-t", "sandbox", "-f", "image.ext4", "--no-progress",
			"--no-checksum-provide", "--no-default-clears-provides", "--no-default-software-version"}, []string{"image.ext4"}},
		"bootstrap": {[]string{"bootstrap-artifact", "-n", "name", "-t", "sandbox", "-p", "a:b", "--clears-provides", "*"}, nil},
	} {
		for _, compression := range []string{"none", "gzip", "lzma"} {
			for _, key := range []string{"", "rsa", "demo"} {
				t.Run(fmt.Sprintf("%s/%s/%s", kind, compression, key), func(t *testing.T) {
					args := append([]string{"write"}, c.args...)
					args = append(args, "-o", "out.mender", "--compression", compression)
					var keys []artifact.PublicKey
					if key != "" {
						args = append(args, "-k", keyPath(t, key+".key"))
						keys = append(keys, publicKey(t, key))
					}
					run(t, dir, "mender-artifact", args...)
					b, err := os.ReadFile(filepath.Join(dir, "out.mender"))
					if err != nil {
						t.Fatal(err)
					}
					h, got, err := readAll(bytes.NewReader(b), keys...)
					if err != nil {
						t.Fatal(err)
					}
					want := contents{}
					for _, name := range c.files {
						want[name] = files[name]
					}
					if h.Name != "name" || h.Signed != (key != "") || !maps.Equal(got, want) {
						t.Errorf("name %q, signed %v, %d files of %d", h.Name, h.Signed, len(got), len(want))
					}
				})
			}
		}
	}
}

func withFiles(args []string, files contents) []string {
	args = append([]string{}, args...)
	for name := range files {
		args = append(args, "-f", name)
	}
	return args
}

// TestWriteRealTool: mender-artifact accepts what Write writes, and says of it what we meant.
func TestWriteRealTool(t *testing.T) {
	hosttest.Tool(t, "mender-artifact", "mender-artifact")
	script := artifact.Script{Name: "ArtifactInstall_Enter_00_x", Content: []byte("#!/bin/sh\n")}
	full := artifact.Spec{
		Name: "release-7", Group: "beta",
		Depends: artifact.Depends{"device_type": {"sandbox", "other"}, "artifact_name": {"release-6"}, "artifact_group": {"stable"},
			"one": {"value"}, "more": {"v1", "v2"}},
		Provides:        artifact.Provides{"my-key": "my-value"},
		ClearsProvides:  []string{"my-*"},
		SoftwareVersion: "release-7",
		Type:            "my-module",
		MetaData:        []byte(`{"deep":{"list":[1,2,3]}}`),
		Scripts:         []artifact.Script{script},
		Files:           []artifact.FileSpec{artifact.FileBytes("a.bin", noise(1<<20)), artifact.FileBytes("empty", nil)},
	}
	rootfs := artifact.Spec{
		Name: "release-7", Depends: artifact.Depends{"device_type": {"sandbox"}}, SoftwareVersion: "release-7", Type: "rootfs-image",
		Files: []artifact.FileSpec{artifact.FileBytes("image.ext4", noise(1<<20))},
	}
	bootstrap := artifact.Spec{
		Name: "release-7", Depends: artifact.Depends{"device_type": {"sandbox"}}, Provides: artifact.Provides{"a": "b"},
	}
	for kind, c := range map[string]struct {
		spec artifact.Spec
		says []string
	}{
		"full": {full, []string{"Name: release-7", "'[sandbox other]'", "Provides group: beta", "one of artifact(s): [release-6]", "one of group(s): [stable]",
			"ArtifactInstall_Enter_00_x", "Type:   my-module", "my-key: my-value", "rootfs-image.my-module.version: release-7", "one: value", "more: [v1 v2]",
			`["rootfs-image.my-module.*", "my-*"]`, `"deep": {`, "a.bin", "size:     1048576", "empty"}},
		"rootfs": {rootfs, []string{"Type:   rootfs-image", "rootfs-image.version: release-7", "rootfs-image.checksum: " + sum(string(noise(1<<20))),
			`["artifact_group", "rootfs_image_checksum", "rootfs-image.*"]`, "image.ext4"}},
		"bootstrap": {bootstrap, []string{"a: b", "Name: release-7"}},
	} {
		for _, compression := range []artifact.Compression{"", artifact.None, artifact.Gzip, artifact.XZ} {
			for _, key := range []string{"", "rsa", "demo"} {
				t.Run(fmt.Sprintf("%s/%s/%s", kind, compression, key), func(t *testing.T) {
					c.spec.Compression, c.spec.Key = compression, nil
					args := []string{"out.mender"}
					if key != "" {
						c.spec.Key = privateKey(t, key)
						args = []string{"-k", keyPath(t, key+".pub"), "out.mender"}
					}
					dir := t.TempDir()
					writeFile(t, dir, "out.mender", written(t, c.spec))
					run(t, dir, "mender-artifact", append([]string{"validate"}, args...)...)
					out := run(t, dir, "mender-artifact", append([]string{"read"}, args...)...)
					says := c.says
					if key != "" {
						says = append(says, "signed and verified correctly")
					}
					for _, s := range says {
						if !strings.Contains(out, s) {
							t.Errorf("mender-artifact read does not say %q:\n%s", s, out)
						}
					}
				})
			}
		}
	}
}

// TestVerifyOpenSSL: signatures by somebody else, in the forms that are seen.
func TestVerifyOpenSSL(t *testing.T) {
	hosttest.Tool(t, "openssl", "openssl")
	dir := t.TempDir()
	digest := func(key string) func(string) []byte {
		return func(manifest string) []byte {
			writeFile(t, dir, "manifest", []byte(manifest))
			return []byte(run(t, dir, "openssl", "dgst", "-sha256", "-sign", key, "manifest"))
		}
	}
	ed25519 := func(manifest string) []byte {
		writeFile(t, dir, "manifest", []byte(manifest))
		return []byte(run(t, dir, "openssl", "pkeyutl", "-sign", "-rawin", "-inkey", keyPath(t, "ed25519.key"), "-in", "manifest"))
	}
	p384 := filepath.Join(dir, "p384.key")
	run(t, dir, "openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", p384)
	p384pub, err := artifact.ParsePublicKey([]byte(run(t, dir, "openssl", "pkey", "-in", p384, "-pubout")))
	if err != nil {
		t.Fatal(err)
	}
	rsaPub, err := artifact.ParsePublicKey([]byte(run(t, dir, "openssl", "rsa", "-in", keyPath(t, "rsa.key"), "-RSAPublicKey_out")))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sign func(string) []byte
		key  artifact.PublicKey
	}{
		"RSA":              {digest(keyPath(t, "rsa.key")), publicKey(t, "rsa")},
		"RSA, PKCS #1 key": {digest(keyPath(t, "rsa.key")), rsaPub},
		"ECDSA P-256, DER": {digest(keyPath(t, "demo.key")), publicKey(t, "demo")},
		"ECDSA P-384, DER": {digest(p384), p384pub},
		"Ed25519":          {ed25519, publicKey(t, "ed25519")},
	} {
		for form, encode := range map[string]func([]byte) string{
			"one line":     base64.StdEncoding.EncodeToString,
			"with newline": func(b []byte) string { return base64.StdEncoding.EncodeToString(b) + "\n" },
			"wrapped":      wrapped,
		} {
			p := newPlan()
			p.sign = func(manifest string) string { return encode(c.sign(manifest)) }
			b := p.bytes()
			if _, _, err := readAll(bytes.NewReader(b), c.key); err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
			}
			if _, _, err := readAll(bytes.NewReader(b), publicKey(t, "other"), c.key); err != nil {
				t.Errorf("%s, %s, another key before: %v", name, form, err)
			}
			if _, _, err := readAll(bytes.NewReader(b), publicKey(t, "other")); err == nil {
				t.Errorf("%s, %s: verified by another key", name, form)
			}
		}
	}
}

func wrapped(b []byte) string {
	var s strings.Builder
	text := base64.StdEncoding.EncodeToString(b)
	for len(text) > 64 {
		s.WriteString(text[:64] + "\r\n")
		text = text[64:]
	}
	return s.String() + text + "\n"
}
