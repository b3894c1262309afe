package script_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"flipside/internal/hosttest"
	"flipside/internal/proc"
	"flipside/internal/progress"
	"flipside/internal/script"
)

// short is a time that a test waits for on purpose; long is one that must never be over.
const (
	short = 20 * time.Millisecond
	long  = time.Hour
)

// device is a Runner with directories, a log that its scripts write their names to, and all that
// it told.
type device struct {
	script.Runner
	log string

	mu     sync.Mutex
	events []progress.Event
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{log: filepath.Join(t.TempDir(), "log")}
	d.Runner = script.Runner{
		RootfsDir: t.TempDir(), ArtifactDir: t.TempDir(),
		Timeout: long, RetryInterval: time.Millisecond, RetryTimeout: long, Sink: d,
	}
	return d
}

func (d *device) Emit(e progress.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// texts are the texts of all events of a kind.
func (d *device) texts(k progress.Kind) []string {
	var list []string
	for _, e := range d.events {
		if e.Kind == k {
			list = append(list, e.Text)
		}
	}
	return list
}

// add makes a script that logs its name and does what text says; LOG in it is the log's path.
func (d *device) add(t *testing.T, dir, name, text string) {
	t.Helper()
	text = "#!/bin/sh\necho " + name + " >>LOG\n" + text + "\n"
	write(t, filepath.Join(dir, name), strings.ReplaceAll(text, "LOG", d.log), 0o700)
}

func write(t *testing.T, path, content string, perm os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), perm); err != nil {
		t.Fatal(err)
	}
}

