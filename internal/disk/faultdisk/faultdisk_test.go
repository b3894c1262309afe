package faultdisk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"flipside/internal/atomicfile"
	"flipside/internal/disk"
	"flipside/internal/disk/faultdisk"
)

func newDisk(t *testing.T, dirs ...string) *faultdisk.FS {
	t.Helper()
	d, err := faultdisk.New(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, name string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(name, content, 0o640))
}

// content is what a file has; "" if there is none.
func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

// list names everything below dir.
func list(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	return strings.Join(names, " ")
}

func open(t *testing.T, d *faultdisk.FS, name string, flag int) disk.File {
	t.Helper()
	f, err := d.OpenFile(name, flag, 0o600)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func settle(t *testing.T, d *faultdisk.FS, seed uint64) []string {
	t.Helper()
	lost, err := d.Settle(seed)
	must(t, err)
	return lost
}

const sector = 512

// outcomes runs work on a fresh directory and settles, with many seeds, and returns how often each
// result came.
func outcomes(t *testing.T, prepare func(dir string), work func(d *faultdisk.FS, dir string), result func(dir string) string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(200) {
		dir := faultdisk.TempDir(t)
		prepare(dir)
		d := newDisk(t, dir)
		work(d, dir)
		settle(t, d, seed)
		seen[result(dir)]++
	}
	return seen
}

// only fails unless exactly the wanted results came.
func only(t *testing.T, seen map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never left %q", w)
		}
	}
	for got, n := range seen {
		if !slices.Contains(want, got) {
			t.Errorf("left %q, %d times; want only %q", got, n, want)
		}
	}
}

func TestUnsyncedSectorsAreLostOneByOne(t *testing.T) {
	old, fresh := bytes.Repeat([]byte("o"), sector), bytes.Repeat([]byte("n"), sector)
	first := func(data string) (word string) {
		for i := 0; i < len(data); i += sector {
			end := min(i+sector, len(data))
			if strings.Trim(data[i:end], data[i:i+1]) != "" {
				return "a torn sector"
			}
			word += data[i : i+1]
		}
		return word
	}
	seen := outcomes(t,
		func(dir string) { put(t, dir+"/f", bytes.Repeat(old, 3)) },
		func(d *faultdisk.FS, dir string) {
			_, err := open(t, d, dir+"/f", os.O_RDWR).WriteAt(bytes.Repeat(fresh, 3), 0)
			must(t, err)
		},
		func(dir string) string { return first(content(t, dir+"/f")) })
	only(t, seen, "ooo", "oon", "ono", "onn", "noo", "non", "nno", "nnn")
}

func TestSyncedStays(t *testing.T) {
	for seed := range uint64(200) {
		dir := faultdisk.TempDir(t)
		put(t, dir+"/f", make([]byte, 10*sector))
		d := newDisk(t, dir)
		f := open(t, d, dir+"/f", os.O_RDWR)
		g := open(t, d, dir+"/g", os.O_RDWR|os.O_CREATE)
		want := bytes.Repeat([]byte("0123456789abcdef"), 300)
		for i, part := range []disk.File{f, g} {
			_, err := part.WriteAt(want, int64(100*i))
			must(t, err)
			must(t, part.Sync())
		}
		must(t, d.SyncDir(dir))
		// What comes later may be lost, but does no harm to the rest.
		_, err := f.WriteAt([]byte("later"), 9*sector+100)
		must(t, err)
		settle(t, d, seed)
		if got := content(t, dir+"/f"); !strings.HasPrefix(got, string(want[:9*sector])) || len(got) != 10*sector {
			t.Fatalf("seed %d: a synced overwrite was lost", seed)
		}
		if got := content(t, dir+"/g"); got != string(make([]byte, 100))+string(want) {
			t.Fatalf("seed %d: a synced new file has %d bytes", seed, len(got))
		}
	}
}

func TestUnsyncedGrowth(t *testing.T) {
	seen := outcomes(t,
		func(dir string) { put(t, dir+"/f", []byte("ab")) },
		func(d *faultdisk.FS, dir string) {
			f := open(t, d, dir+"/f", os.O_WRONLY|os.O_APPEND)
			for _, s := range []string{"cd", "ef"} {
				_, err := f.Write([]byte(s))
				must(t, err)
			}
		},
		func(dir string) string { return strings.ReplaceAll(content(t, dir+"/f"), "\x00", "-") })
	only(t, seen, "ab", "abcd", "abcdef", "ab--", "ab----")
}

