package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"flipside/internal/hosttest"
)

// debian is what of Debian's packages goes into the devices of one architecture. Nothing of it is
// installed on the host: the kernels would want to be booted, and most packages are foreign.
type debian struct {
	kernel  string // path of the kernel
	modules string // directory with its modules, flat
	busybox string // path of the static program
}

// The kernels: the one for clouds is smaller, and has no USB.
const (
	cloudKernel   = "linux-image-cloud-"
	genericKernel = "linux-image-"
)

// fetching keeps tests from downloading the same at the same time.
var fetching sync.Mutex

// packages are unpacked for arch ("amd64", "arm64"), once a user.
func packages(t *testing.T, kernel, arch string) debian {
	t.Helper()
	fetching.Lock()
	defer fetching.Unlock()
	cache, err := os.UserCacheDir()
	must(t, err)
	dir := filepath.Join(cache, "flipside", kernel+arch)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
		must(t, download(t, kernel+arch, arch, dir))
	}
	return debian{kernel: filepath.Join(dir, "vmlinuz"), modules: filepath.Join(dir, "modules"), busybox: filepath.Join(dir, "busybox")}
}

// download makes dir: whole, or not at all.
func download(t *testing.T, meta, arch, dir string) error {
	t.Helper()
	work, err := os.MkdirTemp(filepath.Dir(dir), "download")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	t.Logf("downloading %s and BusyBox to %s", meta, dir)
	debs := filepath.Join(work, "debs")
	kept := filepath.Join(work, "kept")
	if err := errors.Join(os.Mkdir(debs, 0o755), os.Mkdir(kept, 0o755), fetch(t, meta, arch, work, debs)); err != nil {
		return err
	}
	hosttest.Run(t, "dpkg", "sh", "-c", `
		cd "$1"
		for deb in debs/*.deb; do dpkg-deb -x "$deb" unpacked; done
		cp unpacked/bin/busybox kept/
		cp unpacked/boot/vmlinuz-* kept/vmlinuz
		mkdir kept/modules
		find unpacked/lib/modules -name '*.ko' | grep -vE '/sound/|/drivers/(gpu|iio|infiniband|media|net/(ethernet|wireless)|staging)/' |
			xargs cp -t kept/modules # without most of the megabytes, that nobody here has hardware for`, "sh", work)
	err = os.Rename(kept, dir)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	}
	return err
}

// fetch downloads the packages to debs, with a state of apt's own, so that neither another
// architecture nor a newer list of packages is known to the host.
func fetch(t *testing.T, meta, arch, work, debs string) error {
	t.Helper()
	state, cache := filepath.Join(work, "state"), filepath.Join(work, "cache")
	for _, dir := range []string{filepath.Join(state, "lists", "partial"), filepath.Join(cache, "archives", "partial")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	status := filepath.Join(state, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return err
	}
	options := []string{"-qq",
		"-o", "APT::Architecture=" + arch, "-o", "APT::Architectures=" + arch, "-o", "APT::Sandbox::User=",
		"-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3",
		"-o", "Dir::State=" + state, "-o", "Dir::State::status=" + status, "-o", "Dir::Cache=" + cache,
	}
	apt := func(program string, args ...string) string {
		cmd := exec.CommandContext(within(t, 10*time.Minute), program, append(options[:len(options):len(options)], args...)...)
		cmd.Dir = debs
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, complaints.String())
		}
		return string(out)
	}
	apt("apt-get", "update")
	// The package for the newest kernel only names it.
	kernel := ""
	for line := range strings.Lines(apt("apt-cache", "depends", meta)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); found && strings.HasPrefix(name, "linux-image-") {
			kernel = name
		}
	}
	if kernel == "" {
		return fmt.Errorf("%s depends on no kernel", meta)
	}
	apt("apt-get", "download", kernel, "busybox-static")
	return nil
}

// within is a context for what must end long before.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