// ran returns which scripts ran, and forgets them.
func (d *device) ran(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(d.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(d.log); err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func (d *device) mustRun(t *testing.T, s script.State, a script.Action, want ...string) {
	t.Helper()
	if err := d.Run(t.Context(), s, a); err != nil {
		t.Errorf("Run(%s, %s) = %v; want nil", s, a, err)
	}
	if got := d.ran(t); !slices.Equal(got, want) {
		t.Errorf("Run(%s, %s) ran %v; want %v", s, a, got, want)
	}
}

func TestWhichScriptsRunInWhichOrder(t *testing.T) {
	d := newDevice(t)
	for _, name := range []string{
		"ArtifactInstall_Enter_10_b", "ArtifactInstall_Enter_02", "ArtifactInstall_Enter_10_a", "ArtifactInstall_Enter_00_z",
		"ArtifactInstall_Leave_00", "ArtifactInstall_Error_00", "ArtifactCommit_Enter_00", "Download_Enter_77",
		"xArtifactInstall_Enter_06", "ArtifactInstall_Enter_6", "ArtifactInstall_Enter_06_", "README",
	} {
		d.add(t, d.ArtifactDir, name, "")
	}
	for _, name := range []string{"Download_Enter_01", "Download_Enter_00_first", "Download_Leave_00", "ArtifactInstall_Enter_66"} {
		d.add(t, d.RootfsDir, name, "")
	}
	d.mustRun(t, script.ArtifactInstall, script.Enter, "ArtifactInstall_Enter_00_z", "ArtifactInstall_Enter_02",
		"ArtifactInstall_Enter_10_a", "ArtifactInstall_Enter_10_b")
	d.mustRun(t, script.ArtifactInstall, script.Leave, "ArtifactInstall_Leave_00")
	d.mustRun(t, script.ArtifactInstall, script.Error, "ArtifactInstall_Error_00")
	d.mustRun(t, script.ArtifactRollback, script.Enter)
	d.mustRun(t, script.Download, script.Enter, "Download_Enter_00_first", "Download_Enter_01")
	d.mustRun(t, script.Download, script.Error)
}

func TestNoDirectories(t *testing.T) {
	d := newDevice(t)
	d.RootfsDir = filepath.Join(d.RootfsDir, "missing")
	d.ArtifactDir = filepath.Join(d.ArtifactDir, "missing")
	d.mustRun(t, script.Download, script.Enter)
	d.mustRun(t, script.ArtifactInstall, script.Enter)
	d.ArtifactDir = d.log
	write(t, d.log, "a file", 0o600)
	if err := d.Run(t.Context(), script.ArtifactInstall, script.Enter); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("Run in a file = %v; want %v", err, syscall.ENOTDIR)
	}
}

// The table of what a failure stops.
func TestFailures(t *testing.T) {
	states := []script.State{script.Download, script.ArtifactInstall, script.ArtifactCommit, script.ArtifactRollback, script.ArtifactFailure}
	stops := map[string]bool{
		"Download_Enter": true, "ArtifactInstall_Enter": true, "ArtifactCommit_Enter": true,
		"Download_Leave": true, "ArtifactInstall_Leave": true,
	}
	for _, s := range states {
		for _, a := range []script.Action{script.Enter, script.Leave, script.Error} {
			prefix := string(s) + "_" + string(a)
			t.Run(prefix, func(t *testing.T) {
				d := newDevice(t)
				dir := d.ArtifactDir
				if s == script.Download {
					dir = d.RootfsDir
				}
				d.add(t, dir, prefix+"_00", "")
				d.add(t, dir, prefix+"_01", "exit 1")
				d.add(t, dir, prefix+"_02", "kill -9 $$")
				d.add(t, dir, prefix+"_03", "")
				err := d.Run(t.Context(), s, a)
				ran := []string{prefix + "_00", prefix + "_01"}
				wantErrs := []string{"state script " + prefix + "_01: exit status 1"}
				if !stops[prefix] {
					ran = append(ran, prefix+"_02", prefix+"_03")
					wantErrs = append(wantErrs, "state script "+prefix+"_02: killed by signal 9 (killed)")
				}
				if err == nil || err.Error() != strings.Join(wantErrs, "\n") {
					t.Errorf("Run = %v; want %v", err, wantErrs)
				}
				var failed *script.RunError
				if !errors.As(err, &failed) || failed.Script != prefix+"_01" {
					t.Errorf("Run = %#v; want a RunError of %s_01", err, prefix)
				}
				if got := d.ran(t); !slices.Equal(got, ran) {
					t.Errorf("ran %v; want %v", got, ran)
				}
				d.mustRun(t, s, other(a)) // nothing is remembered
			})
		}
	}
}

func other(a script.Action) script.Action {
	if a == script.Enter {
		return script.Leave
	}
	return script.Enter
}

func TestVersion(t *testing.T) {
	for content, ok := range map[string]bool{
		"2": true, "3": true, "3\n": true, "  2 and more\n": true,
		"": false, "\n": false, "1": false, "4": false, "foobar": false, "33": false, "3.1": false,
		strings.Repeat(" ", 1000) + "3": false,
	} {
		d := newDevice(t)
		write(t, filepath.Join(d.ArtifactDir, "version"), content, 0o600)
		d.mustRun(t, script.ArtifactInstall, script.Enter) // no script, no matter
		d.add(t, d.ArtifactDir, "ArtifactInstall_Enter_00", "")
		err := d.Run(t.Context(), script.ArtifactInstall, script.Enter)
		if (err == nil) != ok {
			t.Errorf("Run with version %q = %v; want success: %v", content, err, ok)
		}
		if ran := d.ran(t); (len(ran) == 1) != ok {
			t.Errorf("Run with version %q ran %v; want one script: %v", content, ran, ok)
		}
	}
}

func TestSkippedFiles(t *testing.T) {
	d := newDevice(t)
	dir := d.ArtifactDir
	write(t, filepath.Join(dir, "ArtifactInstall_Enter_00"), "#!/bin/sh\n", 0o600)
	if err := os.Mkdir(filepath.Join(dir, "ArtifactInstall_Enter_01"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.add(t, d.RootfsDir, "elsewhere", "")
	for name, to := range map[string]string{
		"ArtifactInstall_Enter_02": filepath.Join(d.RootfsDir, "elsewhere"),
		"ArtifactInstall_Enter_03": filepath.Join(d.RootfsDir, "nowhere"),
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	d.mustRun(t, script.ArtifactInstall, script.Enter, "elsewhere")
	got := strings.Join(d.texts(progress.Warning), "\n")
	for _, want := range []string{
		"state script " + dir + "/ArtifactInstall_Enter_00 is skipped: not executable",
		"state script " + dir + "/ArtifactInstall_Enter_01 is skipped: not a regular file",
		"ArtifactInstall_Enter_03 is skipped: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("warnings = %q; want %q among them", got, want)
		}
	}
}

func TestWhatAScriptSees(t *testing.T) {
	d := newDevice(t)
	here := t.TempDir()
	t.Chdir(here)
	t.Setenv("FROM_OUTSIDE", "yes")
	d.add(t, d.ArtifactDir, "ArtifactInstall_Enter_00", `echo "$# $FROM_OUTSIDE"; pwd; cat`)
	d.mustRun(t, script.ArtifactInstall, script.Enter, "ArtifactInstall_Enter_00")
	if got, want := d.texts(progress.Output), []string{"0 yes", here}; !slices.Equal(got, want) {
		t.Errorf("output = %q; want %q", got, want)
	}
}

func TestOutput(t *testing.T) {
	d := newDevice(t)
	d.add(t, d.ArtifactDir, "ArtifactInstall_Enter_00", `echo one; echo two >&2; printf three >&2; exit 3`)
	err := d.Run(t.Context(), script.ArtifactInstall, script.Enter)
	var failed *script.RunError
	if !errors.As(err, &failed) {
		t.Fatalf("Run = %v; want a RunError", err)
	}
	if got, want := failed.Stderr, "two\nthree"; got != want {
		t.Errorf("Stderr = %q; want %q", got, want)
	}
	got := d.texts(progress.Output)
	slices.Sort(got) // two streams have no order
	if want := []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("output = %q; want %q", got, want)
	}
	for _, e := range d.events {
		if e.Kind == progress.Output && e.From != "ArtifactInstall_Enter_00" || e.Phase != progress.Scripts {
			t.Errorf("event %+v is not from the script", e)
		}
	}
}

// TestPhase: whoever watches hears when scripts begin, and that all have run; nothing if there is
// none.
func TestPhase(t *testing.T) {
	for name, c := range map[string]struct {
		action script.Action
		first  string // what the first of two scripts does; "": there are no scripts
		begin  []string
		ends   int
	}{
		"none":           {script.Enter, "", nil, 0},
		"good":           {script.Leave, "true", []string{"ArtifactInstall_Leave"}, 1},
		"fails":          {script.Enter, "false", []string{"ArtifactInstall_Enter"}, 0},
		"fails, goes on": {script.Error, "false", []string{"ArtifactInstall_Error"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			if c.first != "" {
				d.add(t, d.ArtifactDir, "ArtifactInstall_"+string(c.action)+"_00", c.first)
				d.add(t, d.ArtifactDir, "ArtifactInstall_"+string(c.action)+"_01", "")
			}
			if err := d.Run(t.Context(), script.ArtifactInstall, c.action); (err != nil) != (c.first == "false") {
				t.Errorf("Run = %v", err)
			}
			if begin, ends := d.texts(progress.Begin), d.texts(progress.End); !slices.Equal(begin, c.begin) || len(ends) != c.ends {
				t.Errorf("begun %q, ended %d times; want %q, %d", begin, len(ends), c.begin, c.ends)
			}
		})
	}
}

func TestOutputComesWhileItRuns(t *testing.T) {
	d := newDevice(t)
	fifo := hosttest.FIFO(t)
	d.add(t, d.ArtifactDir, "ArtifactInstall_Enter_00", "echo ready; read x <"+fifo)
	d.Sink = sinkFunc(func(e progress.Event) {
		if e.Text == "ready" {
			write(t, fifo, "go\n", 0) // returns when the script reads
		}
	})
	d.mustRun(t, script.ArtifactInstall, script.Enter, "ArtifactInstall_Enter_00")
}

type sinkFunc func(progress.Event)

func (f sinkFunc) Emit(e progress.Event) { f(e) }

func TestTimeoutEndsTheScript(t *testing.T) {
	d := newDevice(t)
	d.Timeout = 10 * short // enough to reach the FIFO; where it is not, it ends just the same
	fifo := hosttest.FIFO(t)
	d.add(t, d.ArtifactDir, "ArtifactInstall_Error_00", "read x <"+fifo)
	err := d.Run(t.Context(), script.ArtifactInstall, script.Error)
	var failed *script.RunError
	if !errors.As(err, &failed) || !errors.Is(err, proc.ErrTimeout) {
		t.Errorf("Run = %v; want %v in a RunError", err, proc.ErrTimeout)
	}
	if _, err := os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("opening the FIFO: %v; want %v, because nobody reads it any more", err, syscall.ENXIO)
	}
}

func TestCancelStopsEverything(t *testing.T) {
	d := newDevice(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.Sink = sinkFunc(func(e progress.Event) {
		if e.Text == "ready" {
			cancel()
		}
	})
	d.add(t, d.ArtifactDir, "ArtifactInstall_Error_00", "echo ready; read x <"+hosttest.FIFO(t))
	d.add(t, d.ArtifactDir, "ArtifactInstall_Error_01", "")
	if err := d.Run(ctx, script.ArtifactInstall, script.Error); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v; want %v", err, context.Canceled)
	}
	if got, want := d.ran(t), []string{"ArtifactInstall_Error_00"}; !slices.Equal(got, want) {
		t.Errorf("ran %v; want %v", got, want)
	}
}
