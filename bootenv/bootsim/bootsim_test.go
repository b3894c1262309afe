package bootsim_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/bootenv/bootsim"
	"flipside/bootenv/internal/boottest"
	"flipside/bootenv/internal/grubenv"
	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/disk"
)

const vectors = "../testdata/vectors.zip"

func always(int) bool { return true }

// traced is a step of uboot/mender-trace/trace.json. Its images hold two copies of 16 KiB.
type traced struct {
	File, Step, UBoot string
}

// TestUBootTrace boots from each recorded state that a recorded boot began with, and compares what
// is stored afterwards with what the real U-Boot stored.
func TestUBootTrace(t *testing.T) {
	v := boottest.Open(t, vectors)
	steps := boottest.JSON[[]traced](t, v, "uboot/mender-trace/trace.json")
	boots := 0
	for i, step := range steps {
		// The first boot was recorded without booting: U-Boot was told to run a script only.
		if step.UBoot == "" || i == 0 || strings.Contains(step.UBoot, "default environment") {
			continue
		}
		boots++
		t.Run(step.File, func(t *testing.T) {
			u := ubootOn(t, v.File(t, "uboot/mender-trace/"+steps[i-1].File))
			badKernel := 0
			if strings.Contains(step.UBoot, "BADLOAD") {
				badKernel = u.PartB
			}
			part, log, err := u.Boot(t.Context(), disk.OS{}, func(part int) bool { return part != badKernel })
			if err != nil {
				t.Fatalf("Boot = %v; log %q", err, log)
			}
			if want := "kernel_root=/dev/mmcblk0p" + map[int]string{2: "2", 10: "10"}[part] + " "; !strings.Contains(step.UBoot, want) {
				t.Errorf("booted %d; U-Boot printed %q", part, step.UBoot)
			}
			got, want := images(t, u), v.File(t, "uboot/mender-trace/"+step.File)
			for copy := range 2 {
				comparable(t, copy, got[copy*0x4000:][:0x4000], want[copy*0x4000:][:0x4000])
			}
		})
	}
	if boots != 11 {
		t.Errorf("%d recorded boots were compared; want 11", boots)
	}
}

