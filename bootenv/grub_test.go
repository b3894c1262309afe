package bootenv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/bootenv/bootsim"
	"flipside/bootenv/internal/boottest"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
)

const grubSignature = "# GRUB Environment Block\n"

func grubBlock(text string) []byte {
	block := []byte(grubSignature + text)
	return append(block, bytes.Repeat([]byte("#"), 1024-len(block))...)
}

func writeGrubenv(t *testing.T, path, text string) {
	t.Helper()
	writeFile(t, path, grubBlock(text))
}

// TestGrubFileWithTool: a grubenv of its own, changed here and by grub-editenv in turn.
func TestGrubFileWithTool(t *testing.T) {
	editenv := hosttest.Tool(t, "grub-common", "grub-editenv")
	dir := t.TempDir()
	file := dir + "/grubenv"
	run(t, "", editenv, file, "create")
	run(t, "", editenv, file, "set", "theirs=1", `odd=a\b=#`)
	env := openGrub(t, dir, disk.OS{})
	want := bootenv.Vars{"theirs": "1", "odd": `a\b=#`}
	for i, changes := range []bootenv.Vars{
		{"ours": "1", "x": "y z"}, {"ours": ""}, {"ours": "2", "theirs": "3"}, {"odd": ""},
	} {
		write(t, env, changes)
		run(t, "", editenv, file, "set", fmt.Sprintf("step=%d", i))
		want["step"] = fmt.Sprint(i)
		for name, value := range changes {
			if want[name] = value; value == "" {
				delete(want, name)
			}
		}
		wantVars(t, read(t, env), want)
		wantVars(t, printed(run(t, "", editenv, file, "list")), want)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 1024 {
		t.Errorf("the block has %d bytes, %v; want 1024", info.Size(), err)
	}
}

// TestGrubFileOrder: GRUB needs the file's blocks where they are, so no other file takes its place.
func TestGrubFileOrder(t *testing.T) {
	dir := t.TempDir()
	writeGrubenv(t, dir+"/grubenv", "a=1\n")
	d := boottest.ReadDir(t, dir)
	env := openGrub(t, dir, d)
	write(t, env, bootenv.Vars{"a": "1"})
	write(t, env, bootenv.Vars{"a": "2"})
	if want := []string{"write grubenv", "sync grubenv"}; !slices.Equal(d.Log, want) {
		t.Errorf("operations %q; want %q", d.Log, want)
	}
	// With the variables that change in the first sector, and as long as before, it is one write.
	everyPowerCut(t, boottest.ReadDir(t, dir), func(d *boottest.Disk) error {
		return openGrub(t, dir, d).Write(t.Context(), bootenv.Vars{"a": "2"})
	}, func(d *boottest.Disk, done bool) {
		if got := read(t, openGrub(t, dir, d))["a"]; got != "2" && (done || got != "1") {
			t.Errorf("a=%q, done %v", got, done)
		}
	})
}

func TestGrubFileRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		content []byte
		changes bootenv.Vars
		want    error
		text    string
	}{
		"empty file":   {nil, bootenv.Vars{"a": "1"}, bootenv.ErrCorrupt, ""},
		"zeros":        {make([]byte, 1024), bootenv.Vars{"a": "1"}, bootenv.ErrCorrupt, ""},
		"too large":    {grubBlock("a=1\n"), bootenv.Vars{"a": strings.Repeat("x", 1000)}, bootenv.ErrTooLarge, ""},
		"no filling":   {[]byte(grubSignature + "a=1\n"), bootenv.Vars{"b": "2"}, bootenv.ErrTooLarge, ""},
		"half a line":  {grubBlock("a=1\nb=2"), bootenv.Vars{"a": "3"}, nil, "no line"},
		"swallowed":    {grubBlock("junk\n"), bootenv.Vars{"a": "3"}, nil, "hides the changes"},
		"bad name":     {grubBlock(""), bootenv.Vars{"a\nb": "3"}, nil, "name"},
		"much too big": {grubBlock(""), nil, nil, "no file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, dir+"/grubenv", tt.content)
			if tt.changes == nil {
				tt.changes = bootenv.Vars{"a": "1"}
				if err := os.Truncate(dir+"/grubenv", 2<<20); err != nil {
					t.Fatal(err)
				}
			}
			before := hosttest.Read(t, dir+"/grubenv")
			env := openGrub(t, dir, disk.OS{})
			err := env.Write(t.Context(), tt.changes)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Write = %v; want an error, %v, %q", err, tt.want, tt.text)
			}
			if !bytes.Equal(hosttest.Read(t, dir+"/grubenv"), before) {
				t.Error("the refused write has changed something")
			}
			if r := inspect(t, env); len(r.Warnings) == 0 {
				t.Error("Inspect warns of nothing")
			}
		})
	}
}

