package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
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
					began := time.Now()
					story.tell(s.device(t))
					t.Logf("%5.1f s  %s", time.Since(began).Seconds(), story.name)
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
	u.idle(partB, release(2))
}

// fellBack is what a device says whose update did not come up, and how that ends.
func fellBack(u *unit) {
	u.t.Helper()
	u.provides(release(1))
	u.says(9, "commit", "fell back")
	u.flipside(0, "rollback")
	u.idle(partA, release(1))
}

func neverCommitted(u *unit) {
	u.flipside(0, "install /media/release-2.mender")
	u.boots(u.reboot(), partB, release(2))
	u.boots(u.reboot(), partA, release(1))
	if vars := u.b.vars(u.t, u.disk.content()); vars["upgrade_available"] != "0" || vars["mender_boot_part"] != "2" {
		u.fatalf("boot environment %v; want that of a fallback", vars)
	}
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
		if got, want := u.disk.content().sum(u.b, partB), before.sum(u.b, partB); got != want {
			u.fatalf("flipside %s: the inactive slot was written", args)
		}
	}
	u.flipside(0, "install --key /media/right.pub /media/signed.mender")
	u.boots(u.reboot(), partB, release(2))
	u.flipside(0, "commit")
	u.idle(partB, release(2))
}

func (u *unit) file(path, want string) {
	u.t.Helper()
	if a := u.run("cat " + path); a.out != want {
		u.fatalf("%s is %q; want %q", path, a.out, want)
	}
}

func moduleUpdate(u *unit) {
	u.flipside(4, "install --reboot-exit-code /media/app-2.mender")
	u.env(partA, "0", "0")
	u.file("/data/app", "app 2\n")
	u.boots(u.reboot(), partA, release(1))
	u.flipside(0, "commit")
	u.file("/data/app", "app 2\n")
	u.idle(partA, "app-2")
}

func moduleRollback(u *unit) {
	u.flipside(0, "install /media/app-2.mender")
	u.boots(u.reboot(), partA, release(1))
	u.file("/data/app", "app 2\n")
	u.flipside(0, "rollback")
	u.file("/data/app", "app 1\n")
	u.idle(partA, release(1))
}

func stateScripts(u *unit) {
	u.flipside(0, "install /media/scripts.mender")
	u.boots(u.reboot(), partB, release(2))
	u.flipside(0, "commit")
	u.idle(partB, release(2))
	var want []string
	for _, line := range []string{
		"Download_Enter_00_say in release-1", "Download_Leave_00_say in release-1",
		"ArtifactInstall_Enter_00 in release-1", "ArtifactInstall_Leave_00 in release-1",
		"ArtifactCommit_Enter_00 in release-2", "ArtifactCommit_Leave_00 in release-2",
	} {
		want = append(want, line+"\n")
	}
	u.file("/data/ran", strings.Join(want, ""))
}

// terminals installs on the serial console, as a person at it would.
func terminals(u *unit) {
	for _, term := range []string{"dumb", "vt100"} {
		mark := u.console.mark()
		a := u.run("stty -F /dev/console 115200; TERM=" + term + " flipside install /media/release-2.mender </dev/console >/dev/console 2>&1")
		if a.code != 0 {
			u.fatalf("exit code %d", a.code)
		}
		u.readable(term, u.console.since(mark))
		u.flipside(0, "rollback")
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
		for _, frame := range strings.Split(line, "\r") {
			if len([]rune(frame)) > 80 {
				u.fatalf("TERM=%s: %q does not fit", term, frame)
			}
		}
		redrawn = redrawn || strings.Contains(line, "\r")
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
	u.flipside(1, "install /media/release-2.mender")
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
