package conformance_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// The tutorial of Mender's documentation for people who write their first update module, done with
// flipside: modules as it describes them, artifacts from the real mender-artifact.

// website is a device with the module of the tutorial, and a directory for the web server.
func website(t *testing.T, module string) *device {
	t.Helper()
	d := newDevice(t)
	hosttest.Tool(t, "bash", "bash")
	write(t, d.path("usr/modules/v3/web-file"), string(hosttest.Read(t, "testdata/modules/"+module)), 0o755)
	d.env = []string{"WWW=" + d.path("www")}
	if err := os.Mkdir(d.path("www"), 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

// release writes an artifact with these files, by name, as the tutorial says.
func (d *device) release(name string, files map[string]string) {
	d.t.Helper()
	args := []string{"write", "module-image", "-t", deviceType, "-o", name + ".mender", "-T", "web-file", "-n", name}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		d.write(file, files[file])
		args = append(args, "-f", file)
	}
	must(d.t, d.dir, hosttest.Tool(d.t, "mender-artifact", "mender-artifact"), args...)
}

// serves checks the files that the web server has.
func (d *device) serves(want map[string]string) {
	d.t.Helper()
	have := map[string]string{}
	entries, err := os.ReadDir(d.path("www"))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			have[e.Name()] = d.read(filepath.Join("www", e.Name()))
		}
	}
	if !maps.Equal(have, want) {
		d.t.Errorf("the web server has %q; want %q", have, want)
	}
}

// runs runs flipside, which has to end so and to print these lines.
func (d *device) runs(exit, lines string, args ...string) ran {
	d.t.Helper()
	r := d.flipside(args...)
	if r.exit != exit || r.lines() != lines {
		d.t.Errorf("flipside %s: exit code %s, printed\n%s\nwant %s,\n%s\n%s", strings.Join(args, " "), r.exit, r.lines(), exit, lines, r.stderr)
	}
	if text := r.explained(); text != "" {
		d.t.Errorf("flipside %s: %s:\n%s", strings.Join(args, " "), text, r.stderr)
	}
	return r
}

// has checks the name of what is on the device, and that no update is in progress.
func (d *device) isNow(name string) {
	d.t.Helper()
	if s := d.status(); s.Provides["artifact_name"] != name || s.Deployment != nil {
		d.t.Errorf("the device has %s, the deployment is %s; want %s, and none", s.Provides["artifact_name"], s.state(), name)
	}
}

const (
	atOnce  = "Installing artifact... | Update Module doesn't support rollback. Committing immediately. | Installed and committed."
	onTrial = "Installing artifact... | " + uncommitted
)

func TestTutorial(t *testing.T) {
	t.Parallel()
	d := website(t, "web-file")
	one := map[string]string{"hello-world": "Installed by Mender!\n"}
	d.release("web-file-1.0", one)
	d.runs("0", atOnce, "install", "web-file-1.0.mender")
	d.serves(one)
	d.isNow("web-file-1.0")
	if got, want := d.flipside("show-provides").lines(), "artifact_name=web-file-1.0 | rootfs-image.web-file.version=web-file-1.0"; got != want {
		t.Errorf("show-provides: %s; want %s", got, want)
	}

	three := map[string]string{"my-file-1": "1\n", "my-file-2": "2\n", "my-file-3": "3\n"}
	d.release("web-file-1.1", three)
	d.runs("0", atOnce, "install", "web-file-1.1.mender")
	maps.Copy(three, one)
	d.serves(three)
	d.isNow("web-file-1.1")
}

// TestTutorialFails: this module cannot undo, and a directory is where the file should go.
func TestTutorialFails(t *testing.T) {
	t.Parallel()
	d := website(t, "web-file")
	d.release("web-file-1.0", map[string]string{"hello-world": "Installed by Mender!\n"})
	if err := os.MkdirAll(d.path("www/hello-world/hello-world"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.runs("3", "Installing artifact... | Installation failed. | "+cannotUndo, "install", "web-file-1.0.mender")
	d.isNow("web-file-1.0_INCONSISTENT")

	d.remove("www/hello-world")
	d.runs("0", atOnce, "install", "web-file-1.0.mender")
	d.isNow("web-file-1.0")
}

func TestTutorialWithRollback(t *testing.T) {
	t.Parallel()
	d := website(t, "web-file-rollback")
	first := map[string]string{"index.html": "<p>one\n", "style.css": "p { }\n"}
	for name, content := range first {
		d.write("www/"+name, content)
	}
	d.write("www/images/logo", "stays") // the module is about files only
	second := map[string]string{"index.html": "<p>two\n", "news.html": "<p>new\n"}
	d.release("web-file-2.0", second)

	d.runs("0", onTrial, "install", "web-file-2.0.mender")
	d.serves(second)
	d.runs("0", "Rolled back.", "rollback")
	d.serves(first)
	d.isNow("unknown")

	d.runs("0", onTrial, "install", "web-file-2.0.mender")
	d.runs("0", "Committed.", "commit")
	d.serves(second)
	d.isNow("web-file-2.0")

	// "You can experiment with the rollback mechanism by forcing the update to fail": a directory
	// with the name of one of the files.
	d.write("www/shop.html/x", "in the way")
	d.release("web-file-3.0", map[string]string{"index.html": "<p>three\n", "shop.html": "<p>buy\n"})
	r := d.runs("1", "Installing artifact... | Installation failed. | Rolled back.", "install", "web-file-3.0.mender")
	for _, text := range []string{"update module web-file, ArtifactInstall: exit status 1", "cannot", "the update was rolled back; the device runs web-file-2.0"} {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("standard error:\n%s\nwant in it: %s", r.stderr, text)
		}
	}
	d.serves(second)
	d.isNow("web-file-2.0")
	if got := d.read("www/images/logo") + d.read("www/shop.html/x"); got != "staysin the way" {
		t.Errorf("directories of the web server have changed: %q", got)
	}
}
