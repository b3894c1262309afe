package e2e_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flipside/internal/device"
	"flipside/internal/hosttest"
)

var (
	cuts  = flag.Int("cuts", 30, "how often the power is cut, on each board")
	limit = flag.Duration("for", 0, "begin no more cuts after that time; 0 is without a limit")
	seed  = flag.Uint64("seed", 0, "of the power cuts; 0 is another one each time")
)

func boards() []*board { return []*board{grubBoard(), ubootBoard()} }

// built is the program as it is, for b.
func built(t *testing.T, b *board) string { return buildWith(t, b, "") }

// buildWith builds the program with an overlay of go build, or "".
func buildWith(t *testing.T, b *board, overlay string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "flipside")
	args := []string{"build", "-trimpath", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w", "-o", path}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(within(t, patience), "go", append(args, "flipside")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+b.arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// unit is one virtual device, with the images that it may have.
type unit struct {
	t       *testing.T
	b       *board
	disk    *disk
	medium  string
	shelf   *shelf // what it is from
	more    []string
	images  []image
	console *console
	*machine
	before []*machine // up to this one
	now    up
}

// media packs a directory as a disk for the guest, which mounts it on /media.
func media(t *testing.T, dir string) string {
	t.Helper()
	size := int64(4 * mib)
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		size += info.Size() + info.Size()/64
	}
	path := filepath.Join(t.TempDir(), "media.img")
	hosttest.Run(t, "e2fsprogs", "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0", "-O", "^has_journal", "-d", dir, path, fmt.Sprint(size/1024))
	return path
}

// maxResets is more often than any bootloader here has to reset.
const maxResets = 4

// power powers the unit up and waits for a system, over as many resets as it takes.
func (u *unit) power() up {
	u.t.Helper()
	if err := u.tryPower(); err != nil {
		u.fatalf("%v", err)
	}
	return u.now
}

func (u *unit) tryPower() error {
	u.t.Helper()
	for range maxResets {
		u.machine = u.b.start(u.t, u.disk, u.console, u.medium, u.more...)
		u.before = append(u.before, u.machine)
		now, err := u.waitUp()
		if errors.Is(err, errReset) {
			u.kill()
			continue
		}
		if err != nil {
			return err
		}
		u.now = now
		return u.mountMedia()
	}
	return errors.New("it resets and resets")
}

// spent switches the unit off, and returns the CPU time that its QEMUs took.
func (u *unit) spent() (cpu time.Duration) {
	for _, m := range u.before {
		m.kill()
		cpu += m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime()
	}
	return cpu
}

// tells lets a unit live through a story, and says what that took.
func (u *unit) tells(story func(*unit)) {
	u.t.Helper()
	began := time.Now()
	u.boots(u.power(), partA, release(1))
	story(u)
	u.t.Logf("%5.1f s, %5.1f s of CPU", time.Since(began).Seconds(), u.spent().Seconds())
}

func (u *unit) mountMedia() error {
	if u.medium == "" {
		return nil
	}
	a, err := u.try("mount -t ext4 -o ro /dev/vdb /media")
	if err == nil && a.code != 0 {
		err = fmt.Errorf("mounting /media: %s", a.stderr)
	}
	return err
}

// reboot shuts the guest down in order, and waits for what comes up then.
func (u *unit) reboot() up {
	u.t.Helper()
	if err := u.shutDown(); err != nil {
		u.fatalf("%v", err)
	}
	return u.power()
}

func (u *unit) shutDown() error {
	if err := u.send("reboot"); err != nil {
		return err
	}
	select {
	case <-u.dead:
	case <-time.After(patience):
		return errors.New("it does not reboot")
	}
	u.kill()
	return nil
}

// boots checks what came up.
func (u *unit) boots(got up, part int, release string) {
	u.t.Helper()
	if want := (up{part, release}); got != want {
		u.fatalf("%+v came up; want %+v", got, want)
	}
	u.complete(u.disk.content(), part, release)
}

// complete makes sure that a slot holds a release, to the last bit.
func (u *unit) complete(content *blob, part int, release string) {
	u.t.Helper()
	if got := u.holds(content, part); got != release {
		u.fatalf("partition %d holds %q; want %s", part, got, release)
	}
}

// holds is the release that is complete in a slot, or "".
func (u *unit) holds(content *blob, part int) string {
	for _, i := range u.images {
		if sha256.Sum256(content.bytes(u.b.slotStart(part), i.size)) == i.sum {
			return i.release
		}
	}
	return ""
}

// sum is a checksum of a slot.
func (b *blob) sum(on *board, part int) [sha256.Size]byte {
	return sha256.Sum256(b.bytes(on.slotStart(part), on.slotSize()))
}

// flipside runs the program in the guest and expects an exit code.
func (u *unit) flipside(want int, args string) answer {
	u.t.Helper()
	a := u.run("flipside " + args)
	if a.code != want {
		u.fatalf("flipside %s: exit code %d; want %d\n%s%s", args, a.code, want, a.out, a.stderr)
	}
	return a
}

// says is flipside with something that has to be in what it prints.
func (u *unit) says(want int, args, text string) {
	u.t.Helper()
	a := u.flipside(want, args)
	if !strings.Contains(a.out+a.stderr, text) {
		u.fatalf("flipside %s: %q is missing in\n%s%s", args, text, a.out, a.stderr)
	}
}

func (u *unit) status() device.Status {
	u.t.Helper()
	s, err := u.askStatus()
	if err != nil {
		u.fatalf("%v", err)
	}
	return s
}

func (u *unit) askStatus() (s device.Status, err error) {
	a, err := u.try("flipside status --json")
	if err != nil {
		return s, err
	}
	if a.code != 0 {
		return s, fmt.Errorf("status: exit code %d: %s", a.code, a.stderr)
	}
	return s, json.Unmarshal([]byte(a.out), &s)
}

// env checks the boot environment, with tools that are not ours.
func (u *unit) env(part int, trial, count string) {
	u.t.Helper()
	vars := u.b.vars(u.t, u.disk.content())
	got := fmt.Sprintf("part %s, trial %s, count %s", vars["mender_boot_part"], vars["upgrade_available"], vars["bootcount"])
	if want := fmt.Sprintf("part %d, trial %s, count %s", part, trial, count); got != want {
		u.fatalf("boot environment: %s; want %s", got, want)
	}
}

// provides checks what the device says that it has.
func (u *unit) provides(release string) {
	u.t.Helper()
	if got := strings.TrimSpace(u.flipside(0, "show-artifact").out); got != release {
		u.fatalf("show-artifact: %s; want %s", got, release)
	}
}

// idle makes sure that nothing is left of an update.
func (u *unit) idle(part int, release string) {
	u.t.Helper()
	s := u.status()
	if s.Deployment != nil || s.Bootloader.Trial || s.Bootloader.NextPart != part || s.Artifact != release {
		u.fatalf("status %+v; want partition %d with %s and nothing in progress", s, part, release)
	}
	u.provides(release)
}

// ends is the rest of an update that was installed.
func (u *unit) ends(part int, release string) {
	u.t.Helper()
	u.env(part, "1", "0")
	u.boots(u.reboot(), part, release)
	u.env(part, "1", "1")
	u.flipside(0, "commit")
	u.env(part, "0", "1")
	u.idle(part, release)
}
