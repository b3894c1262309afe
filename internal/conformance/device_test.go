package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// device is a directory that flipside takes for a device:
//
//	etc/      mender.conf, scripts/ of the device, artifact_info
//	usr/      modules/v3/: the modules, all of them testdata/recorder
//	var/      device_type, and what flipside keeps
//	does/     what the modules and scripts do, see testdata/recorder
//	calls     what was called
//	A.mender  the artifact that is installed
type device struct {
	t   *testing.T
	dir string

	env    []string // more of it, for flipside and what it calls
	global []string // options before every command
	url    string   // of the artifact
	broken bool     // not even status works any more
}

// deviceType is that of all devices.
const deviceType = "test"

// newDevice makes a device that was never updated. The payload type rootfs-image is a module's on
// it, as in Mender's own tests.
func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, dir: t.TempDir()}
	for _, dir := range []string{"etc/scripts", "usr/modules/v3", "var", "does"} {
		if err := os.MkdirAll(d.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.config(nil)
	d.write("var/device_type", "device_type="+deviceType+"\n")
	d.module("rootfs-image")
	return d
}

func (d *device) path(name string) string { return filepath.Join(d.dir, name) }

func (d *device) write(name, content string) {
	d.t.Helper()
	write(d.t, d.path(name), content, 0o644)
}

func (d *device) read(name string) string {
	d.t.Helper()
	return string(hosttest.Read(d.t, d.path(name)))
}

func (d *device) remove(name string) {
	d.t.Helper()
	if err := os.RemoveAll(d.path(name)); err != nil {
		d.t.Fatal(err)
	}
}

// config writes mender.conf, with these keys besides what all devices have.
func (d *device) config(keys map[string]any) {
	d.t.Helper()
	all := map[string]any{"RootfsHandler": "module"}
	maps.Copy(all, keys)
	text, err := json.Marshal(all)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("etc/mender.conf", string(text))
}

// module makes the recorder the update module of a payload type.
func (d *device) module(name string) {
	d.t.Helper()
	write(d.t, d.path("usr/modules/v3/"+name), recorder(d.t), 0o755)
}

func recorder(t *testing.T) string {
	t.Helper()
	return string(hosttest.Read(t, "testdata/recorder"))
}

// does makes modules and scripts do something in a state: shell; "" makes them do nothing.
func (d *device) does(what map[string]string) {
	d.t.Helper()
	for state, text := range what {
		d.write("does/"+state, text+"\n")
	}
}

// provides makes the device one that was shipped with these provides, as a bootstrap artifact says.
func (d *device) provides(p artifact.Provides) {
	d.t.Helper()
	spec := artifact.Spec{Name: p["artifact_name"], Group: p["artifact_group"], Depends: forTest(), Provides: artifact.Provides{}}
	for key, value := range p {
		if key != "artifact_name" && key != "artifact_group" {
			spec.Provides[key] = value
		}
	}
	d.artifact("var/bootstrap.mender", spec)
}

func forTest() artifact.Depends { return artifact.Depends{"device_type": {deviceType}} }

// artifact writes an artifact.
func (d *device) artifact(name string, spec artifact.Spec) {
	d.t.Helper()
	var b bytes.Buffer
	if err := artifact.Write(&b, spec); err != nil {
		d.t.Fatal(err)
	}
	d.write(name, b.String())
}

// ran is how a run of flipside ended.
type ran struct {
	exit           string // its code, or "killed"
	stdout, stderr string
}

// lines are those of the standard output, as the tables have them.
func (r ran) lines() string {
	return cell(strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n"), " | ")
}

// flipside runs it on the device.
func (d *device) flipside(args ...string) ran {
	d.t.Helper()
	cmd := d.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatalf("flipside %q: %v", args, err)
	}
	r := ran{exit: strconv.Itoa(cmd.ProcessState.ExitCode()), stdout: stdout.String(), stderr: stderr.String()}
	if cmd.ProcessState.ExitCode() < 0 {
		r.exit = "killed"
	}
	return r
}

func (d *device) command(args ...string) *exec.Cmd {
	d.t.Helper()
	cmd := exec.CommandContext(soon(d.t), os.Getenv("FLIPSIDE"), append(slices.Clone(d.global), args...)...)
	cmd.Dir = d.dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "DEVICE=" + d.dir, "TZ=UTC",
		"MENDER_CONF_DIR=" + d.path("etc"), "MENDER_DATA_DIR=" + d.path("usr"), "MENDER_DATASTORE_DIR=" + d.path("var"),
	}, d.env...)
	return cmd
}

// calls returns what was called since the last time, as the tables have it.
func (d *device) calls() string {
	d.t.Helper()
	data, err := os.ReadFile(d.path("calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.t.Fatal(err)
	}
	d.remove("calls")
	return cell(strings.Fields(string(data)), " ")
}

// cell is a cell of the tables.
func cell(words []string, separator string) string {
	if s := strings.Join(words, separator); s != "" {
		return s
	}
	return nothing
}

// nothing is the cell of no calls, of no lines.
const nothing = "-"

// status is what flipside says of the device.
type status struct {
	Provides   map[string]string
	Deployment *struct {
		State, Outcome string
	}
	Working *struct {
		PID     int
		Waiting *struct{ Script, Since, Until string }
	}
	Warnings, Next []string
}

func (d *device) status() status {
	d.t.Helper()
	r := d.flipside("status", "--json")
	var s status
	if err := json.Unmarshal([]byte(r.stdout), &s); r.exit != "0" || err != nil {
		d.t.Fatalf("flipside status --json: exit %s, %v\n%s%s", r.exit, err, r.stdout, r.stderr)
	}
	return s
}

// state is that of the deployment in progress, or nothing.
func (s status) state() string {
	if s.Deployment == nil {
		return nothing
	}
	return s.Deployment.State
}

// has are the provides, as the tables have them.
func (s status) has() string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(s.Provides)) {
		words = append(words, fmt.Sprintf("%s=%s", key, s.Provides[key]))
	}
	return cell(words, ", ")
}
