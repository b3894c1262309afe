package bootenv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/bootenv/internal/boottest"
	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/hosttest"
)

// TestUBootRecorded reads what the real tools have read, and writes where they have written.
func TestUBootRecorded(t *testing.T) {
	v := boottest.Open(t, vectors)
	for _, vector := range boottest.JSON[[]boottest.UBootVector](t, v, "uboot/vectors.json") {
		if vector.Name == "negative-offset" {
			continue // TestBlockDevice
		}
		t.Run(vector.Name, func(t *testing.T) {
			dir := v.Extract(t, "uboot/"+vector.Name)
			env := open(t, inDir(t, dir))
			vars, err := env.Read(t.Context())
			if !slices.ContainsFunc(vector.Copies, func(c boottest.UBootCopy) bool { return c.CRCOK }) {
				checkRefusal(t, env, dir, err)
				return
			}
			if err != nil {
				t.Fatalf("Read = %v", err)
			}
			switch vector.Name {
			case "odd-entries", "special-values", "empty-name", "no-terminator", "full-no-final-nul":
				// Where the tools differ from U-Boot or from each other; see package ubootenv.
			default:
				wantVars(t, vars, expand(vars, printed(vector.Libubootenv.Stdout)))
				wantVars(t, vars, expand(vars, printed(vector.UBootTool.Stdout)))
			}
			if vector.AfterSetNew != nil {
				write(t, env, bootenv.Vars{"new": "1"})
				vars["new"] = "1"
				wantVars(t, read(t, env), vars)
				for i, flags := range vector.AfterSetNew.Flags {
					image, err := ubootenv.Decode(hosttest.Read(t, fmt.Sprintf("%s/env%d.bin", dir, i)), true)
					if written := slices.Contains(vector.AfterSetNew.Written, i); err != nil && written || image.Flags != flags && err == nil {
						t.Errorf("copy %d has flags %d, %v; fw_setenv left %d", i, image.Flags, err, flags)
					}
				}
			}
		})
	}
}

// expand puts values in the place of those that were recorded abbreviated.
func expand(got, recorded bootenv.Vars) bootenv.Vars {
	for name, value := range recorded {
		if begin, _, short := strings.Cut(value, "...<"); short && strings.HasPrefix(got[name], begin) {
			recorded[name] = got[name]
		}
	}
	return recorded
}

// checkRefusal: without a valid copy there is nothing to read, and nothing is written.
func checkRefusal(t *testing.T, env bootenv.Env, dir string, readErr error) {
	t.Helper()
	if !errors.Is(readErr, bootenv.ErrCorrupt) {
		t.Errorf("Read = %v; want ErrCorrupt", readErr)
	}
	before := boottest.ReadDir(t, dir).Files()
	if err := env.Write(t.Context(), bootenv.Vars{"a": "1"}); !errors.Is(err, bootenv.ErrCorrupt) {
		t.Errorf("Write = %v; want ErrCorrupt", err)
	}
	if after := boottest.ReadDir(t, dir).Files(); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("the refused write has changed something")
	}
	r := inspect(t, env)
	wantWarning(t, r, bootenv.ErrCorrupt.Error())
	for _, c := range r.Copies {
		if c.Valid || c.Current || c.Problem == "" {
			t.Errorf("Inspect: copy %+v; want a problem", c)
		}
	}
}

// TestUBootOperations does what was recorded with both fw_setenv, and compares the outcome.
func TestUBootOperations(t *testing.T) {
	v := boottest.Open(t, vectors)
	for name, writes := range map[string][]bootenv.Vars{
		"op-set-new":        {{"b": "2"}},
		"op-set-existing":   {{"a": "changed"}},
		"op-set-same":       {{"a": "1"}},
		"op-delete":         {{"b": ""}},
		"op-delete-missing": {{"nosuch": ""}},
		"op-set-empty":      {{"a": ""}},
		"op-multi-args":     {{"k1": "v1", "k2": "v2"}},
		"op-script":         {{"mender_boot_part": "3", "mender_boot_part_hex": "3", "upgrade_available": "1", "bootcount": "0"}},
		"op-script-delete":  {{"b": ""}},
		"op-single-set":     {{"b": "2"}},
		"op-twice":          {{"b": "2"}, {"c": "3"}},
		"op-flags-preserve": {{"a": "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := v.Extract(t, "uboot/"+name)
			before, after := "before-env%d.bin", "after-d032-env%d.bin" // libubootenv
			if name == "op-flags-preserve" {
				after = "after-utool-env%d.bin" // libubootenv loses a part of .flags
			}
			var ours, theirs [][]byte
			for i := range 2 {
				if data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf(before, i))); err == nil {
					ours = append(ours, data)
					theirs = append(theirs, hosttest.Read(t, filepath.Join(dir, fmt.Sprintf(after, i))))
				}
			}
			config := files(t, ours...)
			env := open(t, config)
			for _, changes := range writes {
				write(t, env, changes)
				for name, value := range changes {
					if got := read(t, env)[name]; got != value {
						t.Errorf("%s=%q; want %q", name, got, value)
					}
				}
			}
			for i := range ours {
				got := hosttest.Read(t, filepath.Join(filepath.Dir(config), fmt.Sprintf("env%d", i)))
				g, gotErr := ubootenv.Decode(got, len(ours) == 2)
				w, wantErr := ubootenv.Decode(theirs[i], len(ours) == 2)
				if gotErr != nil || wantErr != nil || g.Flags != w.Flags || !maps.Equal(g.Vars(), w.Vars()) {
					t.Errorf("copy %d: flags %d %q, %v; fw_setenv left flags %d %q, %v", i, g.Flags, g.Vars(), gotErr, w.Flags, w.Vars(), wantErr)
				}
			}
		})
	}
}