// grubState is an entry of mender-grubenv/states.json.
type grubState struct {
	State, Description string
	Boots              int
	Tool               string
}

// TestMenderGrubStates writes to, and so repairs, every recorded state of a write that was cut
// short or damaged. What is read before is what GRUB boots, except where GRUB takes good data for
// damaged or the other way round.
func TestMenderGrubStates(t *testing.T) {
	v := boottest.Open(t, vectors)
	better := map[string]int{
		"23-env1-empty-locks-clear": 4,  // GRUB boots A, although B is confirmed
		"17-env1-bad-part":          99, // which partitions there are is not known here
		"18-env-missing-vars":       3,
		"19-bootcount-2":            4, // GRUB rolls back, as the count says that B was tried
		"21-update-second-boot":     4, // the same
	}
	for _, state := range boottest.JSON[[]grubState](t, v, "mender-grubenv/states.json") {
		t.Run(state.State, func(t *testing.T) {
			dir := v.Extract(t, "mender-grubenv/"+state.State)
			env := openGrub(t, dir, disk.OS{})
			vars := read(t, env)
			want := state.Boots
			if part, ok := better[state.State]; ok {
				want = part
			}
			if vars["mender_boot_part"] != fmt.Sprint(want) {
				t.Errorf("%s: mender_boot_part=%s; want %d", state.Description, vars["mender_boot_part"], want)
			}
			if tool := printed(state.Tool); state.Tool != "" && !maps.Equal(vars, tool) {
				// Mender's tool takes the checksums of the locks for the truth, GRUB the locks.
				t.Errorf("variables %q; Mender's tool prints %q", vars, tool)
			}
			before := boottest.ReadDir(t, dir).Files()
			damaged := len(inspect(t, env).Warnings) > 0
			if good := []string{"00-initial", "08-complete", "20-update-first-boot", "21-update-second-boot", "22-committed"}; damaged == slices.Contains(good, state.State) {
				t.Errorf("warnings %q", inspect(t, env).Warnings)
			}
			if !maps.EqualFunc(before, boottest.ReadDir(t, dir).Files(), bytes.Equal) {
				t.Error("Read or Inspect has changed something")
			}

			changes := bootenv.Vars{"mender_boot_part": "4", "mender_boot_part_hex": "4", "upgrade_available": "1", "bootcount": "0"}
			write(t, env, changes)
			maps.Copy(vars, changes)
			checkRepaired(t, dir, vars)
			g := bootsim.GRUB{Dir: dir, PartA: 3, PartB: 4}
			for i, want := range []int{4, 3} { // the trial, then the fallback
				part, log, err := g.Boot(t.Context(), disk.OS{}, func(int) bool { return true })
				if err != nil || part != want || slices.ContainsFunc(log, func(s string) bool { return strings.HasPrefix(s, "error") }) {
					t.Errorf("boot %d after the write: %d, %v, %q; want %d", i+1, part, err, log, want)
				}
			}
		})
	}
}