func TestTruncationIsLostWithWhatFollows(t *testing.T) {
	seen := outcomes(t,
		func(dir string) { put(t, dir+"/f", []byte("long ago")) },
		func(d *faultdisk.FS, dir string) {
			f := open(t, d, dir+"/f", os.O_WRONLY|os.O_TRUNC)
			_, err := f.Write([]byte("new"))
			must(t, err)
		},
		func(dir string) string { return strings.ReplaceAll(content(t, dir+"/f"), "\x00", "-") })
	only(t, seen, "long ago", "", "new", "---")

	seen = outcomes(t,
		func(dir string) { put(t, dir+"/f", []byte("long ago")) },
		func(d *faultdisk.FS, dir string) {
			f := open(t, d, dir+"/f", os.O_WRONLY)
			must(t, f.Truncate(4))
			must(t, f.Sync())
			must(t, f.Truncate(6))
		},
		func(dir string) string { return strings.ReplaceAll(content(t, dir+"/f"), "\x00", "-") })
	only(t, seen, "long", "long--")
}

func TestNamesKeepTheirOrder(t *testing.T) {
	seen := outcomes(t,
		func(dir string) { put(t, dir+"/a", []byte("a")) },
		func(d *faultdisk.FS, dir string) {
			must(t, d.Mkdir(dir+"/b", 0o700))
			must(t, d.Rename(dir+"/a", dir+"/c"))
			must(t, d.Remove(dir+"/c"))
		},
		func(dir string) string { return list(t, dir) })
	only(t, seen, "a", "a b", "b c", "b")
}

func TestReplacedFileComesBack(t *testing.T) {
	seen := outcomes(t,
		func(dir string) {
			put(t, dir+"/f", []byte("old"))
			must(t, os.Chmod(dir+"/f", 0o751))
		},
		func(d *faultdisk.FS, dir string) {
			must(t, atomicfile.Write(d, dir+"/f", []byte("new"), 0o600))
			must(t, d.Remove(dir+"/f"))
			f := open(t, d, dir+"/f", os.O_WRONLY|os.O_CREATE)
			_, err := f.Write([]byte("newest"))
			must(t, err)
			must(t, f.Sync())
		},
		func(dir string) string {
			if info, err := os.Stat(dir + "/f"); err == nil && info.Mode().Perm() != 0o600 {
				return info.Mode().String()
			}
			return content(t, dir+"/f")
		})
	only(t, seen, "new", "", "newest")

	seen = outcomes(t,
		func(dir string) { put(t, dir+"/f", []byte("old")) },
		func(d *faultdisk.FS, dir string) {
			f := open(t, d, dir+"/f.new", os.O_WRONLY|os.O_CREATE)
			_, err := f.Write([]byte("new"))
			must(t, err)
			must(t, f.Sync())
			must(t, d.Rename(dir+"/f.new", dir+"/f"))
		},
		func(dir string) string { return list(t, dir) + ": " + content(t, dir+"/f") })
	only(t, seen, "f: old", "f f.new: old", "f: new")
}

func TestSyncedNamesStay(t *testing.T) {
	for seed := range uint64(50) {
		dir := faultdisk.TempDir(t)
		must(t, os.MkdirAll(dir+"/x/y", 0o755))
		d := newDisk(t, dir)
		must(t, atomicfile.Write(d, dir+"/x/f", []byte("1"), 0o600))
		must(t, d.Mkdir(dir+"/z", 0o700))
		must(t, atomicfile.Write(d, dir+"/z/f", []byte("2"), 0o600))
		must(t, d.Rename(dir+"/x/y", dir+"/z/y")) // binds x to z
		must(t, d.SyncDir(dir+"/z"))
		must(t, d.SyncDir(dir))
		settle(t, d, seed)
		if got, want := list(t, dir), "x x/f z z/f z/y"; got != want {
			t.Fatalf("seed %d: left %q; want %q", seed, got, want)
		}
	}
}

