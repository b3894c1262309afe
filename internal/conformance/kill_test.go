package conformance_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"flipside/artifact"
)

// TestKill kills flipside in every call of every story, and in every call of what it does about
// that; and looks whether it gets to where the tables say.
func TestKill(t *testing.T) {
	for name, w := range map[string]world{"module with rollback": canUndoWorld(), "module without rollback": cannotUndoWorld()} {
		t.Run(name, func(t *testing.T) {
			t.Run("once", w.killOnce)
			t.Run("twice", w.killTwice)
		})
	}
}

var commands = []string{"resume", "commit", "rollback", "install A"}

// killOnce kills in every call of every story. A resume comes after it.
func (w world) killOnce(t *testing.T) {
	done := map[step]bool{}
	for _, s := range w.stories {
		all := steps(s.path)
		for i, at := range all {
			if done[at] {
				continue // it is where another story was
			}
			done[at] = true
			t.Run(fmt.Sprintf("%s/%s %s", s.name, strings.ReplaceAll(at.found, "/", " "), at.call), func(t *testing.T) {
				t.Parallel()
				d := w.device(t)
				w.reach(d, s, all, i)
				if got, want := d.status().state(), stateOf(at.found); got != want {
					t.Errorf("found is %s; want %s", got, want)
				}
				w.check(d, at.found, "resume")
			})
		}
	}
}

// killTwice begins with whatever can be found, tries every command on it, and kills that in its
// every call. A resume comes after it.
func (w world) killTwice(t *testing.T) {
	for found := range w.recoveries {
		t.Run(strings.ReplaceAll(found, "/", " "), func(t *testing.T) {
			t.Parallel()
			template := w.device(t)
			w.find(template, found)
			for _, command := range commands {
				t.Run(command, func(t *testing.T) { w.check(template.copy(t), found, command) })
				path := w.after(found, command).path
				if command != "resume" && path == w.after(found, "resume").path {
					continue // it does the same
				}
				all := steps(path)
				for i, at := range all {
					t.Run(fmt.Sprintf("%s, then %s %s", command, strings.ReplaceAll(at.found, "/", " "), at.call), func(t *testing.T) {
						d := template.copy(t)
						w.kill(d, command, nil, all, i)
						w.check(d, at.found, "resume")
					})
				}
			}
		})
	}
}

// device is one for this world: it is the old one, and the artifact A makes it the new one.
func (w world) device(t *testing.T) *device {
	d := newDevice(t)
	d.provides(artifact.Provides{"artifact_name": "previous", "rootfs-image.version": "previous"})
	d.installs("A", nil, goScripts())
	d.does(w.does)
	return d
}

// reach runs a story up to its step i, and kills flipside there.
func (w world) reach(d *device, s story, all []step, i int) {
	d.t.Helper()
	last := len(s.commands) - 1
	for _, command := range s.commands[:last] {
		if r := d.flipside(d.arguments(command)...); r.exit != "0" {
			d.t.Fatalf("%s: exit code %s\n%s", command, r.exit, r.stderr)
		}
	}
	d.calls()
	w.kill(d, s.commands[last], s.does, all, i)
}

// kill runs a command, of which these are the steps, and kills it in step i.
func (w world) kill(d *device, command string, does map[string]string, all []step, i int) {
	d.t.Helper()
	behaviour := maps.Clone(w.does)
	if behaviour == nil {
		behaviour = map[string]string{}
	}
	for state, what := range does {
		if strings.Contains(state, "_") {
			state += "_00"
		}
		behaviour[state] = what
	}
	at := all[i]
	n := 0 // the same call may have been there before
	for _, s := range all[:i+1] {
		if s.call == at.call {
			n++
		}
	}
	behaviour[at.call] = fmt.Sprintf(`[ $(grep -c "^$state$" "$DEVICE/calls") -lt %d ] || { kill -9 $PPID; %s; }
%s`, n, hangs, behaviour[at.call])
	d.does(behaviour)
	if r := d.flipside(d.arguments(command)...); r.exit != "killed" {
		d.t.Fatalf("%s was not killed in %s: exit code %s\n%s", command, at.call, r.exit, r.stderr)
	}
	if got, want := d.calls(), called(all[:i+1]); got != want {
		d.t.Errorf("%s, killed in %s: calls\n got %s\nwant %s", command, at.call, got, want)
	}
	d.remove("does")
	d.does(w.does)
}

// stateOf is the state on disk of what is found.
func stateOf(found string) string {
	state, _, _ := strings.Cut(found, "/")
	return state
}

// find makes a device in which this is found.
func (w world) find(d *device, found string) {
	d.t.Helper()
	// Where nothing is called, nothing can be killed.
	stops := map[string]string{"downloaded": "ArtifactInstall_Enter", "installed": "ArtifactCommit_Enter"}
	if stop, ok := stops[found]; ok {
		d.flipside("install", "--stop-before", stop, d.path("A.mender"))
		d.calls()
		return
	}
	for _, s := range w.stories {
		all := steps(s.path)
		if i := slices.IndexFunc(all, func(s step) bool { return s.found == found }); i >= 0 {
			w.reach(d, s, all, i)
			return
		}
	}
	d.t.Fatalf("no story leads to %s", found)
}

// check runs a command on a device in which this is found.
func (w world) check(d *device, found, command string) {
	d.t.Helper()
	if d.t.Failed() {
		return
	}
	want := w.after(found, command)
	r := d.flipside(d.arguments(command)...)
	if r.exit != want.exit {
		d.t.Errorf("found %s, %s: exit code %s; want %s\n%s", found, command, r.exit, want.exit, r.stderr)
	}
	if text := r.explained(); text != "" {
		d.t.Errorf("found %s, %s: %s\n%s", found, command, text, r.stderr)
	}
	if got, want := d.calls(), called(steps(want.path)); got != want {
		d.t.Errorf("found %s, %s: calls\n got %s\nwant %s", found, command, got, want)
	}
	state, has := stateOf(want.is), previousRelease
	switch want.is {
	case "old":
		state = nothing
	case "new":
		state, has = nothing, testRelease
	case "broken":
		state, has = nothing, brokenRelease
	}
	now := d.status()
	if now.state() != state {
		d.t.Errorf("found %s, %s: the deployment is %s; want %s", found, command, now.state(), state)
	}
	if now.has() != has {
		d.t.Errorf("found %s, %s: the device has\n%s; want\n%s", found, command, now.has(), has)
	}
	if tree := d.path("var/modules/v3/payloads/0000/tree"); exists(d.t, tree) != (state != nothing) {
		d.t.Errorf("found %s, %s: the work tree is there: %v; the deployment is %s", found, command, exists(d.t, tree), now.state())
	}
}

// copy is the device as it is, for another test.
func (d *device) copy(t *testing.T) *device {
	t.Helper()
	c := &device{t: t, dir: t.TempDir()}
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == d.dir {
			return err
		}
		name, err := filepath.Rel(d.dir, path)
		if err != nil {
			return err
		}
		return copyEntry(path, c.path(name), e)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func copyEntry(from, to string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return os.Mkdir(to, mode.Perm())
	case mode.Type() == fs.ModeNamedPipe:
		return syscall.Mkfifo(to, uint32(mode.Perm()))
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode.Perm())
}