func TestUBootRefusesWrites(t *testing.T) {
	size := 256
	for _, tt := range []struct {
		name    string
		entries []string
		changes bootenv.Vars
		want    error
	}{
		{"too large", nil, bootenv.Vars{"a": strings.Repeat("x", size)}, bootenv.ErrTooLarge},
		{"one too large", nil, bootenv.Vars{"a": strings.Repeat("x", size-5-3)}, bootenv.ErrTooLarge},
		{"read-only", []string{"ro=x", ".flags=ro:sr"}, bootenv.Vars{"ro": "y"}, bootenv.ErrReadOnly},
		{"= in a name", nil, bootenv.Vars{"a=b": "1"}, nil},
		{"no name", nil, bootenv.Vars{"": "1"}, nil},
		{"comment", nil, bootenv.Vars{"#a": "1"}, nil},
		{"blank in a name", nil, bootenv.Vars{" a": "1"}, nil},
		{"NUL in a value", nil, bootenv.Vars{"a": "1\x00b=2"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := files(t, image(t, size, true, 1, tt.entries...), image(t, size, true, 0))
			env := open(t, config)
			before := boottest.ReadDir(t, filepath.Dir(config)).Files()
			err := env.Write(t.Context(), tt.changes)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Write(%q) = %v; want an error, %v", tt.changes, err, tt.want)
			}
			if after := boottest.ReadDir(t, filepath.Dir(config)).Files(); !maps.EqualFunc(before, after, bytes.Equal) {
				t.Error("the refused write has changed something")
			}
		})
	}
	t.Run("just not too large", func(t *testing.T) {
		env := open(t, files(t, image(t, size, true, 1), image(t, size, true, 0)))
		write(t, env, bootenv.Vars{"a": strings.Repeat("x", size-5-4)})
	})
}

// TestUBootKeepsTheRest: bytes around the copies, unknown entries, the other copy.
func TestUBootKeepsTheRest(t *testing.T) {
	v := boottest.Open(t, vectors)
	dir := v.Extract(t, "uboot/embedded-redund")
	env := open(t, inDir(t, dir))
	before := hosttest.Read(t, dir+"/disk.img")
	write(t, env, bootenv.Vars{"new": "1"})
	after := hosttest.Read(t, dir+"/disk.img")
	if !bytes.Equal(before[:0x4000], after[:0x4000]) || !bytes.Equal(before[0x6000:], after[0x6000:]) {
		t.Error("bytes outside of copy 1 have changed")
	}
	wantVars(t, read(t, env), bootenv.Vars{"which": "second", "x": "2", "new": "1"})

	odd := []string{"#c=3", " lead=2", "noval", "empty=", `bs=a\b`, "dup=1", "dup=2", "bin=\xff\x01"}
	config := files(t, image(t, 256, true, 1, odd...), image(t, 256, true, 0))
	write(t, open(t, config), bootenv.Vars{"new": "1"})
	second, err := ubootenv.Decode(hosttest.Read(t, filepath.Dir(config)+"/env1"), true)
	if want := append(odd, "new=1"); err != nil || !slices.Equal(second.Entries, want) {
		t.Errorf("entries %q, %v; want %q", second.Entries, err, want)
	}
}

