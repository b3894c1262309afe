package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// peer is another updater that can be driven here: how it is given the image, and how it is run.
type peer struct {
	name     string
	programs []string
	prepare  func(ctx context.Context, r *rig, compression, how, file string) error
	suffix   string
	knows    map[string]string // compressions, and what it calls them
	run      func(r *rig, file string) (name string, args []string)
}

// peers are driven as their own documentation says, SWUpdate and RAUC with a signed bundle, as they insist on it.
// SWUpdate writes what it unpacks directly to the slot. RAUC's service runs on a message bus of its
// own, for this one installation; starting both is part of the time, as starting flipside is.
var peers = []peer{
	mender,
	{
		name: "SWUpdate", programs: []string{"swupdate", "openssl", "gzip", "zstd"}, prepare: makeSWU, suffix: "swu",
		knows: map[string]string{"none": "", "gzip": "zlib", "zstd": "zstd"},
		run: func(r *rig, file string) (string, []string) {
			return "swupdate", []string{"-i", file, "-k", r.file("peer.crt"), "-H", "bench:1", "-M", "-m"}
		},
	},
	{
		name: "RAUC", programs: []string{"rauc", "openssl", "mksquashfs", "dbus-run-session"}, prepare: makeRAUC, suffix: "raucb",
		knows: map[string]string{"none": "-noI -noD -noF -noX", "gzip": "-comp gzip", "zstd": "-comp zstd -Xcompression-level 8", "lzma": "-comp xz"},
		run: func(r *rig, file string) (string, []string) {
			return "dbus-run-session", []string{"--", "sh", "-c", raucScript, "sh", r.file("rauc.conf"), file}
		},
	},
}

const raucScript = `
export DBUS_STARTER_BUS_TYPE=session
rauc -c "$1" --override-boot-slot=A service & service=$!
tries=0
until rauc status >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || exit 1
	sleep 0.02
done
rauc install "$2"; status=$?
kill $service
wait $service
exit $status`

// preparePeers makes what those that are installed need, and says who is not.
func (r *rig) preparePeers(ctx context.Context) error {
	if err := r.certificate(ctx); err != nil {
		return err
	}
	conf := fmt.Sprintf("[system]\ncompatible=bench\nbootloader=noop\nstatusfile=%s\nmountprefix=%s\n[keyring]\npath=%s\n"+
		"[slot.rootfs.0]\ndevice=/dev/null\ntype=raw\nbootname=A\n[slot.rootfs.1]\ndevice=%s\ntype=raw\nbootname=B\n",
		r.file("rauc.status"), r.file("rauc.mnt"), r.file("peer.crt"), r.loopB)
	if err := errors.Join(os.MkdirAll(r.file("rauc.mnt"), 0o755), os.WriteFile(r.file("rauc.conf"), []byte(conf), 0o644)); err != nil {
		return err
	}
	for _, p := range peers {
		if missing := p.missing(); missing != "" {
			fmt.Fprintf(os.Stderr, "%s is not measured: %s is not installed\n", p.name, missing)
			continue
		}
		for _, c := range r.compressions {
			how, ok := p.knows[c]
			if !ok {
				continue
			}
			// Made anew each time: some name the loop device inside.
			if err := p.prepare(ctx, r, c, how, r.bundle(p, c)); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		r.present = append(r.present, p)
	}
	return nil
}

func (p peer) missing() string {
	for _, name := range p.programs {
		if _, err := exec.LookPath(name); err != nil {
			return name
		}
	}
	return ""
}

func (r *rig) bundle(p peer, compression string) string { return r.file(compression + "." + p.suffix) }

func (r *rig) others(compression string) []contender {
	var all []contender
	for _, p := range r.present {
		if _, ok := p.knows[compression]; ok {
			name, args := p.run(r, r.bundle(p, compression))
			all = append(all, contender{name: p.name, command: command(name, args...), writes: true})
		}
	}
	return all
}

func (r *rig) certificate(ctx context.Context) error {
	return once(r.file("peer.crt"), func(file string) error {
		return output(exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", r.file("peer.key"),
			"-out", file, "-subj", "/CN=bench", "-days", "3650", "-addext", "extendedKeyUsage=emailProtection", "-addext", "keyUsage=digitalSignature"))
	})
}

func makeRAUC(ctx context.Context, r *rig, _, how, file string) error {
	dir := r.file("rauc")
	defer os.RemoveAll(dir)
	manifest := "[update]\ncompatible=bench\nversion=1\n[image.rootfs]\nfilename=image.img\n"
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), os.Link(r.image, filepath.Join(dir, "image.img")),
		os.WriteFile(filepath.Join(dir, "manifest.raucm"), []byte(manifest), 0o644), remove(file)); err != nil {
		return err
	}
	return output(exec.CommandContext(ctx, "rauc", "bundle", "--cert", r.file("peer.crt"), "--key", r.file("peer.key"),
		"--mksquashfs-args="+how, dir, file))
}

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// makeSWU makes SWUpdate's bundle: a cpio archive of a signed description and the packed image.
func makeSWU(ctx context.Context, r *rig, compression, how, file string) error {
	packed := r.file("swu.packed")
	tool := map[string]string{"none": "cat", "gzip": "gzip -9c", "zstd": "zstd -8qc"}[compression]
	if err := output(exec.CommandContext(ctx, "sh", "-c", tool+` "$1" >"$2"`, "sh", r.image, packed)); err != nil {
		return err
	}
	defer os.Remove(packed)
	image, err := os.ReadFile(packed)
	if err != nil {
		return err
	}
	if how != "" {
		how = fmt.Sprintf("compressed = %q;", how)
	}
	description := fmt.Sprintf("software = {\n version = \"1\";\n hardware-compatibility: [\"1\"];\n images: ({ filename = \"image\"; "+
		"device = %q; type = \"raw\"; installed-directly = true; %s sha256 = \"%x\"; });\n}\n", r.loopB, how, sha256.Sum256(image))
	signing := exec.CommandContext(ctx, "openssl", "cms", "-sign", "-signer", r.file("peer.crt"), "-inkey", r.file("peer.key"), "-outform", "DER", "-nosmimecap", "-binary")
	signing.Stdin = bytes.NewReader([]byte(description))
	signature, err := signing.Output()
	if err != nil {
		return fmt.Errorf("openssl cms: %w", err)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(cpio(f, "sw-description", []byte(description)), cpio(f, "sw-description.sig", signature),
		cpio(f, "image", image), cpio(f, "TRAILER!!!", nil), f.Close())
}

// cpio writes one entry in the format "crc".
func cpio(w io.Writer, name string, data []byte) error {
	var sum uint32
	for _, c := range data {
		sum += uint32(c)
	}
	var b bytes.Buffer
	b.WriteString("070702")
	for _, v := range []uint32{1, 0o100644, 0, 0, 1, 0, uint32(len(data)), 0, 0, 0, 0, uint32(len(name) + 1), sum} {
		fmt.Fprintf(&b, "%08X", v)
	}
	b.WriteString(name + "\x00")
	b.Write(make([]byte, -b.Len()&3))
	_, err := w.Write(b.Bytes())
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		_, err = w.Write(make([]byte, -len(data)&3))
	}
	return err
}