// checkRepaired: both copies have the variables, clear locks, right checksums and full size.
func checkRepaired(t *testing.T, dir string, vars bootenv.Vars) {
	t.Helper()
	env := openGrub(t, dir, disk.OS{})
	wantVars(t, read(t, env), vars)
	if r := inspect(t, env); len(r.Warnings) > 0 || !r.Copies[0].Current {
		t.Errorf("after a write: %+v", r)
	}
	lock := grubBlock("editing=0\n")
	for _, n := range []string{"1", "2"} {
		sub := filepath.Join(dir, "mender_grubenv"+n)
		block := hosttest.Read(t, sub+"/env")
		if len(block) != 1024 || !bytes.Equal(block, hosttest.Read(t, dir+"/mender_grubenv1/env")) {
			t.Errorf("copy %s has %d bytes or other ones than copy 1", n, len(block))
		}
		if got := hosttest.Read(t, sub+"/lock"); !bytes.Equal(got, lock) {
			t.Errorf("lock %s is %.60q", n, got)
		}
		// The checksum of that lock as Mender's images have it.
		if got := hosttest.Read(t, sub+"/lock.sha256sum"); string(got) != "eba0a3647c8f60f467b15873c9cc87dbac22f928e6e4264f23f1020163498c6e  lock\n" {
			t.Errorf("checksum %s is %q", n, got)
		}
	}
}

// TestMenderGrubResync: writing what one copy says already is no reason to leave the other as a
// trap. State 04 is an abandoned update in copy 2.
func TestMenderGrubResync(t *testing.T) {
	v := boottest.Open(t, vectors)
	dir := v.Extract(t, "mender-grubenv/04-half")
	env := openGrub(t, dir, disk.OS{})
	if err := bootenv.Revert(t.Context(), env, 3); err != nil {
		t.Fatal(err)
	}
	checkRepaired(t, dir, bootenv.Vars{"bootcount": "0", "mender_boot_part": "3", "mender_boot_part_hex": "3", "upgrade_available": "0"})
	d := boottest.ReadDir(t, dir)
	write(t, openGrub(t, dir, d), bootenv.Vars{"upgrade_available": "0"})
	if len(d.Log) > 0 {
		t.Errorf("a write without changes to sound copies has done %q", d.Log)
	}
}

// TestMenderGrubOrder: lock, block, unlock; copy 2 before copy 1; each step synced.
func TestMenderGrubOrder(t *testing.T) {
	v := boottest.Open(t, vectors)
	dir := v.Extract(t, "mender-grubenv/00-initial")
	d := boottest.ReadDir(t, dir)
	write(t, openGrub(t, dir, d), bootenv.Vars{"upgrade_available": "1"})
	step := []string{"write lock", "sync lock", "write env", "sync env", "write lock", "sync lock"}
	if want := append(step, step...); !slices.Equal(d.Log, want) {
		t.Errorf("operations %q; want %q", d.Log, want)
	}
}

// TestMenderGrubPowerCuts writes to every recorded state with the power cut at every change. What
// is read then is old or new, GRUB boots what it would have booted before or the new partition,
// and writing again succeeds.
func TestMenderGrubPowerCuts(t *testing.T) {
	v := boottest.Open(t, vectors)
	for _, state := range boottest.JSON[[]grubState](t, v, "mender-grubenv/states.json") {
		t.Run(state.State, func(t *testing.T) {
			dir := v.Extract(t, "mender-grubenv/"+state.State)
			start := boottest.ReadDir(t, dir)
			old := read(t, openGrub(t, dir, start))
			changes := bootenv.Vars{"mender_boot_part": "4", "mender_boot_part_hex": "4", "upgrade_available": "0", "bootcount": "0", "long": strings.Repeat("x", 600)}
			want := maps.Clone(old)
			maps.Copy(want, changes)
			work := func(d *boottest.Disk) error { return openGrub(t, dir, d).Write(t.Context(), changes) }
			everyPowerCut(t, start, work, func(d *boottest.Disk, done bool) {
				got := read(t, openGrub(t, dir, d))
				if !maps.Equal(got, want) && (done || !maps.Equal(got, old)) {
					t.Fatalf("neither old nor new, done %v: %q", done, got)
				}
				g := bootsim.GRUB{Dir: dir, PartA: 3, PartB: 4}
				rebooted := boottest.NewDisk(d.Files())
				part, log, err := g.Boot(t.Context(), rebooted, func(int) bool { return true })
				if err != nil || part != 4 && (done || part != state.Boots) {
					t.Fatalf("boots %d, %v, %q, done %v; want 4, or %d as before", part, err, log, done, state.Boots)
				}
				if err := work(d); err != nil {
					t.Fatalf("again: %v", err)
				}
				if got := read(t, openGrub(t, dir, d)); got["long"] != want["long"] || got["mender_boot_part"] != "4" {
					t.Fatalf("after writing again: %q", got)
				}
			})
		})
	}
}