func TestTreesMoveAsAWhole(t *testing.T) {
	seen := outcomes(t,
		func(dir string) {
			must(t, os.MkdirAll(dir+"/tree/sub", 0o755))
			put(t, dir+"/tree/sub/f", []byte("old"))
			must(t, os.Symlink("sub/f", dir+"/tree/link"))
		},
		func(d *faultdisk.FS, dir string) {
			must(t, d.Rename(dir+"/tree", dir+"/old"))
			must(t, d.Mkdir(dir+"/tree", 0o700))
			must(t, atomicfile.Write(d, dir+"/tree/g", []byte("new"), 0o600))
			must(t, d.SyncDir(dir))
			must(t, d.Remove(dir+"/old/link"))
			must(t, d.Remove(dir+"/old/sub/f"))
			must(t, d.Remove(dir+"/old/sub"))
			must(t, d.Remove(dir+"/old"))
		},
		func(dir string) string { return list(t, dir) })
	only(t, seen, "tree tree/g", "old tree tree/g",
		"old old/link old/sub old/sub/f tree tree/g", "old old/link old/sub tree tree/g",
		"old old/sub tree tree/g", "old old/sub old/sub/f tree tree/g")
}

func TestWhatGoesRoundTheDiskIsUnsynced(t *testing.T) {
	seen := outcomes(t,
		func(dir string) { put(t, dir+"/gone", []byte("x")) },
		func(d *faultdisk.FS, dir string) {
			must(t, os.Mkdir(dir+"/sub", 0o700))
			must(t, atomicfile.Write(d, dir+"/sub/f", []byte("synced, but where?"), 0o600))
			must(t, os.Remove(dir+"/gone"))
		},
		func(dir string) string { return list(t, dir) })
	only(t, seen, "gone", "gone sub sub/f", "sub sub/f")
	if lost := seen["gone"]; lost < 50 {
		t.Errorf("a directory that was made without the disk was lost %d times of 200 only", lost)
	}
}

func TestCut(t *testing.T) {
	work := func(d *faultdisk.FS, dir string) error {
		return atomicfile.Write(d, dir+"/f", []byte("new"), 0o600)
	}
	// create, write, sync, rename, syncdir
	for cut, want := range map[int][]string{
		1: {"f", "f f.new"}, 2: {"f", "f f.new"}, 3: {"f", "f f.new"},
		4: {"f", "f f.new", "f=new"}, 5: {"f", "f f.new", "f=new"}, 6: {"f=new"},
	} {
		seen := map[string]int{}
		for seed := range uint64(100) {
			dir := faultdisk.TempDir(t)
			put(t, dir+"/f", []byte("old"))
			d := newDisk(t, dir)
			called := 0
			d.Cut(cut, func() { called++ })
			err := work(d, dir)
			if cut <= 5 && (!errors.Is(err, faultdisk.ErrPowerCut) || called != 1 || !d.Off()) {
				t.Fatalf("cut %d: %v, called %d times, off is %v", cut, err, called, d.Off())
			}
			if cut > 5 && (err != nil || called != 0 || d.Off() || d.Changes() != 5) {
				t.Fatalf("no cut: %v, called %d times, off is %v, %d changes: %v", err, called, d.Off(), d.Changes(), d.Ops())
			}
			settle(t, d, seed)
			left := list(t, dir)
			if content(t, dir+"/f") == "new" {
				left += "=new"
			}
			seen[left]++
		}
		only(t, seen, want...)
	}
}

func TestNothingWorksWithoutPower(t *testing.T) {
	dir := faultdisk.TempDir(t)
	put(t, dir+"/f", []byte("old"))
	d := newDisk(t, dir)
	f := open(t, d, dir+"/f", os.O_RDWR)
	d.Cut(1, nil)
	n, err := f.WriteAt([]byte("new"), 0)
	if !errors.Is(err, faultdisk.ErrPowerCut) {
		t.Errorf("WriteAt = %d, %v; want ErrPowerCut", n, err)
	}
	_, openErr := d.OpenFile(dir+"/f", os.O_RDONLY, 0)
	_, readErr := f.Read(make([]byte, 1))
	_, readAtErr := f.ReadAt(make([]byte, 1), 0)
	_, writeErr := f.Write([]byte("x"))
	for i, err := range []error{openErr, readErr, readAtErr, writeErr, f.Truncate(0), f.Sync(), d.Rename(dir+"/f", dir+"/g"),
		d.Remove(dir + "/f"), d.Mkdir(dir+"/h", 0o700), d.SyncDir(dir), f.Close()} {
		if !errors.Is(err, faultdisk.ErrPowerCut) {
			t.Errorf("operation %d: %v; want ErrPowerCut", i, err)
		}
	}
	settle(t, d, faultdisk.LoseAll)
	if got := list(t, dir) + content(t, dir+"/f"); got != "fold" {
		t.Errorf("left %q", got)
	}
}

