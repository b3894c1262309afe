package slot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/payload"
	"flipside/internal/payload/payloadtest"
	"flipside/internal/progress"
	"flipside/internal/slot"
)

func TestRootfsContract(t *testing.T) {
	payloadtest.Run(t, func(t *testing.T) payloadtest.Subject {
		b := newBoard(t)
		return payloadtest.Subject{
			Artifact: b.image(),
			Open:     func(memory json.RawMessage) payload.Handler { return b.open(memory) },
			Effect: func() string {
				part := b.selection().Part
				return fmt.Sprintf("part %d with the %s image", part, b.holds(part))
			},
			Reboots:        payload.RebootAutomatic,
			Reboot:         func() { b.reset(0) },
			FallBack:       func() { b.reset(3) },
			TellsCommitted: true,
		}
	})
}

// TestRootfsStory goes the usual way and looks at the device after each step.
func TestRootfsStory(t *testing.T) {
	b := newBoard(t)
	s := &sink{}
	b.sink = s
	h := b.open(nil)
	if m := h.Memory(); m != nil {
		t.Errorf("Memory before Prepare = %s; want nil", m)
	}
	if err := b.download(h, b.image()); err != nil {
		t.Fatal(err)
	}
	if b.holds(2) != "old" || b.holds(3) != "new" || b.selection() != (bootenv.Selection{Part: 2}) {
		t.Errorf("after Download: A holds %s, B holds %s, selected is %+v; want old, new, 2", b.holds(2), b.holds(3), b.selection())
	}
	if err := h.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.selection(); got != (bootenv.Selection{Part: 3, Trial: true}) {
		t.Errorf("after Install: %+v; want 3 on trial", got)
	}
	if part := b.reset(0); part != 3 {
		t.Fatalf("booted %d; want 3", part)
	}
	h = b.open(h.Memory())
	if err := h.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.selection(); got != (bootenv.Selection{Part: 3}) {
		t.Errorf("after Commit: %+v; want 3", got)
	}
	var phases []string
	for _, e := range s.events {
		if e.Kind == progress.Begin || e.Kind == progress.End {
			phases = append(phases, string(e.Kind)+" "+string(e.Phase))
		}
	}
	want := []string{"begin download", "end download", "begin sync", "end sync", "begin read back", "end read back",
		"begin boot flags", "end boot flags", "begin boot flags", "end boot flags"}
	if !slices.Equal(phases, want) {
		t.Errorf("phases %q; want %q", phases, want)
	}
}

func TestRootfsPrepareRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(b *board)
		is      error
		text    string
	}{
		"a trial": {func(b *board) { b.set(bootenv.Vars{"upgrade_available": "1"}) }, slot.ErrOnTrial, "slot A"},
		"another selection": {
			func(b *board) { b.set(bootenv.Vars{"mender_boot_part": "3"}) }, nil, "the bootloader has selected slot B",
		},
		"a selection of neither": {
			func(b *board) { b.set(bootenv.Vars{"mender_boot_part": "7"}) }, nil, "part 7, which is neither slot",
		},
		"an unknown running slot": {
			func(b *board) { b.put("other", ""); b.boot(b.t, b.path("other")) }, slot.ErrActiveUnknown, "looked at",
		},
		"no canary": {
			func(b *board) { b.set(bootenv.Vars{"mender_saveenv_canary": ""}) }, bootenv.ErrCanary, "",
		},
		"no environment": {
			func(b *board) { b.put("env", string(make([]byte, 2*0x4000))) }, bootenv.ErrCorrupt, "",
		},
		"a slot that is swap space": {
			func(b *board) { b.put("proc/swaps", "Filename Type Size\n"+b.b+" file 1000\n") }, slot.ErrInUse, "swap space",
		},
		"slots without a number": {
			func(b *board) { b.config.PartB = b.path("env") }, nil, "does not end in a number",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			test.arrange(b)
			before := hosttest.Read(t, b.b)
			h := b.open(nil)
			err := b.download(h, b.image())
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Prepare: %v; want %v with %q", err, test.is, test.text)
			}
			if !bytes.Equal(hosttest.Read(t, b.b), before) {
				t.Error("slot B has changed")
			}
			if err := h.Install(t.Context()); err == nil {
				t.Error("Install after that: nil; want an error")
			}
			if err := h.Rollback(t.Context()); err != nil {
				t.Errorf("Rollback after that: %v; want nil", err)
			}
		})
	}
}

