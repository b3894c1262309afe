package slot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"flipside/internal/hosttest"
	"flipside/internal/slot"
)

// TestOthersStayCached: an image that is larger than all memory is written and read back, and a file
// that somebody else has read is in the page cache afterwards as before. A control group of the kernel
// makes the memory small; in it, a child process writes.
func TestOthersStayCached(t *testing.T) {
	if os.Getenv("FLIPSIDE_FLOOD") != "" {
		flood(t)
		return
	}
	c, _ := loops(t, 256*mib, "--direct-io=on")
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, noise(8*mib, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"direct", "cached"} {
		t.Run(how, func(t *testing.T) {
			group := memoryGroup(t, 96*mib)
			child := exec.Command("sh", "-c", `echo $$ >"$1" && shift && exec "$@"`, "sh", filepath.Join(group, "cgroup.procs"),
				os.Args[0], "-test.run=^TestOthersStayCached$", "-test.v")
			child.Env = append(os.Environ(), "FLIPSIDE_FLOOD="+how, "FLIPSIDE_FILE="+other, "FLIPSIDE_A="+c.PartA, "FLIPSIDE_B="+c.PartB, "FLIPSIDE_ROOT="+c.Root)
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// flood is what the child does.
func flood(t *testing.T) {
	other := os.Getenv("FLIPSIDE_FILE")
	drop(t, other)
	if _, err := os.ReadFile(other); err != nil { // once: the kernel drops such pages first
		t.Fatal(err)
	}
	before := residentPages(t, other, 8*mib)
	c := slot.Config{PartA: os.Getenv("FLIPSIDE_A"), PartB: os.Getenv("FLIPSIDE_B"), Root: os.Getenv("FLIPSIDE_ROOT")}
	access := slot.Access{Config: c, FS: &opens{buffered: os.Getenv("FLIPSIDE_FLOOD") == "cached"}}
	target, err := slot.Open(access, find(t, c).Inactive())
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for range 2 { // the second time it is only read, and compared
		if _, err := target.WriteAndReadBack(t.Context(), blocks{repeat(noise(mib, 2), 256)}, 256*mib); err != nil {
			t.Fatal(err)
		}
	}
	if after := residentPages(t, other, 8*mib); before < 8*mib/os.Getpagesize() || after < before*9/10 {
		t.Errorf("of %d pages of another file %d are left in the page cache", before, after)
	}
}

// drop makes the page cache forget a file, whoever has read it.
func drop(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// memoryGroup makes a control group, version 1 or 2, for that many bytes of memory.
func memoryGroup(t *testing.T, limit int64) string {
	t.Helper()
	name := fmt.Sprintf("flipside-test-%d", os.Getpid())
	for _, place := range [][2]string{{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}} {
		group := filepath.Join(place[0], name)
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(group); err != nil {
				t.Error(err)
			}
		})
		if err := os.WriteFile(filepath.Join(group, place[1]), []byte(strconv.FormatInt(limit, 10)), 0o644); err == nil {
			return group
		}
	}
	hosttest.Lacks(t, "this test needs control groups for memory")
	return ""
}
