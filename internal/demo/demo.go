// Package demo tells the life of a root filesystem update on a sandbox device, with the commands
// that a technician would type.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"flipside/internal/sandbox"
)

// Artifacts are what the demo installs: signed, and for the device type "sandbox".
type Artifacts struct {
	Release2, Release3 []byte
	Key                []byte // PEM: the public key that verifies them
}

// slotSize has room for the images in the artifacts, which are 48 MiB.
const slotSize = 64 << 20

// step is one command of the story, and the exit code that it must end with.
type step struct {
	before string // what the narrator says
	args   string // the command
	want   int
}

var story = []step{
	{"This device runs release-1 from slot A. Install release-2 into the other slot.", "--sandbox device install release-2.mender", 0},
	{"Nothing runs it yet. Committing now is refused, and changes nothing.", "--sandbox device commit", 1},
	{"Reboot. The bootloader starts slot B on trial.", "sandbox boot device", 0},
	{"It is up and healthy: keep it.", "--sandbox device commit", 0},
	{"Now release-3, straight from a pipe or a web server if you like.", "--sandbox device install release-3.mender", 0},
	{"Reboot. This time the new system does not come up, and the bootloader falls back.", "sandbox boot --fail device", 0},
	{"A script that goes on to commit is told so by exit code 9.", "--sandbox device commit", 9},
	{"Install it again; what is left of the failed update is cleaned up first.", "--sandbox device install release-3.mender", 0},
	{"", "sandbox boot device", 0},
	{"It runs, but somebody does not like it.", "--sandbox device rollback", 0},
	{"", "sandbox boot device", 0},
	{"And the device is back on release-2.", "--sandbox device status", 0},
}

// Run tells the story on w, with the program flipside. It leaves nothing behind.
func Run(ctx context.Context, w io.Writer, a Artifacts, flipside func(args []string) (exitCode int)) (err error) {
	tmp, err := makeTemp()
	if err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := prepare(ctx, tmp, a); err != nil {
		return err
	}
	for _, s := range story {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := tell(w, s, flipside); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w, "\n# That is all. `flipside sandbox create DIR` makes such a device for you to try your own artifacts on.")
	return err
}

// makeTemp makes a directory whose name has no blanks, even where that of TMPDIR has: a sandbox
// cannot be below such a one.
func makeTemp() (string, error) {
	parent := os.TempDir()
	if strings.ContainsFunc(parent, unicode.IsSpace) {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "flipside-demo-")
}

// prepare fills dir with a device and two artifacts, and goes there, so that the commands are as
// short as a person would type them.
func prepare(ctx context.Context, dir string, a Artifacts) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"release-2.mender": a.Release2, "release-3.mender": a.Release3} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	_, err := sandbox.Create(ctx, "device", sandbox.Spec{SlotSize: slotSize, VerifyKey: a.Key})
	return err
}

func tell(w io.Writer, s step, flipside func([]string) int) error {
	if s.before != "" {
		s.before = "\n# " + s.before
	}
	if _, err := fmt.Fprintf(w, "%s\n$ flipside %s\n", s.before, s.args); err != nil {
		return err
	}
	got := flipside(strings.Fields(s.args))
	if got != s.want {
		return fmt.Errorf("the demo expected exit code %d from `flipside %s`, and got %d", s.want, s.args, got)
	}
	if got != 0 {
		_, err := fmt.Fprintf(w, "(exit code %d)\n", got)
		return err
	}
	return nil
}
