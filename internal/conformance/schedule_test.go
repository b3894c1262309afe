package conformance_test

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Scheduled updates: a Download_Leave script of the device asks to be run again until the time for
// the update has come.

// scheduled is a device whose script waits for the file "window". Nobody waits for the interval.
func scheduled(t *testing.T) *device {
	t.Helper()
	d := newDevice(t)
	d.config(map[string]any{"StateScriptRetryIntervalSeconds": 3000, "StateScriptRetryTimeoutSeconds": 3600})
	d.installs("A", nil, []string{"Download_Leave_00_window"})
	d.does(map[string]string{"Download_Leave_00_window": `[ -e "$DEVICE/window" ] || exit 21`})
	return d
}

// waiting is an install that goes on while the test looks at it.
type waiting struct {
	d      *device
	cmd    *exec.Cmd
	stdout *strings.Builder
	told   *bufio.Scanner // its standard error
}

// begin starts an install, and returns when it waits for its script.
func begin(d *device) *waiting {
	d.t.Helper()
	w := &waiting{d: d, cmd: d.command("install", d.path("A.mender")), stdout: &strings.Builder{}}
	w.cmd.Stdout = w.stdout
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	w.told = bufio.NewScanner(stderr)
	if err := w.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	for w.told.Scan() {
		if strings.Contains(w.told.Text(), "`flipside resume` in another shell runs it at once") {
			return w
		}
	}
	d.t.Fatalf("the install ended without waiting: %v", w.cmd.Wait())
	return nil
}

// end waits for its end.
func (w *waiting) end() ran {
	w.d.t.Helper()
	var stderr strings.Builder
	for w.told.Scan() {
		stderr.WriteString(w.told.Text() + "\n")
	}
	err := w.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.d.t.Fatal(err)
	}
	return ran{exit: strconv.Itoa(w.cmd.ProcessState.ExitCode()), stdout: w.stdout.String(), stderr: stderr.String()}
}

func TestScheduled(t *testing.T) {
	t.Parallel()
	d := scheduled(t)
	w := begin(d)

	s := d.status()
	if s.state() != "fetched" || s.Working == nil || s.Working.Waiting == nil || s.Working.PID != w.cmd.Process.Pid {
		t.Fatalf("status --json: %+v; want fetched, and process %d that waits", s, w.cmd.Process.Pid)
	}
	since, until := s.Working.Waiting.Since, s.Working.Waiting.Until
	if s.Working.Waiting.Script != "Download_Leave_00_window" || at(t, until).Sub(at(t, since)) != time.Hour {
		t.Errorf("status --json: waiting %+v; want the script, for an hour", s.Working.Waiting)
	}
	text := d.flipside("status").stdout
	want := fmt.Sprintf("for Download_Leave_00_window, since %s, at the latest until %s", local(t, since), local(t, until))
	if !strings.Contains(text, want) || !strings.Contains(text, "flipside resume   # run the waiting script now") {
		t.Errorf("status:\n%s\nwant in it: %s; and how to go on", text, want)
	}
	for _, command := range []string{"commit", "rollback", "install"} {
		args := []string{command}
		if command == "install" {
			args = append(args, d.path("A.mender"))
		}
		if r := d.flipside(args...); r.exit != "5" || !strings.Contains(r.stderr, fmt.Sprintf("process %d", w.cmd.Process.Pid)) {
			t.Errorf("%s while the script waits: exit code %s; want 5, and the process:\n%s", command, r.exit, r.stderr)
		}
	}

	d.write("window", "")
	r := d.runs("0", nothing, "resume")
	if !strings.Contains(r.stderr, fmt.Sprintf("Download_Leave_00_window is run again now, by process %d", w.cmd.Process.Pid)) {
		t.Errorf("resume: standard error:\n%s", r.stderr)
	}
	if r := w.end(); r.exit != "0" || r.lines() != atOnce {
		t.Errorf("install: exit code %s, printed %s; want 0, %s\n%s", r.exit, r.lines(), atOnce, r.stderr)
	}
	if got, want := d.calls(), "ProvidePayloadFileSizes Download SupportsRollback Download_Leave_00_window Download_Leave_00_window "+
		"ArtifactInstall NeedsArtifactReboot ArtifactCommit Cleanup"; got != want {
		t.Errorf("calls\n got %s\nwant %s", got, want)
	}
	d.isNow("test")
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// local is a time as a person on the device reads it, who lives in Greenwich.
func local(t *testing.T, text string) string { return at(t, text).UTC().Format(time.DateTime) }

// TestScheduledAndPowerLoss: the download is not lost with the power.
func TestScheduledAndPowerLoss(t *testing.T) {
	t.Parallel()
	d := scheduled(t)
	w := begin(d)
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.end()
	if s := d.status(); s.state() != "fetched" || s.Working != nil {
		t.Errorf("after the power loss: %+v; want fetched, and nobody at work", s)
	}
	d.calls()
	d.write("window", "")
	d.runs("0", "Update Module doesn't support rollback. Committing immediately. | Installed and committed.", "resume")
	if got, want := d.calls(), "Download_Leave_00_window ArtifactInstall NeedsArtifactReboot ArtifactCommit Cleanup"; got != want {
		t.Errorf("calls\n got %s\nwant %s", got, want)
	}
	d.isNow("test")
}

// TestScheduledForTooLong: the time for the update did not come. The next install may be luckier.
func TestScheduledForTooLong(t *testing.T) {
	t.Parallel()
	d := scheduled(t)
	impatient(d)
	r := d.runs("1", "Installing artifact... | Streaming failed. | System not modified.", "install", d.path("A.mender"))
	if !strings.Contains(r.stderr, "state script Download_Leave_00_window: still asked to be run later after 1s") {
		t.Errorf("standard error:\n%s", r.stderr)
	}
	d.isNow("unknown")
	d.write("window", "")
	d.runs("0", atOnce, "install", d.path("A.mender"))
	d.isNow("test")
}