func TestMenderGrubBothLost(t *testing.T) {
	v := boottest.Open(t, vectors)
	dir := v.Extract(t, "mender-grubenv/00-initial")
	writeFile(t, dir+"/mender_grubenv1/env", nil)
	writeFile(t, dir+"/mender_grubenv2/env", []byte("garbage"))
	env := openGrub(t, dir, disk.OS{})
	if _, err := env.Read(t.Context()); !errors.Is(err, bootenv.ErrCorrupt) {
		t.Errorf("Read = %v; want ErrCorrupt", err)
	}
	before := boottest.ReadDir(t, dir).Files()
	if err := env.Write(t.Context(), bootenv.Vars{"a": "1"}); !errors.Is(err, bootenv.ErrCorrupt) {
		t.Errorf("Write = %v; want ErrCorrupt", err)
	}
	if !maps.EqualFunc(before, boottest.ReadDir(t, dir).Files(), bytes.Equal) {
		t.Error("the refused write has changed something")
	}
	wantWarning(t, inspect(t, env), bootenv.ErrCorrupt.Error())
}

// TestMenderGrubLostDirectory: each copy has a directory of its own, so that a damaged one takes
// only one copy along.
func TestMenderGrubLostDirectory(t *testing.T) {
	v := boottest.Open(t, vectors)
	for _, lost := range []string{"mender_grubenv1", "mender_grubenv2"} {
		dir := v.Extract(t, "mender-grubenv/22-committed")
		if err := os.RemoveAll(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
		env := openGrub(t, dir, disk.OS{})
		want := read(t, env)
		if want["mender_boot_part"] != "4" {
			t.Errorf("without %s: %q", lost, want)
		}
		write(t, env, bootenv.Vars{"a": "1"})
		want["a"] = "1"
		checkRepaired(t, dir, want)
	}
}

// TestMenderGrubSizes: a file that is too long is cut, a lock with other lines is kept.
func TestMenderGrubSizes(t *testing.T) {
	v := boottest.Open(t, vectors)
	dir := v.Extract(t, "mender-grubenv/00-initial")
	lock := grubBlock("# WARNING: Do not edit this file by tools other than grub-editenv!!!\nediting=0\n")
	writeFile(t, dir+"/mender_grubenv2/lock", lock)
	writeFile(t, dir+"/mender_grubenv2/env", append(grubBlock("old=1\n"), grubBlock("older=1\n")...))
	writeFile(t, dir+"/mender_grubenv2/lock.sha256sum", []byte(strings.Repeat("0", 64)+"  /some/where/else/lock\n"))
	env := openGrub(t, dir, disk.OS{})
	write(t, env, bootenv.Vars{"a": "1"})
	if got := hosttest.Read(t, dir+"/mender_grubenv2/env"); !bytes.Equal(got, hosttest.Read(t, dir+"/mender_grubenv1/env")) {
		t.Errorf("copy 2: %d bytes", len(got))
	}
	if got := hosttest.Read(t, dir+"/mender_grubenv2/lock"); !bytes.Equal(got, lock) {
		t.Errorf("lock 2: %.100q", got)
	}
	if r := inspect(t, env); len(r.Warnings) > 0 {
		t.Errorf("warnings %q", r.Warnings)
	}
	if got := hosttest.Read(t, dir+"/mender_grubenv2/lock.sha256sum"); !strings.HasSuffix(string(got), "  lock\n") || len(got) != 71 {
		t.Errorf("checksum %q", got)
	}
	if err := env.Write(t.Context(), bootenv.Vars{"a": strings.Repeat("x", 1000)}); !errors.Is(err, bootenv.ErrTooLarge) {
		t.Errorf("Write = %v; want ErrTooLarge", err)
	}
}
