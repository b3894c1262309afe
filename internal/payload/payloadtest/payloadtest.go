// Package payloadtest checks a payload.Handler against its contract: what the interface's comments
// promise, every handler must do, whatever kind of payload it applies. It has no handler of its
// own; each one's tests run it on a device that they make up.
//
//	payloadtest.Run(t, func(t *testing.T) payloadtest.Subject { … })
package payloadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"flipside/artifact"
	"flipside/internal/payload"
)

// MinArtifact is how large a Subject's artifact must be, in bytes: larger than what is read ahead,
// so that a Download is not over when it is interrupted.
const MinArtifact = 6 << 20

// Subject is a device, made for one test, and a payload for it. The fields that may be nil say so.
type Subject struct {
	// Artifact is good, fits the device, has the handler's payload, and does not compress to less
	// than MinArtifact.
	Artifact []byte
	// Open makes the handler as a new process does: from what is on the device, and from the
	// memory of the handler before it; nil for a new deployment.
	Open func(memory json.RawMessage) payload.Handler
	// Effect says, as one string, what the payload is about: what the device has, or what it
	// is going to boot. It is different after an Install than before.
	Effect func() string
	// Reboots is what NeedsReboot answers.
	Reboots payload.Reboot
	// Reboot reboots the device. nil if Reboots is NoReboot.
	Reboot func()
	// FallBack reboots the device in such a way that it comes up with the old system. nil if that
	// cannot happen.
	FallBack func()
	// NoRollback: SupportsRollback answers no.
	NoRollback bool
	// TellsCommitted: Committed answers yes after a Commit. Some handlers cannot know.
	TellsCommitted bool
	// Leftovers lists what there is of the deployment besides Effect. nil if there never is any.
	Leftovers func() []string
}

// Run runs the suite, each test on a subject of its own: with one process for everything, and with
// a new one before each call.
func Run(t *testing.T, fresh func(t *testing.T) Subject) {
	for name, processes := range map[string]bool{"one process": false, "a process for each call": true} {
		t.Run(name, func(t *testing.T) {
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					d := &deployment{T: t, Subject: fresh(t), processes: processes}
					if len(d.Artifact) < MinArtifact {
						t.Fatalf("the subject's artifact has %d bytes; it needs %d", len(d.Artifact), MinArtifact)
					}
					d.begin()
					test.run(d)
				})
			}
		})
	}
}

var tests = []struct {
	name string
	run  func(d *deployment)
}{
	{"success", success},
	{"commit is repeatable", commitTwice},
	{"rollback before the reboot", rollbackAtOnce},
	{"rollback after the reboot", rollbackLater},
	{"rollback after the commit", rollbackAfterCommit},
	{"rollback without an install", rollbackEarly},
	{"fall back", fallBack},
	{"not rebooted", notRebooted},
	{"failure and cleanup of nothing", nothing},
	{"cleanup after prepare", cleanupEarly},
	{"the source fails", sourceFails},
	{"cancelled while downloading", cancelledInDownload},
	{"cancelled before", cancelledBefore},
}

// deployment is one on its way. Its calls are the handler's.
type deployment struct {
	*testing.T
	Subject

	processes bool // a new one for each call
	before    string
	h         payload.Handler
}

// begin starts a new deployment in a new process.
func (d *deployment) begin() {
	d.h = d.Open(nil)
	d.before = d.Effect()
}

// handler is the one to call next.
func (d *deployment) handler() payload.Handler {
	d.Helper()
	if d.processes {
		d.restart()
	}
	return d.h
}

// restart ends the process and begins another.
func (d *deployment) restart() {
	d.Helper()
	memory := d.h.Memory()
	if memory != nil && !json.Valid(memory) {
		d.Fatalf("Memory is not JSON: %q", memory)
	}
	d.h = d.Open(bytes.Clone(memory))
}

func (d *deployment) ok(call string, err error) {
	d.Helper()
	if err != nil {
		d.Fatalf("%s: %v", call, err)
	}
}

func (d *deployment) unchanged(after string) {
	d.Helper()
	if got := d.Effect(); got != d.before {
		d.Fatalf("after %s the device has %q; want %q, as before", after, got, d.before)
	}
}