func TestUBootRepairsTheOtherCopy(t *testing.T) {
	damage := map[string]func(data []byte) []byte{
		"checksum": func(data []byte) []byte { data[100] ^= 1; return data },
		"short":    func(data []byte) []byte { return data[:700] },
		"empty":    func(data []byte) []byte { return nil },
		"erased":   func(data []byte) []byte { return bytes.Repeat([]byte{0xFF}, len(data)) },
	}
	for what, damage := range damage {
		for bad := range 2 {
			t.Run(fmt.Sprintf("%s %d", what, bad), func(t *testing.T) {
				images := [][]byte{image(t, 1024, true, 7, "a=1"), image(t, 1024, true, 7, "a=1")}
				config := files(t, images...)
				path := fmt.Sprintf("%s/env%d", filepath.Dir(config), bad)
				writeFile(t, path, damage(images[bad]))
				env := open(t, config)
				wantVars(t, read(t, env), bootenv.Vars{"a": "1"})
				r := inspect(t, env)
				wantWarning(t, r, fmt.Sprintf("copy %d of the environment", bad+1))
				if r.Copies[bad].Valid || !r.Copies[1-bad].Valid || !r.Copies[1-bad].Current || r.Copies[bad].Current {
					t.Errorf("Inspect: %+v", r.Copies)
				}
				damaged := hosttest.Read(t, path)
				write(t, env, bootenv.Vars{"a": "1"})
				if !bytes.Equal(hosttest.Read(t, path), damaged) {
					t.Error("a write without changes has written")
				}
				write(t, env, bootenv.Vars{"a": "2"})
				wantVars(t, read(t, env), bootenv.Vars{"a": "2"})
				if r := inspect(t, env); !r.Copies[0].Valid || !r.Copies[1].Valid || !r.Copies[bad].Current {
					t.Errorf("Inspect after a write: %+v", r.Copies)
				}
			})
		}
	}
}

// TestUBootMissingFile: U-Boot makes its second file when it first saves; so does a write here. A
// device that is missing is something else.
func TestUBootMissingFile(t *testing.T) {
	config := files(t, image(t, 1024, true, 7, "a=1"), image(t, 1024, true, 6))
	second := filepath.Dir(config) + "/env1"
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	env := open(t, config)
	wantVars(t, read(t, env), bootenv.Vars{"a": "1"})
	write(t, env, bootenv.Vars{"a": "2"})
	if im, err := ubootenv.Decode(hosttest.Read(t, second), true); err != nil || im.Flags != 8 {
		t.Errorf("copy 1: flags %d, %v; want 8", im.Flags, err)
	}
	if err := errors.Join(os.Remove(second), os.Remove(filepath.Dir(config)+"/env0")); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Read(t.Context()); !errors.Is(err, os.ErrNotExist) || errors.Is(err, bootenv.ErrCorrupt) {
		t.Errorf("Read without files = %v; want that they do not exist", err)
	}
	if err := env.Write(t.Context(), bootenv.Vars{"a": "2"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write without files = %v; want that they do not exist", err)
	}
}

func TestUBootFlagsWrapAround(t *testing.T) {
	config := files(t, image(t, 256, true, 254, "n=0"), image(t, 256, true, 253))
	env := openFS(t, config, boottest.ReadDir(t, filepath.Dir(config)))
	for n := 1; n <= 600; n++ {
		write(t, env, bootenv.Vars{"n": fmt.Sprint(n)})
		if got := read(t, env, "n")["n"]; got != fmt.Sprint(n) {
			t.Fatalf("n=%s after writing %d", got, n)
		}
	}
}

// TestUBootOrder checks the order of the operations on the disk.
func TestUBootOrder(t *testing.T) {
	config := files(t, image(t, 1024, true, 7, "a=1"), image(t, 1024, true, 6))
	d := boottest.ReadDir(t, filepath.Dir(config))
	env := openFS(t, config, d)
	write(t, env, bootenv.Vars{"a": "2"})
	write(t, env, bootenv.Vars{"a": "3"})
	if want := []string{"sync env1", "write env1", "sync env1", "sync env0", "write env0", "sync env0"}; !slices.Equal(d.Log, want) {
		t.Errorf("two copies: %q; want %q", d.Log, want)
	}

	config = files(t, image(t, 1024, false, 0, "a=1"))
	d = boottest.ReadDir(t, filepath.Dir(config))
	env = openFS(t, config, d)
	write(t, env, bootenv.Vars{"a": "2"})
	if want := []string{"create env0.new", "write env0.new", "sync env0.new", "rename env0.new", "syncdir " + filepath.Base(filepath.Dir(config))}; !slices.Equal(d.Log, want) {
		t.Errorf("one copy: %q; want %q", d.Log, want)
	}
	wantWarning(t, inspect(t, env), "one copy")
}

func TestUBootOneCopyInPlace(t *testing.T) {
	v := boottest.Open(t, vectors)
	dir := v.Extract(t, "uboot/embedded-single")
	env := open(t, inDir(t, dir))
	before := hosttest.Read(t, dir+"/disk.img")
	write(t, env, bootenv.Vars{"new": "1"})
	after := hosttest.Read(t, dir+"/disk.img")
	if !bytes.Equal(before[:0x1000], after[:0x1000]) || !bytes.Equal(before[0x2000:], after[0x2000:]) || bytes.Equal(before, after) {
		t.Error("something else than the environment has changed, or nothing")
	}
	wantWarning(t, inspect(t, env), "overwritten in place")
}

// TestUBootReplacesTheFile keeps its mode, and follows a symbolic link.
func TestUBootReplacesTheFile(t *testing.T) {
	config := files(t, image(t, 1024, false, 0, "a=1"))
	dir := filepath.Dir(config)
	real := dir + "/real"
	if err := errors.Join(os.Rename(dir+"/env0", real), os.Chmod(real, 0o640), os.Symlink("real", dir+"/env0")); err != nil {
		t.Fatal(err)
	}
	env := open(t, config)
	write(t, env, bootenv.Vars{"a": "2"})
	wantVars(t, read(t, env), bootenv.Vars{"a": "2"})
	info, err := os.Lstat(real)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("the file has mode %v, %v; want 0640", info.Mode(), err)
	}
	if info, err := os.Lstat(dir + "/env0"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
}

func TestUBootDoubts(t *testing.T) {
	good := []string{"mender_boot_part=2", "upgrade_available=0", "bootlimit=1", "altbootcmd=run mender_altbootcmd"}
	for _, tt := range []struct {
		name    string
		entries []string
		want    string
	}{
		{"good", good, ""},
		{"canary not asked for", append(good, "mender_check_saveenv_canary=0"), ""},
		{"canary", append(good, "mender_check_saveenv_canary=1"), "U-Boot does not use"},
		{"altbootcmd deleted", good[:3], "stops at its prompt"},
		{"altbootcmd empty", append(good[:3:3], "altbootcmd="), "stops at its prompt"},
		{"no limit", append(good[:2:2], good[3]), "does not fall back"},
		{"limit 0", append(good[:2:2], good[3], "bootlimit=0"), "does not fall back"},
		{"not Mender's", []string{"bootcmd=boot"}, "no environment of a U-Boot that Mender"},
		{"garbage", append(good, "upgrade_available=yes"), "must be 0 or 1"},
		{"rejected by U-Boot", append(good, "=x"), "value without a name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := open(t, files(t, image(t, 1024, true, 2, tt.entries...), image(t, 1024, true, 1)))
			r := inspect(t, env)
			if tt.want == "" && len(r.Warnings) > 0 {
				t.Errorf("warnings %q; want none", r.Warnings)
			}
			if tt.want != "" {
				wantWarning(t, r, tt.want)
			}
			if r.Kind != "U-Boot, two copies" {
				t.Errorf("kind %q", r.Kind)
			}
		})
	}
}