// set changes boot variables.
func (b *board) set(v bootenv.Vars) {
	b.t.Helper()
	if err := b.env().Write(context.Background(), v); err != nil {
		b.t.Fatal(err)
	}
}

// TestRootfsProbe: a device that somebody holds is refused before anything is downloaded.
func TestRootfsProbe(t *testing.T) {
	w := newWorld(t)
	w.mount("179:2", "/", "ext4", "/dev/root", "rw")
	m := newMedium(mib)
	m.onOpen = func(int) error { return syscall.EBUSY }
	b := newBoard(t)
	h := slot.NewRootfs(slot.RootfsConfig{Slots: w.config(), Env: b.env(), FS: m})
	if err := h.Prepare(t.Context(), &artifact.Header{}); !errors.Is(err, slot.ErrInUse) {
		t.Errorf("Prepare: %v; want ErrInUse", err)
	}
	if h.Memory() != nil || len(m.opens) != 1 || m.opens[0]&(os.O_WRONLY|os.O_RDWR) != 0 {
		t.Errorf("memory %s, opened with %#x; want none, once for reading", h.Memory(), m.opens)
	}
}

func TestRootfsPrepareWarns(t *testing.T) {
	b := newBoard(t)
	b.set(bootenv.Vars{"bootlimit": ""})
	s := &sink{}
	b.sink = s
	r, err := artifact.NewReader(bytes.NewReader(b.image()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := b.open(nil).Prepare(t.Context(), r.Header()); err != nil {
		t.Fatal(err)
	}
	if len(s.events) != 1 || s.events[0].Kind != progress.Warning || !strings.Contains(s.events[0].Text, "bootlimit") {
		t.Errorf("events %+v; want one warning of bootlimit", s.events)
	}
}

// TestRootfsDownloadRefuses: after an error the slot cannot be activated.
func TestRootfsDownloadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		files   func(b *board) []artifact.FileSpec
		spoil   func(mender []byte)
		arrange func(b *board)
		is      error
		text    string
		written bool
	}{
		"two files": {
			files: func(b *board) []artifact.FileSpec {
				return []artifact.FileSpec{artifact.FileBytes("a.ext4", b.new), artifact.FileBytes("b.ext4", b.new)}
			}, is: payload.ErrUnfit, text: `also has "b.ext4"`, written: true,
		},
		"an empty image": {
			files: func(b *board) []artifact.FileSpec { return []artifact.FileSpec{artifact.FileBytes("a.ext4", nil)} },
			is:    payload.ErrUnfit, text: "the image is empty",
		},
		"too large": {
			files: func(b *board) []artifact.FileSpec {
				return []artifact.FileSpec{artifact.FileBytes("a.ext4", make([]byte, slotSize+1))}
			}, is: payload.ErrUnfit, text: "8388609 bytes (8.0 MiB), slot B",
		},
		"a wrong checksum": {
			spoil: func(mender []byte) { mender[len(mender)/2]++ }, is: artifact.ErrChecksum, written: true,
		},
		"a bad medium": {
			arrange: func(b *board) { b.fs = flipping{b.b} }, is: slot.ErrReadBack, text: "between byte 0 and", written: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			if test.arrange != nil {
				test.arrange(b)
			}
			mender := b.image()
			if test.files != nil {
				mender = b.artifact(test.files(b)...)
			}
			if test.spoil != nil {
				test.spoil(mender)
			}
			before := hosttest.Read(t, b.b)
			h := b.open(nil)
			err := b.download(h, mender)
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Download: %v; want %v with %q", err, test.is, test.text)
			}
			if changed := !bytes.Equal(hosttest.Read(t, b.b), before); changed != test.written {
				t.Errorf("slot B has changed: %v; want %v", changed, test.written)
			}
			for _, h := range []*slot.Rootfs{h, b.open(h.Memory())} {
				if err := h.Install(t.Context()); err == nil || !strings.Contains(err.Error(), "does not hold a complete image") {
					t.Errorf("Install after that: %v; want an error", err)
				}
			}
			if got := b.selection(); got != (bootenv.Selection{Part: 2}) {
				t.Errorf("selected is %+v; want 2", got)
			}
		})
	}
}

