package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestUpdates tells the stories of updates, on each board, each on a device from the factory.
func TestUpdates(t *testing.T) {
	t.Parallel()
	stories := []struct {
		name string
		tell func(*unit)
	}{
		{"update", update},
		{"never-committed", neverCommitted},
		{"no-kernel", func(u *unit) { comesUpNever(u, "no-kernel") }},
		{"no-init", func(u *unit) { comesUpNever(u, "no-init") }},
		{"rollback-before-reboot", rollbackBeforeReboot},
		{"rollback-after-reboot", rollbackAfterReboot},
		{"connection-lost", connectionLost},
		{"nfs", nfs},
		{"signatures", signatures},
		{"module", moduleUpdate},
		{"module-rollback", moduleRollback},
		{"state-scripts", stateScripts},
		{"terminals", terminals},
		{"doctor", doctors},
	}
	for _, b := range boards() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, b)
			for _, story := range stories {
				t.Run(story.name, func(t *testing.T) {
					s.device(t).tells(story.tell)
				})
			}
		})
	}
}

func update(u *unit) {
	u.idle(partA, release(1))
	u.env(partA, "0", "0")
	u.says(4, "install --reboot-exit-code /media/release-2.mender", "reboot")
	u.env(partB, "1", "0")
	u.provides(release(1))
	u.flipside(1, "commit") // it was not rebooted
	u.env(partB, "1", "0")
	u.boots(u.reboot(), partB, release(2))
	u.env(partB, "1", "1")
	u.provides(release(1))
	u.flipside(0, "commit")
	u.env(partB, "0", "1")
	u.idle(partB, release(2))
	u.flipside(2, "commit")
	u.boots(u.reboot(), partB, release(2))
	u.env(partB, "0", "1")
	u.idle(partB, release(2))
}

// fellBack is what a device says whose update did not come up, and how that ends.
func fellBack(u *unit) {
	u.t.Helper()
	if vars := u.b.vars(u.t, u.disk.content()); vars["upgrade_available"] != "0" || vars["mender_boot_part"] != "2" {
		u.fatalf("boot environment %v; want that of a fallback", vars)
	}
	u.provides(release(1))
	u.says(9, "commit", "fell back")
	u.provides(release(1))
	u.flipside(0, "rollback")
	u.idle(partA, release(1))
}

func neverCommitted(u *unit) {
	u.flipside(0, "install /media/release-2.mender")
	u.boots(u.reboot(), partB, release(2))
	u.boots(u.reboot(), partA, release(1))
	fellBack(u)
}

// comesUpNever: the new system does not get as far as its control port.
func comesUpNever(u *unit, name string) {
	u.t.Helper()
	u.flipside(0, "install /media/"+name+".mender")
	u.complete(u.disk.content(), partB, name)
	mark := u.console.mark()
	u.boots(u.reboot(), partA, release(1))
	text := u.console.since(mark)
	tried, back := strings.Index(text, "e2e: booting partition 3"), strings.Index(text, "e2e: falling back")
	if tried < 0 || back < tried {
		u.fatalf("the bootloader did not try the new system and then fall back")
	}
	fellBack(u)
}

func rollbackBeforeReboot(u *unit) {
	u.flipside(0, "install /media/release-2.mender")
	u.env(partB, "1", "0")
	u.flipside(0, "rollback")
	u.env(partA, "0", "0")
	u.idle(partA, release(1))
	u.flipside(2, "rollback")
	u.boots(u.reboot(), partA, release(1))
	u.idle(partA, release(1))
}

func rollbackAfterReboot(u *unit) {
	u.flipside(0, "install /media/release-2.mender")
	u.boots(u.reboot(), partB, release(2))
	u.flipside(0, "rollback")
	u.env(partA, "0", "1")
	u.provides(release(1))
	u.boots(u.reboot(), partA, release(1))
	u.env(partA, "0", "1")
	u.idle(partA, release(1))
}

func signatures(u *unit) {
	before := u.disk.content()
	for _, args := range []string{
		"install --key /media/wrong.pub /media/signed.mender",
		"install --key /media/right.pub /media/release-2.mender", // not signed
	} {
		u.flipside(6, args)
		u.env(partA, "0", "0")
		u.idle(partA, release(1))
		u.untouched(before)
	}
	u.flipside(0, "install --key /media/right.pub /media/signed.mender")
	u.ends(partB, release(2))
}

// untouched makes sure that the inactive slot is as it was.
func (u *unit) untouched(before *blob) {
	u.t.Helper()
	if got, want := u.disk.content().sum(u.b, partB), before.sum(u.b, partB); got != want {
		u.fatalf("the inactive slot was written")
	}
}

func (u *unit) file(path, want string) {
	u.t.Helper()
	if a := u.run("cat " + path); a.out != want {
		u.fatalf("%s is %q; want %q", path, a.out, want)
	}
}

// moduleInstalled is what runs before the reboot.
var moduleInstalled = []string{
	"Download_Enter_00_say", "module ProvidePayloadFileSizes", "module Download", "module SupportsRollback", "Download_Leave_00_say",
	"module ArtifactInstall", "module NeedsArtifactReboot",
}