// ubootOn is a U-Boot on a file with two copies.
func ubootOn(t *testing.T, data []byte) bootsim.UBoot {
	t.Helper()
	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	config := filepath.Join(dir, "fw_env.config")
	if err := errors.Join(
		os.WriteFile(env, data, 0o600),
		os.WriteFile(config, []byte(env+" 0x0 0x4000\n"+env+" 0x4000 0x4000\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return bootsim.UBoot{Config: config, PartA: 2, PartB: 10}
}

func images(t *testing.T, u bootsim.UBoot) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(u.Config), "env"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// comparable compares two copies, but not their padding.
func comparable(t *testing.T, copy int, got, want []byte) {
	t.Helper()
	g, gotErr := ubootenv.Decode(got, true)
	w, wantErr := ubootenv.Decode(want, true)
	if (gotErr == nil) != (wantErr == nil) || g.Flags != w.Flags || !maps.Equal(g.Vars(), w.Vars()) {
		t.Errorf("copy %d: flags %d, %v, %v; U-Boot left flags %d, %v, %v", copy, g.Flags, gotErr, g.Vars(), w.Flags, wantErr, w.Vars())
	}
	if gotErr == nil && wantErr == nil && !slices.Equal(g.Entries, w.Entries) {
		t.Errorf("copy %d: entries %q; U-Boot stored %q", copy, g.Entries, w.Entries)
	}
}

func TestUBootFirstBoot(t *testing.T) {
	u := ubootOn(t, make([]byte, 0x8000))
	part, log, err := u.Boot(t.Context(), disk.OS{}, always)
	if err != nil || part != 2 {
		t.Fatalf("Boot = %d, %v; want 2", part, err)
	}
	if !slices.Contains(log, "*** Warning - bad CRC, using default environment") {
		t.Errorf("log %q", log)
	}
	// As recorded: copy 0 with flags 1, copy 1 untouched, and the canary set.
	first, err := ubootenv.Decode(images(t, u)[:0x4000], true)
	if err != nil || first.Flags != 1 || first.Vars()["mender_saveenv_canary"] != "1" {
		t.Errorf("copy 0: %+v, %v", first, err)
	}
	if _, err := ubootenv.Decode(images(t, u)[0x4000:], true); !errors.Is(err, ubootenv.ErrNever) {
		t.Errorf("copy 1: %v; want that it was never written", err)
	}
}

func ubootWith(t *testing.T, entries ...string) bootsim.UBoot {
	t.Helper()
	data, err := ubootenv.Image{Entries: entries, Flags: 1}.Encode(0x4000, true)
	if err != nil {
		t.Fatal(err)
	}
	return ubootOn(t, append(data, make([]byte, 0x4000)...))
}

func TestUBootStops(t *testing.T) {
	trial := []string{"mender_boot_part=10", "upgrade_available=1", "bootcount=1", "mender_saveenv_canary=1", "bootcmd=x"}
	for _, tt := range []struct {
		name    string
		entries []string
		boots   func(int) bool
		want    error
	}{
		{"no trial, no kernel", []string{"mender_boot_part=2", "upgrade_available=0", "mender_saveenv_canary=1"}, func(int) bool { return false }, bootsim.ErrPrompt},
		{"no altbootcmd", append(trial, "bootlimit=1"), always, bootsim.ErrPrompt},
		{"neither kernel", append(trial, "bootlimit=1", "altbootcmd=run mender_altbootcmd"), func(int) bool { return false }, bootsim.ErrPrompt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := ubootWith(t, tt.entries...)
			if part, log, err := u.Boot(t.Context(), disk.OS{}, tt.boots); !errors.Is(err, tt.want) {
				t.Errorf("Boot = %d, %v; want %v; log %q", part, err, tt.want, log)
			}
		})
	}
	t.Run("a trial without a limit", func(t *testing.T) {
		u := ubootWith(t, trial...)
		if part, _, err := u.Boot(t.Context(), disk.OS{}, func(int) bool { return false }); err == nil {
			t.Errorf("Boot = %d; want an error", part)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		u := ubootWith(t, trial...)
		if _, _, err := u.Boot(ctx, disk.OS{}, always); !errors.Is(err, context.Canceled) {
			t.Errorf("Boot = %v; want context.Canceled", err)
		}
	})
}

func TestUBootBackslashes(t *testing.T) {
	u := ubootWith(t, `x=a\\b`, `y=a\b`, "mender_boot_part=2", "upgrade_available=0")
	if _, _, err := u.Boot(t.Context(), disk.OS{}, always); err != nil {
		t.Fatal(err)
	}
	second, err := ubootenv.Decode(images(t, u)[0x4000:], true) // saved for the canary
	if err != nil || second.Vars()["x"] != `a\\b` || second.Vars()["y"] != "ab" {
		t.Errorf("saved %q, %v", second.Vars(), err)
	}
}

// state is an entry of mender-grubenv/states.json.
type state struct {
	State, Description string
	Boots              int
	Messages           []string
	After              map[string]string
}

func TestGRUBStates(t *testing.T) {
	v := boottest.Open(t, vectors)
	for _, want := range boottest.JSON[[]state](t, v, "mender-grubenv/states.json") {
		t.Run(want.State, func(t *testing.T) {
			dir := v.Extract(t, "mender-grubenv/"+want.State)
			g := bootsim.GRUB{Dir: dir, PartA: 3, PartB: 4}
			part, log, err := g.Boot(t.Context(), disk.OS{}, always)
			if err != nil || part != want.Boots {
				t.Errorf("%s: Boot = %d, %v; GRUB boots %d", want.Description, part, err, want.Boots)
			}
			if got, want := errorsOf(log), errorsOf(want.Messages); !slices.Equal(got, want) {
				t.Errorf("log %q; GRUB printed %q", got, want)
			}
			for name, after := range want.After {
				if got := describe(t, filepath.Join(dir, name)); got != after {
					t.Errorf("%s: %q; GRUB left %q", name, got, after)
				}
			}
		})
	}
}

// errorsOf picks the messages that are about the environment and the same everywhere.
func errorsOf(log []string) (list []string) {
	for _, line := range log {
		switch {
		case line == "error: invalid environment block.", line == "Booting new update...", line == "Rolling back...":
			list = append(list, line)
		case strings.HasPrefix(line, "The environment is corrupt."):
			list = append(list, "corrupt")
		}
	}
	return list
}

// describe is how the states are recorded: the variables in the order of the file.
func describe(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grubenv.Parse(data); err != nil {
		return "<invalid, " + map[int]string{0: "0", 1024: "1024"}[len(data)] + " bytes>"
	}
	_, body, _ := strings.Cut(string(data), "\n")
	lines := strings.Split(strings.TrimRight(body, "#\n"), "\n")
	return strings.Join(lines, " ")
}

func TestGRUBTrialFails(t *testing.T) {
	v := boottest.Open(t, vectors)
	g := bootsim.GRUB{Dir: v.Extract(t, "mender-grubenv/20-update-first-boot"), PartA: 3, PartB: 4}
	part, log, err := g.Boot(t.Context(), disk.OS{}, func(part int) bool { return part == 3 })
	if err != nil || part != 3 {
		t.Errorf("Boot = %d, %v; want the fallback to 3; log %q", part, err, log)
	}
	if _, _, err := g.Boot(t.Context(), disk.OS{}, func(int) bool { return false }); !errors.Is(err, bootsim.ErrPrompt) {
		t.Errorf("Boot without a kernel = %v; want ErrPrompt", err)
	}
}