func TestFail(t *testing.T) {
	for n, want := range []faultdisk.Kind{faultdisk.Create, faultdisk.Write, faultdisk.Sync, faultdisk.Close, faultdisk.Rename, faultdisk.SyncDir} {
		t.Run(string(want), func(t *testing.T) {
			dir := faultdisk.TempDir(t)
			d := newDisk(t, dir)
			d.Fail(n+1, syscall.EIO)
			if err := atomicfile.Write(d, dir+"/f", []byte("new"), 0o600); !errors.Is(err, syscall.EIO) {
				t.Errorf("Write with failing operation %d = %v; want EIO", n+1, err)
			}
			if got := d.Ops()[n].Kind; got != want {
				t.Errorf("operation %d is %s; want %s", n+1, got, want)
			}
			must(t, atomicfile.Write(d, dir+"/f", []byte("again"), 0o600))
			settle(t, d, faultdisk.LoseAll)
			if got := content(t, dir+"/f"); got != "again" {
				t.Errorf("after the second Write the file has %q", got)
			}
		})
	}
}

func TestFailFrom(t *testing.T) {
	dir := faultdisk.TempDir(t)
	put(t, dir+"/f", []byte("old"))
	d := newDisk(t, dir)
	d.FailFrom(2, syscall.EROFS)
	f := open(t, d, dir+"/f", os.O_RDWR)
	n, err := f.WriteAt([]byte("new!"), 0)
	if n != 2 || !errors.Is(err, syscall.EROFS) {
		t.Errorf("WriteAt = %d, %v; want half of it and EROFS", n, err)
	}
	if err := d.Mkdir(dir+"/x", 0o700); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Mkdir = %v; want EROFS", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
		t.Errorf("ReadAt = %v; want nil, the file system is only read-only", err)
	}
}

func TestFailedSyncDropsWhatItShouldHaveWritten(t *testing.T) {
	old, fresh := strings.Repeat("o", sector), strings.Repeat("n", sector)
	for _, seed := range []uint64{faultdisk.LoseAll, faultdisk.KeepAll} {
		dir := faultdisk.TempDir(t)
		put(t, dir+"/f", []byte(old+old+old+old))
		d := newDisk(t, dir)
		f := open(t, d, dir+"/f", os.O_RDWR)
		_, err := f.WriteAt([]byte(fresh+fresh+fresh), 0) // of which the first and the third get lost
		must(t, err)
		d.Fail(len(d.Ops())+1, syscall.EIO)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Sync = %v; want EIO", err)
		}
		read := func(flag int) string {
			data := make([]byte, 2*sector)
			_, err := open(t, d, dir+"/f", os.O_RDONLY|flag).ReadAt(data, sector/2)
			must(t, err)
			return string(data)
		}
		if got := read(0); got != (fresh + fresh + fresh)[sector/2:][:2*sector] {
			t.Errorf("through the cache: %q", got)
		}
		if got := read(syscall.O_DIRECT); got != (old + fresh + old)[sector/2:][:2*sector] {
			t.Errorf("past the cache: %q", got)
		}
		must(t, d.Evict())
		if got := read(0); got != (old + fresh + old)[sector/2:][:2*sector] {
			t.Errorf("after the cache has forgotten it: %q", got)
		}
		_, err = f.WriteAt([]byte(fresh+fresh), 2*sector) // the third one again
		must(t, err)
		must(t, f.Sync())
		settle(t, d, seed)
		if got := content(t, dir+"/f"); got != old+fresh+fresh+fresh {
			t.Errorf("seed %d left %q", seed, got)
		}
	}
}