func moduleUpdate(u *unit) {
	u.flipside(4, "install --reboot-exit-code /media/app-2.mender")
	u.env(partA, "0", "0")
	u.file("/data/app", "app 2\n")
	u.provides(release(1))
	u.ran(release(1), moduleInstalled...)
	u.boots(u.reboot(), partA, release(1))
	u.flipside(0, "commit")
	u.env(partA, "0", "0")
	u.file("/data/app", "app 2\n")
	u.idle(partA, "app-2")
	u.ran(release(1), append(moduleInstalled, "module ArtifactCommit", "module Cleanup")...)
}

func moduleRollback(u *unit) {
	u.flipside(0, "install /media/app-2.mender")
	u.boots(u.reboot(), partA, release(1))
	u.file("/data/app", "app 2\n")
	u.flipside(0, "rollback")
	u.env(partA, "0", "0")
	u.file("/data/app", "app 1\n")
	u.idle(partA, release(1))
	u.ran(release(1), append(moduleInstalled, "module SupportsRollback", "module ArtifactRollback", "module ArtifactFailure", "module Cleanup")...)
}

func stateScripts(u *unit) {
	u.flipside(0, "install /media/scripts.mender")
	u.ran(release(1), "Download_Enter_00_say", "Download_Leave_00_say", "ArtifactInstall_Enter_00", "ArtifactInstall_Leave_00")
	u.run("rm /data/ran")
	u.ends(partB, release(2))
	u.ran(release(2), "ArtifactCommit_Enter_00", "ArtifactCommit_Leave_00")
}

// ran checks what scripts and modules have said of themselves, in that order.
func (u *unit) ran(in string, names ...string) {
	u.t.Helper()
	want := ""
	for _, name := range names {
		want += name + " in " + in + "\n"
	}
	u.file("/data/ran", want)
}

// terminals installs on the serial console, as a person at it would.
func terminals(u *unit) {
	for _, term := range []string{"dumb", "vt100"} {
		mark := u.console.mark()
		a := u.run("stty -F /dev/console; TERM=" + term + " flipside install /media/release-2.mender </dev/console >/dev/console 2>&1")
		if a.code != 0 || !strings.Contains(a.out, "speed 115200 baud") {
			u.fatalf("exit code %d; the console: %s", a.code, a.out)
		}
		u.readable(term, u.console.since(mark))
		u.env(partB, "1", "0")
		u.complete(u.disk.content(), partB, release(2))
		u.flipside(0, "rollback")
		u.env(partA, "0", "0")
		u.idle(partA, release(1))
	}
}

// readable checks what stands on a terminal with 80 columns.
func (u *unit) readable(term, text string) {
	u.t.Helper()
	if strings.ContainsAny(text, "\x1b\b") {
		u.fatalf("TERM=%s: control sequences in %q", term, text)
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	redrawn := false
	for _, line := range lines {
		frames := strings.Split(line, "\r")
		for _, frame := range frames[:len(frames)-1] { // the last one may go on in the next line: nothing is drawn over it
			if redrawn = true; len([]rune(frame)) > 80 {
				u.fatalf("TERM=%s: %q does not fit, and is drawn over", term, frame)
			}
		}
	}
	if redrawn != (term == "vt100") {
		u.fatalf("TERM=%s: lines are drawn again: %v, in %q", term, redrawn, text)
	}
	for _, want := range []string{"%", "MiB"} {
		if !strings.Contains(text, want) {
			u.fatalf("TERM=%s: no %q in %q", term, want, text)
		}
	}
}

// doctors examines the device as it is, and after somebody has broken the boot environment and
// removed the device type.
func doctors(u *unit) {
	if bad := u.doctor(0, "--write-test"); len(bad) > 0 {
		u.fatalf("doctor finds on a healthy device: %q", bad)
	}
	u.env(partA, "0", "0")
	if a := u.run(u.b.sabotage); a.code != 0 {
		u.fatalf("%s: %s", u.b.sabotage, a.stderr)
	}
	u.run("rm /data/mender/device_type")
	bad := u.doctor(1, "")
	for _, check := range []string{"environment", "device-type"} {
		if !slices.Contains(bad, check) {
			u.fatalf("doctor finds %q; %s is missing", bad, check)
		}
	}
	before := u.disk.content()
	u.flipside(1, "install /media/release-2.mender")
	u.untouched(before)
}

// doctor returns what it has a problem with.
func (u *unit) doctor(want int, option string) (bad []string) {
	u.t.Helper()
	a := u.flipside(want, fmt.Sprintf("doctor --json %s", option))
	var d struct {
		Findings []struct{ Check, Level, Text string }
	}
	if err := json.Unmarshal([]byte(a.out), &d); err != nil || len(d.Findings) == 0 {
		u.fatalf("doctor says %q, %v", a.out, err)
	}
	for _, f := range d.Findings {
		if f.Level == "problem" {
			bad = append(bad, f.Check)
		} else if f.Level == "warning" {
			u.t.Logf("doctor: %s: %s", f.Check, f.Text)
		}
	}
	return bad
}
