package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// system describes a root filesystem. What is not said is as it should be.
type system struct {
	release  string
	size     int64             // of the image
	files    map[string]string // more files, or other ones, by path
	filler   int64             // bytes of noise
	noKernel bool              // the kernel is damaged
	noInit   bool              // the first process ends at once
	generic  bool              // with the kernel that has USB
}

// image is a root filesystem, and what is in it.
type image struct {
	release string
	path    string
	size    int64
	sum     [sha256.Size]byte
}

// What is loaded, and when: earlyModules by testdata/initrd-init, the others by testdata/init. The
// disk is not NVMe, which the kernel for clouds has built in: QEMU 7.2 forgets that an NVMe write is
// to be forced to the medium (FUA), and so would lose what a guest has reason to rely on.
var (
	earlyModules = []string{"virtio_pci", "virtio_blk", "crc32c_generic", "ext4"}
	lateModules  = map[string][]string{
		"boot":    {"vfat", "nls_cp437", "nls_ascii"},
		"network": {"virtio_net", "af_packet"},
		"usb":     {"xhci_pci", "usb_storage", "sd_mod", "vfat", "nls_cp437", "nls_ascii"},
	}
)

// build makes an image with the binary for b's architecture.
func (s system) build(t *testing.T, b *board, binary string) image {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	put := func(name string, content []byte, mode os.FileMode) {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, content, mode))
	}
	debian := packages(t, cloudKernel, b.arch)
	if s.generic {
		debian = packages(t, genericKernel, b.arch)
	}
	for _, name := range []string{"dev", "proc", "sys", "tmp", "run", "data", "media", "usr/share/mender/modules/v3"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	// Noise of another length in each release moves all that follows to other places, so that one
	// image written half over another is neither.
	put("aaa/noise", noise(s.release, shift(s.release)+s.filler), 0o644)
	kernel := hosttest.Read(t, debian.kernel)
	if s.noKernel {
		kernel = kernel[:1000]
	}
	put("boot/vmlinuz", kernel, 0o644)
	put("boot/initrd", initrd(t, debian), 0o644)
	for name, modules := range lateModules {
		files := moduleFiles(t, debian, modules...)
		put("lib/modules/"+name, moduleList(files), 0o644)
		for _, file := range files {
			put("lib/modules/"+moduleName(file)+".ko", hosttest.Read(t, file), 0o644)
		}
	}
	put("bin/busybox", hosttest.Read(t, debian.busybox), 0o755)
	for _, applet := range applets(t) {
		must(t, os.Symlink("busybox", filepath.Join(dir, "bin", applet)))
	}
	put("usr/bin/flipside", hosttest.Read(t, binary), 0o755)
	init := hosttest.Read(t, "testdata/init")
	if s.noInit {
		init = []byte("#!/bin/sh\necho this system ends here\n")
	}
	put("sbin/init", init, 0o755)
	put("etc/release", []byte(s.release+"\n"), 0o644)
	put("etc/mender/artifact_info", []byte("artifact_name="+s.release+"\n"), 0o644)
	put("etc/mender/mender.conf", []byte(`{"RootfsPartA": "/dev/vda2", "RootfsPartB": "/dev/vda3"}`), 0o644)
	must(t, os.MkdirAll(filepath.Join(dir, "var/lib"), 0o755))
	must(t, os.Symlink("/data/mender", filepath.Join(dir, "var/lib/mender")))
	for name, content := range b.files {
		put(name, []byte(content), 0o644)
	}
	for name, content := range s.files {
		put(name, []byte(content), 0o755)
	}
	return s.pack(t, b, dir)
}

func (s system) pack(t *testing.T, b *board, dir string) image {
	t.Helper()
	i := image{release: s.release, path: filepath.Join(t.TempDir(), s.release+".img"), size: s.size}
	if i.size == 0 {
		i.size = b.imageSize
	}
	hosttest.Run(t, "e2fsprogs", "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-b", "4096", "-N", "1024", "-E", "root_owner=0:0",
		"-O", "^has_journal,^metadata_csum,^64bit,^resize_inode", "-d", dir, i.path, fmt.Sprintf("%dk", i.size/1024))
	i.sum = sha256.Sum256(hosttest.Read(t, i.path))
	return i
}

// artifact packs the image, as a file in dir.
func (i image) artifact(t *testing.T, dir string, change func(*artifact.Spec)) {
	t.Helper()
	i.artifactAs(t, dir, i.release, change)
}

func (i image) artifactAs(t *testing.T, dir, name string, change func(*artifact.Spec)) {
	t.Helper()
	file, err := artifact.FilePath(i.path)
	must(t, err)
	pack(t, dir, name, artifact.Spec{
		Name: i.release, Type: "rootfs-image", Files: []artifact.FileSpec{file}, Compression: artifact.None,
		Depends: artifact.Depends{artifact.KeyDeviceType: {deviceType}},
	}, change)
}

func pack(t *testing.T, dir, name string, spec artifact.Spec, change func(*artifact.Spec)) {
	t.Helper()
	if change != nil {
		change(&spec)
	}
	f, err := os.Create(filepath.Join(dir, name+".mender"))
	must(t, err)
	must(t, artifact.Write(f, spec))
	must(t, f.Close())
}

const deviceType = "virtual"

// shift is another number of blocks for each release, and never a multiple of 64 KiB.
func shift(release string) int64 {
	sum := sha256.Sum256([]byte(release))
	return 200_000 + int64(sum[0]%64)<<16 + int64(sum[1]%14+1)<<12
}

// noise does not compress, and is the same for the same name.
func noise(name string, n int64) []byte {
	seed := sha256.Sum256([]byte(name))
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(p)
	return p
}

// applets are BusyBox's names for itself: the same for all architectures.
func applets(t *testing.T) []string {
	t.Helper()
	names := strings.Fields(hosttest.Run(t, "busybox-static", packages(t, cloudKernel, "amd64").busybox, "--list"))
	out := names[:0]
	for _, name := range names {
		if name != "busybox" && name != "init" {
			out = append(out, name)
		}
	}
	return out
}

// differs makes sure that i does not share large parts with other, at the same places.
func (i image) differs(t *testing.T, other image) {
	t.Helper()
	const block = 64 << 10
	a, b := hosttest.Read(t, i.path), hosttest.Read(t, other.path)
	same, all := 0, 0
	for at := 0; at+block <= min(len(a), len(b)); at += block {
		if bytes.Equal(a[at:at+block], make([]byte, block)) {
			continue
		}
		all++
		if bytes.Equal(a[at:at+block], b[at:at+block]) {
			same++
		}
	}
	if same*4 > all {
		t.Fatalf("%s and %s have %d of %d blocks in common", i.release, other.release, same, all)
	}
}