func (d *deployment) changed(after string) {
	d.Helper()
	if d.Effect() == d.before {
		d.Fatalf("after %s the device still has %q", after, d.before)
	}
}

// download prepares and downloads from src.
func (d *deployment) download(ctx context.Context, src io.Reader) error {
	d.Helper()
	r, err := artifact.NewReader(src, nil)
	d.ok("the subject's artifact", err)
	defer r.Close()
	d.ok("Prepare", d.handler().Prepare(d.Context(), r.Header()))
	d.unchanged("Prepare")
	p, err := r.Next()
	d.ok("the subject's payload", err)
	if err := d.handler().Download(ctx, p); err != nil {
		return err
	}
	if _, err := r.Next(); err != io.EOF {
		d.Fatalf("after Download, the next payload: %v; want io.EOF", err)
	}
	return nil
}

// install goes as far as an installation does.
func (d *deployment) install() {
	d.Helper()
	d.ok("Download", d.download(d.Context(), bytes.NewReader(d.Artifact)))
	d.unchanged("Download")
	d.supportsRollback()
	d.ok("Install", d.handler().Install(d.Context()))
	d.changed("Install")
	reboots, err := d.handler().NeedsReboot(d.Context())
	d.ok("NeedsReboot", err)
	if reboots != d.Reboots {
		d.Fatalf("NeedsReboot = %q; want %q", reboots, d.Reboots)
	}
	d.supportsRollback()
}

func (d *deployment) supportsRollback() {
	d.Helper()
	yes, err := d.handler().SupportsRollback(d.Context())
	d.ok("SupportsRollback", err)
	if yes == d.NoRollback {
		d.Fatalf("SupportsRollback = %v; want %v", yes, !d.NoRollback)
	}
}

// reboot boots, if the payload is of a kind that needs it: a new boot is a new process.
func (d *deployment) reboot() {
	d.Helper()
	if d.Reboot != nil {
		d.Reboot()
		d.restart()
	}
}

func (d *deployment) committed(want bool) {
	d.Helper()
	got, err := d.handler().Committed(d.Context())
	d.ok("Committed", err)
	if got != want {
		d.Fatalf("Committed = %v; want %v", got, want)
	}
}

func (d *deployment) commit() {
	d.Helper()
	d.committed(false)
	d.ok("Ready", d.handler().Ready(d.Context()))
	d.ok("Commit", d.handler().Commit(d.Context()))
	d.committed(d.TellsCommitted)
}

// rollback does it twice, as after a power cut.
func (d *deployment) rollback() {
	d.Helper()
	if d.NoRollback {
		d.Skip("this handler does not support rollback")
	}
	d.ok("Rollback", d.handler().Rollback(d.Context()))
	d.ok("Rollback again", d.handler().Rollback(d.Context()))
	d.reboot()
	d.unchanged("Rollback")
	d.ok("Rollback after the reboot", d.handler().Rollback(d.Context()))
	d.ok("Failure", d.handler().Failure(d.Context()))
	d.ok("Failure again", d.handler().Failure(d.Context()))
	d.unchanged("Failure")
}

// end cleans up, twice, and looks for what is left.
func (d *deployment) end() {
	d.Helper()
	effect := d.Effect()
	d.ok("Cleanup", d.handler().Cleanup(d.Context()))
	d.ok("Cleanup again", d.handler().Cleanup(d.Context()))
	if d.Effect() != effect {
		d.Fatalf("Cleanup changed what the device has from %q to %q", effect, d.Effect())
	}
	if d.Leftovers == nil {
		return
	}
	if left := d.Leftovers(); len(left) > 0 {
		d.Fatalf("after Cleanup there is left: %q", left)
	}
}

// again makes sure that nothing stands in the way of the next deployment.
func (d *deployment) again() {
	d.Helper()
	d.begin()
	success(d)
}

func success(d *deployment) {
	d.install()
	d.reboot()
	d.commit()
	d.end()
	d.changed("the deployment")
}

func commitTwice(d *deployment) {
	d.install()
	d.reboot()
	d.commit()
	d.ok("Commit again", d.handler().Commit(d.Context()))
	d.reboot()
	d.ok("Commit after another reboot", d.handler().Commit(d.Context()))
	d.committed(d.TellsCommitted)
	d.end()
	d.changed("the deployment")
}

