package conformance_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// The update modules that Debian's package mender-client brings, as they are, with artifacts made
// by the scripts that come with them.

// debianClient is the unpacked package. It is downloaded once a user: installed, it would run a
// daemon, and want to own the device.
func debianClient(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "flipside")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cache, "mender-client_*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		files = []string{downloadClient(t, cache)}
	}
	dir := t.TempDir()
	// Without the client itself, which nobody runs.
	hosttest.Tool(t, "dpkg", "dpkg-deb")
	must(t, dir, "sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -x ./usr/share`, "sh", files[len(files)-1])
	return dir
}

// downloadClient downloads the package to cache: whole, or not at all.
func downloadClient(t *testing.T, cache string) string {
	t.Helper()
	dir, err := os.MkdirTemp(cache, "download")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(soon(t), hosttest.Tool(t, "apt", "apt-get"), "download", "mender-client")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the Debian package mender-client is needed, in %s or by apt-get download (after apt-get update): %v\n%s", cache, err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "mender-client_*.deb"))
	if err != nil || len(files) != 1 {
		t.Fatalf("apt-get downloaded %q, %v", files, err)
	}
	file := filepath.Join(cache, filepath.Base(files[0]))
	if err := os.Rename(files[0], file); err != nil {
		t.Fatal(err)
	}
	return file
}

// withDebian is a device with the modules of the package; it returns what makes artifacts for one
// of them, too.
func withDebian(t *testing.T) (d *device, generate func(module, name, dest, what string)) {
	t.Helper()
	d = newDevice(t)
	client := debianClient(t)
	for _, module := range []string{"directory", "single-file", "script", "deb"} {
		write(t, d.path("usr/modules/v3/"+module), string(hosttest.Read(t, filepath.Join(client, "usr/share/mender/modules/v3", module))), 0o755)
	}
	hosttest.Tool(t, "mender-artifact", "mender-artifact")
	return d, func(module, name, dest, what string) {
		t.Helper()
		script := filepath.Join(client, "usr/share/doc/mender-client/examples", module+"-artifact-gen")
		must(t, d.dir, hosttest.Tool(t, "bash", "bash"), script, "-n", name, "-t", deviceType, "-d", dest, "-o", d.path(name+".mender"), what)
	}
}

// packs makes an artifact for a module without a script of its own for that.
func (d *device) packs(module, name string, files ...string) {
	d.t.Helper()
	args := []string{"write", "module-image", "-t", deviceType, "-o", name + ".mender", "-T", module, "-n", name}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	must(d.t, d.dir, hosttest.Tool(d.t, "mender-artifact", "mender-artifact"), args...)
}

func (d *device) holds(name, want string) {
	d.t.Helper()
	if got := d.read(name); got != want {
		d.t.Errorf("%s is %q; want %q", name, got, want)
	}
}

func TestDebianSingleFile(t *testing.T) {
	t.Parallel()
	d, generate := withDebian(t)
	d.write("opt/app.conf", "old")
	write(t, d.path("new/app.conf"), "new", 0o640)
	generate("single-file", "app-2", d.path("opt"), d.path("new/app.conf"))

	d.runs("0", onTrial, "install", "app-2.mender")
	d.holds("opt/app.conf", "new")
	d.runs("0", "Rolled back.", "rollback")
	d.holds("opt/app.conf", "old")
	d.isNow("unknown")

	d.runs("0", onTrial, "install", "app-2.mender")
	d.runs("0", "Committed.", "commit")
	d.holds("opt/app.conf", "new")
	d.isNow("app-2")
	if got, want := d.flipside("show-provides").lines(), "artifact_name=app-2 | rootfs-image.single-file.version=app-2"; got != want {
		t.Errorf("show-provides: %s; want %s", got, want)
	}
	if info, err := os.Stat(d.path("opt/app.conf")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("app.conf: %v, %v; want mode 0640, as in the artifact", info.Mode(), err)
	}
}