func TestSettleIsRepeatable(t *testing.T) {
	run := func(seed uint64) string {
		dir := faultdisk.TempDir(t)
		put(t, dir+"/f", make([]byte, 64*sector))
		d := newDisk(t, dir)
		_, err := open(t, d, dir+"/f", os.O_RDWR).WriteAt(bytes.Repeat([]byte("x"), 64*sector), 0)
		must(t, err)
		for i := range 10 {
			must(t, d.Mkdir(fmt.Sprintf("%s/%d", dir, i), 0o700))
		}
		lost := settle(t, d, seed)
		if seed == faultdisk.KeepAll != (len(lost) == 0) {
			t.Errorf("seed %d: lost %q", seed, lost)
		}
		return list(t, dir) + content(t, dir+"/f")
	}
	for seed := range uint64(10) {
		if first, second := run(seed), run(seed); first != second {
			t.Errorf("seed %d gives different results", seed)
		}
	}
	if run(2) == run(3) {
		t.Error("seeds 2 and 3 give the same result")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	dir := faultdisk.TempDir(t)
	put(t, dir+"/f", nil)
	must(t, os.Truncate(dir+"/f", 2*faultdisk.MaxUnsynced))
	d := newDisk(t, dir)
	f := open(t, d, dir+"/f", os.O_RDWR)
	data := bytes.Repeat([]byte("x"), 1<<20)
	for i := range faultdisk.MaxUnsynced / len(data) {
		_, err := f.WriteAt(data, int64(i*len(data)))
		must(t, err)
	}
	if _, err := f.WriteAt(data, faultdisk.MaxUnsynced); !errors.Is(err, faultdisk.ErrUnsynced) {
		t.Errorf("one more WriteAt = %v; want ErrUnsynced", err)
	}
	must(t, f.Sync())
	if _, err := f.WriteAt(data, faultdisk.MaxUnsynced); err != nil {
		t.Errorf("WriteAt after a Sync = %v", err)
	}
}

func TestElsewhereIsRefused(t *testing.T) {
	d := newDisk(t, faultdisk.TempDir(t))
	if err := d.Mkdir(filepath.Join(faultdisk.TempDir(t), "x"), 0o700); err == nil {
		t.Error("Mkdir outside of the disk's directories succeeded")
	}
	if _, err := faultdisk.New(filepath.Join(faultdisk.TempDir(t), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("New of a missing directory = %v", err)
	}
}

// What it loses is taken from what was written, at random: whatever a program does, what it has
// synced is there afterwards.
func TestRandomPrograms(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := faultdisk.TempDir(t)
		for _, name := range []string{"a", "b", "c"} {
			put(t, filepath.Join(dir, name), bytes.Repeat([]byte(name), 3*sector))
		}
		d := newDisk(t, dir)
		d.Cut(1+r.IntN(60), nil)
		for !d.Off() {
			name := filepath.Join(dir, string(rune('a'+r.IntN(5))))
			before := ""
			switch r.IntN(6) {
			case 0:
				_ = d.Remove(name)
			case 1:
				_ = d.Rename(name, filepath.Join(dir, string(rune('a'+r.IntN(5)))))
			case 2, 3:
				f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE|r.IntN(2)*os.O_TRUNC, 0o600)
				if err != nil {
					continue
				}
				_, _ = f.WriteAt(bytes.Repeat([]byte{byte('A' + r.IntN(26))}, r.IntN(4*sector)), int64(r.IntN(2*sector)))
				_ = f.Close()
			default:
				before = syncEverything(t, d, dir)
			}
			if before != "" && !d.Off() && r.IntN(4) == 0 {
				settle(t, d, r.Uint64())
				if got := everything(t, dir); got != before {
					t.Fatalf("seed %d: all was synced, and something else was left", seed)
				}
			}
		}
		settle(t, d, r.Uint64())
	}
}

// syncEverything returns what is there if it was all synced.
func syncEverything(t *testing.T, d *faultdisk.FS, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		f, err := d.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if err != nil || f.Sync() != nil || f.Close() != nil {
			return ""
		}
	}
	if d.SyncDir(dir) != nil {
		return ""
	}
	return everything(t, dir)
}

func everything(t *testing.T, dir string) (all string) {
	t.Helper()
	for _, name := range strings.Fields(list(t, dir)) {
		all += name + "\x00" + content(t, filepath.Join(dir, name)) + "\x00"
	}
	return all + "."
}