func rollbackAtOnce(d *deployment) {
	d.install()
	d.rollback()
	d.end()
	d.again()
}

func rollbackLater(d *deployment) {
	d.install()
	d.reboot()
	d.ok("Ready", d.handler().Ready(d.Context()))
	d.rollback()
	d.end()
	d.again()
}

// rollbackAfterCommit: a power cut may hide that the commit took effect, or a script may fail.
func rollbackAfterCommit(d *deployment) {
	d.install()
	d.reboot()
	d.commit()
	d.rollback()
	d.end()
	d.again()
}

// rollbackEarly: the operator stopped the deployment after the download, and does not want it.
func rollbackEarly(d *deployment) {
	d.ok("Download", d.download(d.Context(), bytes.NewReader(d.Artifact)))
	d.rollback()
	d.end()
	d.again()
}

func fallBack(d *deployment) {
	if d.FallBack == nil {
		d.Skip("this payload cannot fall back")
	}
	d.install()
	d.FallBack()
	d.restart()
	d.unchanged("falling back")
	if err := d.handler().Ready(d.Context()); !errors.Is(err, payload.ErrFellBack) {
		d.Fatalf("Ready: %v; want ErrFellBack", err)
	}
	if err := d.handler().Commit(d.Context()); err == nil {
		d.Fatal("Commit: nil; want an error")
	}
	d.committed(false)
	d.rollback()
	d.end()
	d.again()
}

func notRebooted(d *deployment) {
	if d.Reboot == nil {
		d.Skip("this payload needs no reboot")
	}
	d.install()
	effect := d.Effect()
	if err := d.handler().Ready(d.Context()); !errors.Is(err, payload.ErrNotRebooted) {
		d.Fatalf("Ready: %v; want ErrNotRebooted", err)
	}
	if d.Effect() != effect {
		d.Fatalf("Ready changed what the device has from %q to %q", effect, d.Effect())
	}
	d.reboot()
	d.commit()
	d.end()
}

func nothing(d *deployment) {
	d.ok("Failure", d.handler().Failure(d.Context()))
	d.end()
	d.unchanged("Cleanup")
	d.again()
}

func cleanupEarly(d *deployment) {
	r, err := artifact.NewReader(bytes.NewReader(d.Artifact), nil)
	d.ok("the subject's artifact", err)
	defer r.Close()
	d.ok("Prepare", d.handler().Prepare(d.Context(), r.Header()))
	d.end()
	d.unchanged("Cleanup")
	d.again()
}

func sourceFails(d *deployment) {
	lost := errors.New("the source is lost")
	src := io.MultiReader(bytes.NewReader(d.Artifact[:len(d.Artifact)/2]), &trap{spring: func() error { return lost }})
	if err := d.download(d.Context(), src); !errors.Is(err, lost) {
		d.Fatalf("Download: %v; want %v", err, lost)
	}
	d.unchanged("a failed Download")
	d.end()
	d.again()
}

// cancelledInDownload: the source goes on, and the handler stops all the same.
func cancelledInDownload(d *deployment) {
	ctx, cancel := context.WithCancel(d.Context())
	defer cancel()
	half := len(d.Artifact) / 2
	spring := func() error { cancel(); return io.EOF }
	src := io.MultiReader(bytes.NewReader(d.Artifact[:half]), &trap{spring}, bytes.NewReader(d.Artifact[half:]))
	if err := d.download(ctx, src); !errors.Is(err, context.Canceled) {
		d.Fatalf("Download: %v; want context.Canceled", err)
	}
	d.unchanged("a cancelled Download")
	d.end()
	d.again()
}

// cancelledBefore: what must not happen any more does not begin.
func cancelledBefore(d *deployment) {
	done, cancel := context.WithCancel(d.Context())
	cancel()
	d.ok("Download", d.download(d.Context(), bytes.NewReader(d.Artifact)))
	if err := d.handler().Install(done); !errors.Is(err, context.Canceled) {
		d.Fatalf("Install: %v; want context.Canceled", err)
	}
	d.unchanged("a cancelled Install")
	d.end()
	d.again()
}

// trap is a Reader whose Read springs it.
type trap struct{ spring func() error }

func (t *trap) Read([]byte) (int, error) { return 0, t.spring() }