func TestDebianDirectory(t *testing.T) {
	t.Parallel()
	d, generate := withDebian(t)
	d.write("opt/app/bin/run", "old")
	d.write("opt/app/gone", "old")
	d.write("new/bin/run", "new")
	d.write("new/more", "new")
	generate("directory", "app-2", d.path("opt/app"), d.path("new"))

	d.runs("0", onTrial, "install", "app-2.mender")
	d.holds("opt/app/more", "new")
	d.runs("0", "Rolled back.", "rollback")
	d.holds("opt/app/bin/run", "old")
	d.holds("opt/app/gone", "old")

	d.runs("0", onTrial, "install", "app-2.mender")
	d.runs("0", "Committed.", "commit")
	d.holds("opt/app/bin/run", "new")
	if exists(t, d.path("opt/app/gone")) {
		t.Error("the module replaces the whole directory; a file of the old one is left")
	}
	d.isNow("app-2")

	// The module has removed the old directory when it finds that this is no archive.
	d.write("update.tar", strings.Repeat("Mumbo jumbo. ", 100))
	d.write("dest_dir", d.path("opt/app")+"\n")
	d.packs("directory", "app-3", "update.tar", "dest_dir")
	d.runs("1", "Installing artifact... | Installation failed. | Rolled back.", "install", "app-3.mender")
	d.holds("opt/app/bin/run", "new")
	d.isNow("app-2")
}

func TestDebianScript(t *testing.T) {
	t.Parallel()
	d, _ := withDebian(t)
	d.write("first", fmt.Sprintf("#!/bin/sh\necho first >>%s\n", d.path("done")))
	d.write("second", fmt.Sprintf("#!/bin/sh\necho second >>%s\necho to the log\n", d.path("done")))
	d.packs("script", "script-1", "first", "second")
	r := d.runs("0", atOnce, "install", "script-1.mender")
	d.holds("done", "first\nsecond\n")
	d.isNow("script-1")
	if !strings.Contains(r.stderr, "script: to the log") {
		t.Errorf("what the script prints is not shown:\n%s", r.stderr)
	}

	d.write("fails", "#!/bin/sh\necho not today >&2\nexit 7\n")
	d.packs("script", "script-2", "fails")
	r = d.runs("3", "Installing artifact... | Installation failed. | "+cannotUndo, "install", "script-2.mender")
	if !strings.Contains(r.stderr, "update module script, ArtifactInstall: exit status 7") {
		t.Errorf("standard error:\n%s", r.stderr)
	}
	d.isNow("script-2_INCONSISTENT")
}

// TestDebianDeb has a root directory of its own for dpkg, which the module need not know of.
func TestDebianDeb(t *testing.T) {
	t.Parallel()
	hosttest.NeedRoot(t, "dpkg")
	d, _ := withDebian(t)
	d.env = []string{"DPKG_ROOT=" + d.path("root"), "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	for _, name := range []string{"info/format", "status", "available"} {
		d.write("root/var/lib/dpkg/"+name, map[string]string{"info/format": "1\n"}[name])
	}
	if err := os.MkdirAll(d.path("root/var/lib/dpkg/updates"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.write("deb/DEBIAN/control", "Package: flipside-test\nVersion: 2\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a file\n")
	d.write("deb/opt/app", "from the package")
	must(t, d.dir, hosttest.Tool(t, "dpkg", "dpkg-deb"), "--root-owner-group", "-b", "deb", "app.deb")
	d.packs("deb", "deb-2", "app.deb")
	d.runs("0", atOnce, "install", "deb-2.mender")
	d.holds("root/opt/app", "from the package")
	d.isNow("deb-2")

	d.write("app.deb", "no package")
	d.packs("deb", "deb-3", "app.deb")
	d.runs("3", "Installing artifact... | Installation failed. | "+cannotUndo, "install", "deb-3.mender")
	d.isNow("deb-3_INCONSISTENT")
}