// TestRootfsDownloadAgain: a complete image does not stay complete when another one is begun.
func TestRootfsDownloadAgain(t *testing.T) {
	b := newBoard(t)
	h := b.open(nil)
	if err := b.download(h, b.image()); err != nil {
		t.Fatal(err)
	}
	spoilt := b.image()
	spoilt[len(spoilt)/2]++
	r, err := artifact.NewReader(bytes.NewReader(spoilt), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Download(t.Context(), p); !errors.Is(err, artifact.ErrChecksum) {
		t.Fatalf("Download: %v; want ErrChecksum", err)
	}
	if err := h.Install(t.Context()); err == nil {
		t.Error("Install: nil; want an error")
	}
}

// flipping is a medium that gets the first bit of a file wrong.
type flipping struct{ path string }

func (flipping) Mkdir(name string, perm fs.FileMode) error { return disk.OS{}.Mkdir(name, perm) }
func (flipping) Rename(from, to string) error              { return disk.OS{}.Rename(from, to) }
func (flipping) Remove(name string) error                  { return disk.OS{}.Remove(name) }
func (flipping) SyncDir(dir string) error                  { return disk.OS{}.SyncDir(dir) }

func (f flipping) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	file, err := disk.OS{}.OpenFile(name, flag, perm)
	if err != nil || name != f.path {
		return file, err
	}
	return flippingFile{file}, nil
}

type flippingFile struct{ disk.File }

func (f flippingFile) WriteAt(p []byte, at int64) (int, error) {
	if at > 0 {
		return f.File.WriteAt(p, at)
	}
	wrong := bytes.Clone(p)
	wrong[0] ^= 1
	return f.File.WriteAt(wrong, at)
}

// TestRootfsNoReadBack: whoever does not want it does not wait for it.
func TestRootfsNoReadBack(t *testing.T) {
	b := newBoard(t)
	b.fs, b.skip = flipping{b.b}, true
	if err := b.download(b.open(nil), b.image()); err != nil {
		t.Errorf("Download: %v; want nil, for nobody reads back", err)
	}
}

// TestRootfsThingsChange: between the steps days may pass, and others may work on the device.
func TestRootfsThingsChange(t *testing.T) {
	for name, test := range map[string]struct {
		change func(b *board)
		is     error
		text   string
	}{
		"another update is on trial": {
			func(b *board) { b.set(bootenv.Vars{"upgrade_available": "1"}) }, slot.ErrOnTrial, "",
		},
		"another slot is selected": {
			func(b *board) { b.set(bootenv.Vars{"mender_boot_part": "3"}) }, nil, "has selected slot B",
		},
		"another slot runs": {
			func(b *board) { b.set(bootenv.Vars{"mender_boot_part": "3"}); b.reset(0) }, nil, "slot B (",
		},
		"the slots are configured otherwise": {
			func(b *board) { b.put("root7", "x"); b.config.PartB = b.path("root7") }, nil, "is part 7 now, and was part 3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			h := b.open(nil)
			if err := b.download(h, b.image()); err != nil {
				t.Fatal(err)
			}
			test.change(b)
			before := b.selection()
			err := b.open(h.Memory()).Install(t.Context())
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Install: %v; want %v with %q", err, test.is, test.text)
			}
			if got := b.selection(); got != before {
				t.Errorf("selected is %+v; want %+v, as before", got, before)
			}

			// The same between Prepare and Download.
			b = newBoard(t)
			h = b.open(nil)
			r, err := artifact.NewReader(bytes.NewReader(b.image()), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := h.Prepare(t.Context(), r.Header()); err != nil {
				t.Fatal(err)
			}
			test.change(b)
			a, inactive := hosttest.Read(t, b.a), hosttest.Read(t, b.b)
			p, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if err := b.open(h.Memory()).Download(t.Context(), p); err == nil {
				t.Error("Download: nil; want an error")
			}
			if !bytes.Equal(hosttest.Read(t, b.a), a) || !bytes.Equal(hosttest.Read(t, b.b), inactive) {
				t.Error("Download has written")
			}
		})
	}
}

// TestRootfsRebootBeforeInstall: a reboot between Download and Install does not make Ready believe
// that the one after Install has happened.
func TestRootfsRebootBeforeInstall(t *testing.T) {
	b := newBoard(t)
	h := b.open(nil)
	if err := b.download(h, b.image()); err != nil {
		t.Fatal(err)
	}
	b.reset(0)
	h = b.open(h.Memory())
	if err := h.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.open(h.Memory()).Ready(t.Context()); !errors.Is(err, payload.ErrNotRebooted) {
		t.Errorf("Ready: %v; want ErrNotRebooted", err)
	}
}

