package slot_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"flipside/bootenv"
	"flipside/internal/disk"
	"flipside/internal/disk/faultdisk"
)

// TestRootfsPowerCut cuts the power at every single operation of an update, leaves on the disk what
// a real power cut might, and boots: what comes up must be complete, as must be what comes up if
// that does not boot.
func TestRootfsPowerCut(t *testing.T) {
	for phase, atLeast := range map[string]int{"install": 6, "commit": 2, "rollback": 2} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			cut := 1
			for ; cutAndBoot(t, phase, cut); cut++ {
			}
			if cut <= atLeast {
				t.Errorf("only %d operations were cut; want %d", cut-1, atLeast)
			}
		})
	}
}

// cutAndBoot cuts at one operation, in several of the ways in which that may end, and reports
// whether there was one to cut.
func cutAndBoot(t *testing.T, phase string, cut int) bool {
	t.Helper()
	for seed := range uint64(5) {
		b := newSmallBoard(t, phase)
		memory := b.ready(phase)
		d := b.faulty()
		d.Cut(cut, nil)
		err := b.run(phase, memory)
		if !d.Off() {
			if err := errors.Join(err, d.Close()); err != nil {
				t.Fatalf("without a power cut: %v", err)
			}
			return false
		}
		if !errors.Is(err, faultdisk.ErrPowerCut) {
			t.Errorf("cut at change %d: %v; want ErrPowerCut", cut, err)
		}
		lost, err := d.Settle(seed)
		if err != nil {
			t.Fatal(err)
		}
		b.fs = disk.OS{}
		b.survives(fmt.Sprintf("power cut at change %d of %s, lost %q", cut, phase, lost))
	}
	return true
}

// TestRootfsFaults fails every single operation of an update in turn, or it and all later ones.
// Whatever is reported, the device boots; and what is reported as done is done.
func TestRootfsFaults(t *testing.T) {
	for name, test := range map[string]struct {
		phase string
		fault func(d *faultdisk.FS, n int)
	}{
		"install, I/O error":  {"install", func(d *faultdisk.FS, n int) { d.Fail(n, syscall.EIO) }},
		"install, full":       {"install", func(d *faultdisk.FS, n int) { d.FailFrom(n, syscall.ENOSPC) }},
		"commit, I/O error":   {"commit", func(d *faultdisk.FS, n int) { d.Fail(n, syscall.EIO) }},
		"rollback, I/O error": {"rollback", func(d *faultdisk.FS, n int) { d.Fail(n, syscall.EIO) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed, more := 0, true
			for n := 1; more; n++ {
				b := newSmallBoard(t, test.phase)
				memory := b.ready(test.phase)
				d := b.faulty()
				test.fault(d, n)
				err := b.run(test.phase, memory)
				more = n < len(d.Ops())
				if cerr := d.Close(); cerr != nil {
					t.Fatal(cerr)
				}
				b.fs = disk.OS{}
				if err != nil {
					failed++
				} else if got, want := b.selection(), outcome[test.phase]; got != want {
					t.Errorf("operation %d failed, success was reported, but selected is %+v; want %+v", n, got, want)
				}
				b.survives(fmt.Sprintf("operation %d failed: %v", n, err))
			}
			if failed == 0 {
				t.Error("no failure was reported")
			}
		})
	}
}

var outcome = map[string]bootenv.Selection{
	"install":  {Part: 3, Trial: true},
	"commit":   {Part: 3},
	"rollback": {Part: 2},
}

// newSmallBoard has an image of two blocks and a bit, if it is about writing one.
func newSmallBoard(t *testing.T, phase string) *board {
	t.Helper()
	if phase == "install" {
		return newBoardOf(t, 3*mib, 2*mib+300)
	}
	return newBoardOf(t, 8192, 5000)
}

// ready brings the device to where phase begins.
func (b *board) ready(phase string) []byte {
	b.t.Helper()
	if phase == "install" {
		return nil
	}
	memory := b.install()
	if part := b.reset(0); part != 3 {
		b.t.Fatalf("booted %d; want 3", part)
	}
	return memory
}

func (b *board) faulty() *faultdisk.FS {
	b.t.Helper()
	d, err := faultdisk.New(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	b.fs = d
	return d
}

func (b *board) run(phase string, memory []byte) error {
	b.t.Helper()
	h := b.open(memory)
	switch phase {
	case "commit":
		return h.Commit(b.t.Context())
	case "rollback":
		return h.Rollback(b.t.Context())
	}
	if err := b.download(h, b.image()); err != nil {
		return err
	}
	return h.Install(b.t.Context())
}

// survives boots, and boots again without the slot that came up if that is on trial.
func (b *board) survives(what string) {
	b.t.Helper()
	sel := b.selection()
	part := b.reset(0)
	if part != sel.Part && !sel.Trial {
		b.t.Fatalf("%s: selected is %d, booted %d", what, sel.Part, part)
	}
	b.complete(what, part)
	if !b.selection().Trial {
		return
	}
	back := b.reset(part)
	if back == part {
		b.t.Fatalf("%s: part %d did not come up, and was booted", what, part)
	}
	b.complete(what+", after falling back", back)
}

func (b *board) complete(what string, part int) {
	b.t.Helper()
	if want := map[int]string{2: "old", 3: "new"}[part]; b.holds(part) != want {
		b.t.Fatalf("%s: booted part %d, which holds %s; want %s", what, part, b.holds(part), want)
	}
}
