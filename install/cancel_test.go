package install_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/commit"
	"flipside/install"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/disk"
	"flipside/internal/progress"
	"flipside/internal/sandbox"
	"flipside/rollback"
)

// trigger is a sink that cancels at the n-th event.
type trigger struct {
	mu     sync.Mutex
	n      int
	seen   int
	at     progress.Event // the n-th
	cancel context.CancelFunc
}

func (s *trigger) Emit(ev progress.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen++; s.seen == s.n {
		s.at = ev
		s.cancel()
	}
}

// tried is a device on which a command is cancelled at each of its events.
type tried struct {
	*testing.T
	sandbox sandbox.Sandbox
	file    []byte
}

func newTried(t *testing.T, spec artifact.Spec) tried {
	t.Helper()
	s, err := sandbox.Create(t.Context(), filepath.Join(t.TempDir(), "dev"), sandbox.Spec{SlotSize: 12 << 20})
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(s.Dir, "usr/share/mender/modules/v3/talker")
	if err := os.WriteFile(module, []byte(talker), 0o755); err != nil {
		t.Fatal(err)
	}
	spec.Name, spec.Depends = "next", artifact.Depends{artifact.KeyDeviceType: {"sandbox"}}
	var b bytes.Buffer
	if err := artifact.Write(&b, spec); err != nil {
		t.Fatal(err)
	}
	return tried{t, s, b.Bytes()}
}

// talker is an update module that says something in each of its states, which is an event, and then
// has more to do.
const talker = `#!/bin/sh
case $1 in
SupportsRollback) echo Yes; exit ;;
NeedsArtifactReboot | ProvidePayloadFileSizes) echo No; exit ;;
Download) while :; do n=$(cat stream-next); [ -n "$n" ] || break; cat "${n%% *}" >/dev/null; done ;;
esac
echo "in $1"
sleep 0.02
echo "$1 is over"
`

func (d tried) open(sink progress.Sink) *device.Device {
	d.Helper()
	o := d.sandbox.Options()
	o.FS, o.Sink = disk.OS{}, sink
	dev, err := device.Open(o)
	if err != nil {
		d.Fatal(err)
	}
	return dev
}

// run runs a command that is cancelled at its n-th event; over: it did not have that many.
func (d tried) run(n int, command func(context.Context, *device.Device) (*deployment.Result, error)) (at progress.Event, over bool, err error) {
	ctx, cancel := context.WithCancel(d.Context())
	defer cancel()
	sink := &trigger{n: n, cancel: cancel}
	_, err = command(ctx, d.open(sink))
	return sink.at, sink.seen < n, err
}

func (d tried) install(ctx context.Context, dev *device.Device) (*deployment.Result, error) {
	return install.Run(ctx, dev, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(d.file)), nil
	})
}

// standing is what must be as it was: what the bootloader will do, and what the device has.
func (d tried) standing() string {
	d.Helper()
	dev := d.open(progress.Discard)
	env, err := dev.BootEnv()
	if err != nil {
		d.Fatal(err)
	}
	sel, err := bootenv.ReadSelection(d.Context(), env)
	if err != nil {
		d.Fatal(err)
	}
	return fmt.Sprintf("%+v, %s, deployment %q", sel, dev.ArtifactName(), dev.State())
}

// TestCancelInstall: at whatever event, an install is taken back completely, or is complete.
func TestCancelInstall(t *testing.T) {
	image := bytes.Repeat([]byte("next "), 2<<20)
	for name, spec := range map[string]artifact.Spec{
		"rootfs-image": {Type: "rootfs-image", Files: []artifact.FileSpec{artifact.FileBytes("image", image)}, Compression: artifact.None},
		"module":       {Type: "talker", Files: []artifact.FileSpec{artifact.FileBytes("file", image[:100])}, Compression: artifact.None},
	} {
		t.Run(name, func(t *testing.T) {
			d := newTried(t, spec)
			before := d.standing()
			phases := map[progress.Phase]bool{}
			for n := 1; ; n++ {
				at, over, err := d.run(n, d.install)
				if over {
					if err != nil {
						t.Errorf("without being cancelled: %v", err)
					}
					break
				}
				phases[at.Phase] = true
				if err == nil { // too late
					if got := d.standing(); got == before {
						t.Errorf("cancelled at event %d (%s %s), it says that it is installed, and is not", n, at.Kind, at.Phase)
					}
					d.rollback()
					continue
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled at event %d (%s %s %s): %v; want context.Canceled", n, at.Kind, at.Phase, at.Text, err)
				}
				if got := d.standing(); got != before {
					t.Fatalf("cancelled at event %d (%s %s %s), %v: %s; want %s", n, at.Kind, at.Phase, at.Text, err, got, before)
				}
			}
			want := []progress.Phase{progress.Download, progress.Sync, progress.ReadBack, progress.BootFlags}
			if name == "module" {
				want = want[:1]
			}
			for _, phase := range want {
				if !phases[phase] {
					t.Errorf("it was never cancelled in the phase %q, only in %v", phase, phases)
				}
			}
		})
	}
}

// rollback takes back what was installed.
func (d tried) rollback() {
	d.Helper()
	if _, _, err := d.run(0, rollback.Run); err != nil {
		d.Fatal(err)
	}
}

// TestCancelCommit: a commit that is cancelled took effect, or the update is taken back.
func TestCancelCommit(t *testing.T) {
	for n := 1; ; n++ {
		d := newTried(t, artifact.Spec{Type: "talker", Files: []artifact.FileSpec{artifact.FileBytes("file", []byte("x"))}, Compression: artifact.None})
		before := d.standing()
		if _, _, err := d.run(0, d.install); err != nil {
			t.Fatal(err)
		}
		at, over, err := d.run(n, commit.Run)
		got, name := d.standing(), d.open(progress.Discard).ArtifactName()
		switch {
		case err == nil && name != "next":
			t.Errorf("cancelled at event %d (%s), it says that it is committed: %s", n, at.Text, got)
		case err != nil && (!errors.Is(err, context.Canceled) || got != before):
			t.Errorf("cancelled at event %d (%s), %v: %s; want %s", n, at.Text, err, got, before)
		}
		if over {
			if n < 3 {
				t.Errorf("a commit has %d events only", n-1)
			}
			return
		}
	}
}