func TestRootfsReady(t *testing.T) {
	for name, test := range map[string]struct {
		change func(b *board)
		is     error // nil for an error that is neither
		text   string
	}{
		"not rebooted": {func(b *board) {}, payload.ErrNotRebooted, "slot B"},
		"undone before the reboot": {
			func(b *board) { b.set(bootenv.Vars{"mender_boot_part": "2", "upgrade_available": "0"}) }, nil, "the bootloader has selected slot A",
		},
		"fell back": {func(b *board) { b.reset(3) }, payload.ErrFellBack, "slot A"},
		"fell back later": {
			func(b *board) { b.reset(0); b.reset(3) }, payload.ErrFellBack, "slot A",
		},
		"the bootloader does as it likes": {
			func(b *board) { b.boots++ }, nil, "the bootloader does not follow this environment",
		},
		"runs, but something else is selected": {
			func(b *board) { b.reset(0); b.set(bootenv.Vars{"mender_boot_part": "2"}) }, nil, "slot B",
		},
		"neither": {
			func(b *board) { b.put("other", ""); b.boot(b.t, b.path("other")) }, slot.ErrActiveUnknown, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			memory := b.install()
			test.change(b)
			before := b.selection()
			h := b.open(memory)
			for call, err := range map[string]error{"Ready": h.Ready(t.Context()), "Commit": h.Commit(t.Context())} {
				if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("%s: %v; want %v with %q", call, err, test.is, test.text)
				}
				if test.is == nil && (errors.Is(err, payload.ErrNotRebooted) || errors.Is(err, payload.ErrFellBack)) {
					t.Errorf("%s: %v; want another error", call, err)
				}
			}
			if got := b.selection(); got != before {
				t.Errorf("selected is %+v; want %+v, as before", got, before)
			}
		})
	}
}

func TestRootfsRebootNeededAfterRollback(t *testing.T) {
	needed := func(b *board, memory json.RawMessage, when string, want bool) {
		t.Helper()
		h := b.open(memory)
		if err := h.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := h.RebootNeededAfterRollback(t.Context()); got != want || err != nil {
			t.Errorf("%s: RebootNeededAfterRollback = %v, %v; want %v", when, got, err, want)
		}
	}
	b := newBoard(t)
	memory := b.install()
	needed(b, memory, "before the reboot", false)
	b = newBoard(t)
	memory = b.install()
	b.reset(0)
	needed(b, memory, "after the reboot", true)
	if part := b.reset(0); part != 2 {
		t.Errorf("booted %d; want 2", part)
	}
	needed(b, memory, "after another one", false)
}

func TestRootfsMemory(t *testing.T) {
	b := newBoard(t)
	var memory map[string]any
	if err := json.Unmarshal(b.install(), &memory); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"slot": "B", "device": b.b, "part": 3.0, "from": 2.0, "boot_id": "boot-1", "complete": true} {
		if memory[key] != want {
			t.Errorf("memory has %s = %v; want %v", key, memory[key], want)
		}
	}
	for _, bad := range []string{"[]", "{", `"x"`, `{"slot":""}`, `{"slot":"B","part":2,"from":2}`, "{}"} {
		h := b.open(json.RawMessage(bad))
		_, committed := h.Committed(t.Context())
		for call, err := range map[string]error{
			"Install": h.Install(t.Context()), "Ready": h.Ready(t.Context()), "Commit": h.Commit(t.Context()),
			"Committed": committed, "Rollback": h.Rollback(t.Context()),
		} {
			if err == nil || !strings.Contains(err.Error(), "what is remembered") {
				t.Errorf("with the memory %s, %s: %v; want an error", bad, call, err)
			}
		}
		if got := string(h.Memory()); got != bad {
			t.Errorf("Memory = %s; want %s, as it was", got, bad)
		}
	}
}

// TestRootfsBrokenEnvironment: a selection that cannot be read is repaired by Rollback.
func TestRootfsBrokenEnvironment(t *testing.T) {
	b := newBoard(t)
	memory := b.install()
	b.set(bootenv.Vars{"mender_boot_part": "x"})
	h := b.open(memory)
	if yes, err := h.Committed(t.Context()); yes || err == nil {
		t.Errorf("Committed = %v, %v; want an error", yes, err)
	}
	if err := h.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.selection(); got != (bootenv.Selection{Part: 2}) {
		t.Errorf("selected is %+v; want 2", got)
	}
}

// TestRootfsRollbackEndsTrial: also one of the slot that it goes back to.
func TestRootfsRollbackEndsTrial(t *testing.T) {
	b := newBoard(t)
	memory := b.install()
	b.set(bootenv.Vars{"mender_boot_part": "2"})
	if err := b.open(memory).Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.selection(); got != (bootenv.Selection{Part: 2}) {
		t.Errorf("selected is %+v; want 2, without a trial", got)
	}
}