func TestUBootIgnoredLines(t *testing.T) {
	config := files(t, image(t, 1024, true, 2, "a=1"), image(t, 1024, true, 1))
	text := hosttest.Read(t, config)
	writeFile(t, config, []byte("some words\n"+string(text)))
	wantWarning(t, inspect(t, open(t, config)), "lines [1]")

	first, _, _ := strings.Cut(string(text), "\n")
	writeFile(t, config, []byte(first+"\nsome words\n"))
	_, err := open(t, config).Read(t.Context())
	if !errors.Is(err, bootenv.ErrCorrupt) || !strings.Contains(err.Error(), "two copies, not one") || !strings.Contains(err.Error(), "lines [2]") {
		t.Errorf("Read with one line of two = %v", err)
	}
}

// TestUBootWithTools reads what fw_setenv wrote and has fw_printenv read what is written here,
// with any values.
func TestUBootWithTools(t *testing.T) {
	printenv, setenv := libubootenv(t)
	for _, copies := range []int{1, 2} {
		t.Run(fmt.Sprint(copies, " copies"), func(t *testing.T) {
			images := [][]byte{image(t, 4096, copies == 2, 255, "a=1"), image(t, 4096, copies == 2, 254)}
			config := files(t, images[:copies]...)
			env := open(t, config)
			r := rand.New(rand.NewPCG(1, 2))
			want := bootenv.Vars{"a": "1"}
			for i := range 60 {
				name := fmt.Sprintf("name-%d.x", r.IntN(12))
				value := strings.Repeat("välue=#\\ \"$", r.IntN(20))
				if r.IntN(4) == 0 {
					value = ""
				}
				if want[name] = value; value == "" {
					delete(want, name)
				}
				if i%2 == 0 {
					write(t, env, bootenv.Vars{name: value})
				} else {
					run(t, name+"="+value+"\n", setenv, "-c", config, "-s", "-")
				}
				wantVars(t, read(t, env), want)
				wantVars(t, printed(run(t, "", printenv, "-c", config)), want)
			}
		})
	}
}
