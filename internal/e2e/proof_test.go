package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// fault is what a build that is broken on purpose does wrong.
type fault struct {
	name, what string
	board      string                                   // the only one that can have it; "" is all
	file       string                                   // of the source
	edits      [][2]string                              // what is replaced by what
	want       []error                                  // one of these is found
	near       func(b *board, content *blob) [][2]int64 // the parts of the disk whose writes are in the wrong place
	after      int                                      // and how many epochs after them are dangerous, too
	overlay    string                                   // for go build
}

func slotA(b *board, _ *blob) [][2]int64 {
	return [][2]int64{{b.slotStart(partA), b.slotStart(partB)}}
}

// environment is where the variables are. In the file system of GRUB's they are found by what is in
// front of them.
func environment(b *board, content *blob) (areas [][2]int64) {
	if b.name == "uboot" {
		return [][2]int64{{ubootCopy0, ubootCopy0 + ubootEnvBytes}, {ubootCopy1, ubootCopy1 + ubootEnvBytes}}
	}
	block := make([]byte, sectorBytes)
	for at := int64(bootStart); at < bootStart+bootBytes; at += sectorBytes {
		content.readAt(block, at)
		if bytes.HasPrefix(block, grubBlock("bootcount=")[:30]) {
			areas = append(areas, [2]int64{at, at + 2*sectorBytes})
		}
	}
	return areas
}

// faults are each an order of writing that flipside promises, turned around.
var faults = []fault{
	{
		name: "flags-first", what: "the flags before the image",
		want: []error{errIncomplete, errNoBoot}, near: slotA, // half a kernel hangs
		file: "internal/slot/rootfs.go",
		edits: [][2]string{{
			"	if err := r.write(ctx, pair.Inactive(), p, f); err != nil {",
			"	if err := bootenv.Try(ctx, r.c.Env, r.memory.Part); err != nil {\n\t\treturn err\n\t}\n" +
				"	if err := r.write(ctx, pair.Inactive(), p, f); err != nil {",
		}},
	},
	{
		name: "act-first", what: "the journal after the act",
		want: []error{errTrialLeft, errProvides, errNoEnd}, near: environment, after: 2,
		file: "install/install.go",
		edits: [][2]string{
			{"	if err := x.Enter(deployment.Installing); err != nil {\n\t\treturn abandon(ctx, x, err)\n\t}\n", ""},
			{
				"	reboot, err := x.Handler.NeedsReboot(ctx)\n",
				"	if err := x.Enter(deployment.Installing); err != nil {\n\t\treturn abandon(ctx, x, err)\n\t}\n\treboot, err := x.Handler.NeedsReboot(ctx)\n",
			},
		},
	},
	{
		name: "wrong-copy", what: "the current copy of U-Boot's environment written first",
		want: []error{errProvides, errIncomplete}, near: environment,
		board: "uboot", file: "bootenv/uboot.go",
		edits: [][2]string{
			{"	old, target := copies[i], copies[len(copies)-1-i]\n	if !changed", "	old, target := copies[i], copies[i]\n	if !changed"},
			{"	redundant := target != old\n", "	redundant := len(copies) == 2\n"},
			{"		if err := target.medium.isolated(old.medium); err != nil {\n			return err", "		if err := target.medium.isolated(copies[1-i].medium); err != nil {\n			return err"},
		},
	},
	{
		name: "open-lock", what: "GRUB's environment written outside of its lock",
		want: []error{errProvides, errIncomplete, errTrialLeft}, near: environment,
		board: "grub", file: "bootenv/mendergrubcopy.go",
		edits: [][2]string{
			{"	if err := c.put(\"env\", data); err != nil {\n\t\treturn err\n\t}\n", ""},
			{"	return c.setEditing(\"0\")\n", "	if err := c.setEditing(\"0\"); err != nil {\n\t\treturn err\n\t}\n\treturn c.put(\"env\", data)\n"},
		},
	},
}

// faultsOf are those that b can have, with overlays for go build.
func faultsOf(t *testing.T, b *board) []fault {
	t.Helper()
	root, err := filepath.Abs("../..")
	must(t, err)
	list := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.board != "" && f.board != b.name })
	for i := range list {
		f := &list[i]
		path := filepath.Join(root, f.file)
		source := string(hosttest.Read(t, path))
		for _, edit := range f.edits {
			if n := strings.Count(source, edit[0]); n != 1 {
				t.Fatalf("%s has this %d times; the edit that makes %s needs it once:\n%s", f.file, n, f.what, edit[0])
			}
			source = strings.Replace(source, edit[0], edit[1], 1)
		}
		broken := filepath.Join(t.TempDir(), filepath.Base(path))
		must(t, os.WriteFile(broken, []byte(source), 0o600))
		text, err := json.Marshal(map[string]map[string]string{"Replace": {path: broken}})
		must(t, err)
		f.overlay = filepath.Join(t.TempDir(), "overlay.json")
		must(t, os.WriteFile(f.overlay, text, 0o600))
	}
	return list
}

func putProgram(t *testing.T, to, from string) {
	t.Helper()
	must(t, os.WriteFile(to, hosttest.Read(t, from), 0o755))
}

// proves makes sure that f is found: in an installation by a build that has it, and otherwise like
// all cuts.
func (l *lab) proves(f fault, random *rand.Rand) {
	l.t.Helper()
	u := l.unit(l.updated.clone())
	u.boots(u.power(), partB, release(2))
	u.disk.record()
	u.disk.setPhase("install")
	a := u.run("/media/" + f.name + " install /media/release-3.mender")
	u.kill()
	r := u.disk.recording()
	epochs := r.near(f.near(l.b, r.start), f.after)
	if len(epochs) == 0 {
		l.t.Fatalf("%s did not write what it should: exit code %d: %s", f.name, a.code, a.stderr)
	}
	const tries, draws = 60, 2000
	seen := map[[sha256.Size]byte]bool{} // one disk need not be booted twice
	for draw := 0; draw < draws && len(seen) < tries; draw++ {
		if draw%len(epochs) == 0 {
			random.Shuffle(len(epochs), func(a, b int) { epochs[a], epochs[b] = epochs[b], epochs[a] })
		}
		at := r.within(epochs[draw%len(epochs)], random)
		content := r.cut(at.event, random)
		changes := content.changes()
		if seen[changes] {
			continue
		}
		seen[changes] = true
		if _, err := l.recover(content, random.IntN(len(persons))); err != nil {
			if !slices.ContainsFunc(f.want, func(want error) bool { return errors.Is(err, want) }) {
				l.t.Fatalf("a build that has %s, cut %d, %s: %v; want one of %q", f.what, len(seen), at, err, f.want)
			}
			l.t.Logf("%s: found with cut %d, %s: %s", f.what, len(seen), at, strings.SplitN(err.Error(), "\n", 2)[0])
			return
		}
	}
	l.t.Errorf("a build that has %s went unnoticed through %d power cuts", f.what, len(seen))
}
