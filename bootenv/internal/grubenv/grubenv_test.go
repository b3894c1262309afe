package grubenv_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/bootenv/internal/boottest"
	"flipside/bootenv/internal/grubenv"
	"flipside/internal/hosttest"
)

const vectors = "../../testdata/vectors.zip"

type vector struct {
	File, Description string
	List              string
	RC                int
}

// list is what "grub-editenv list" prints for a block without duplicates: name=value, unescaped.
func list(vars map[string]string) string {
	var s strings.Builder
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		s.WriteString(name + "=" + vars[name] + "\n")
	}
	return s.String()
}

// unlisted is what remains of a list without vars. A listed value may span lines, so that the
// lines cannot just be sorted and compared.
func unlisted(list string, vars map[string]string) string {
	for name := range vars {
		list = strings.Replace(list, name+"="+vars[name]+"\n", "", 1)
	}
	return list
}

func TestParseRecorded(t *testing.T) {
	v := boottest.Open(t, vectors)
	for _, want := range boottest.JSON[[]vector](t, v, "grub/vectors.json") {
		t.Run(want.File, func(t *testing.T) {
			data := v.File(t, "grub/"+want.File)
			block, err := grubenv.Parse(data)
			if (err == nil) != (want.RC == 0) {
				t.Fatalf("Parse(%s) = %v; grub-editenv's exit code is %d", want.Description, err, want.RC)
			}
			if err != nil {
				if !errors.Is(err, grubenv.ErrSignature) {
					t.Errorf("Parse = %v; want ErrSignature", err)
				}
				return
			}
			vars := block.Vars()
			if want.File == "dup.env" {
				want.List = strings.Replace(want.List, "a=9\n", "", 1) // both are listed; load_env takes the last
			}
			if len(list(vars)) != len(want.List) || unlisted(want.List, vars) != "" {
				t.Errorf("Vars = %q; grub-editenv lists %q", vars, want.List)
			}
			again, err := block.Bytes()
			switch want.File {
			case "no-padding-newline.env":
				if !errors.Is(err, grubenv.ErrUnwritable) {
					t.Errorf("Bytes = %v; want ErrUnwritable", err)
				}
			case "trailing-nul.env": // grub-editenv refuses it; the filling is all that is wrong
				if filled := bytes.ReplaceAll(data, []byte{0}, []byte("#")); err != nil || !bytes.Equal(again, filled) {
					t.Errorf("Bytes = %q, %v; want %q", again, err, filled)
				}
			default:
				if err != nil || !bytes.Equal(again, data) {
					t.Errorf("Bytes = %q, %v; want what was parsed", again, err)
				}
			}
		})
	}
}

// TestLikeGrubEditenv does the same changes with grub-editenv, on the file that this package
// wrote, and compares byte for byte.
func TestLikeGrubEditenv(t *testing.T) {
	editenv := hosttest.Tool(t, "grub-common", "grub-editenv")
	file := filepath.Join(t.TempDir(), "grubenv")
	if out, err := exec.Command(editenv, file, "create").CombinedOutput(); err != nil {
		t.Fatalf("grub-editenv create: %v: %s", err, out)
	}
	created, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := grubenv.Parse(created)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 300)
	for _, step := range []struct{ name, value string }{
		{"a", "1"}, {"b", "22"}, {"c", "333"}, {"b", ""}, {"a", "12345"}, {"a", "1"}, {"d", ""},
		{"nl", "l1\nl2"}, {"bs", `a\b`}, {"bs2", `a\\b`}, {"bsnl", "a\\\nb"}, {"hash", "#x#"}, {"eq", "a=b=c"},
		{"utf", "é漢"}, {"sp", " a b "}, {"end", `x\`}, {"nl", "x\n"}, {"end", ""}, {"bs", "\\\\\n"},
		{"l1", long}, {"l2", long}, {"l3", long}, // the last does not fit
		{"l1", ""}, {"l3", long}, {"c", "4"},
	} {
		args := []string{file, "set", step.name + "=" + step.value}
		if step.value == "" {
			args = []string{file, "unset", step.name}
		}
		out, toolErr := exec.Command(editenv, args...).CombinedOutput()

		before, err := ours.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if step.value == "" {
			ours.Unset(step.name)
		} else {
			ours.Set(step.name, step.value)
		}
		got, err := ours.Bytes()
		if (err == nil) != (toolErr == nil) {
			t.Fatalf("%s=%.10s: %v; grub-editenv: %v: %s", step.name, step.value, err, toolErr, out)
		}
		if err != nil {
			if !errors.Is(err, grubenv.ErrTooLarge) {
				t.Errorf("%s=%.10s: %v; want ErrTooLarge", step.name, step.value, err)
			}
			if ours, err = grubenv.Parse(before); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%s=%.10s: %q; grub-editenv wrote %q", step.name, step.value, got, want)
		}
		// The other direction: grub-editenv reads what was written here.
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		listed, err := exec.Command(editenv, file, "list").Output()
		if vars := ours.Vars(); err != nil || len(list(vars)) != len(listed) || unlisted(string(listed), vars) != "" {
			t.Fatalf("%s=%.10s: Vars = %q; grub-editenv lists %q, %v", step.name, step.value, vars, listed, err)
		}
	}
}

func TestFull(t *testing.T) {
	for _, tt := range []struct {
		size int
		fits bool
	}{{1024 - 25 - 3, true}, {1024 - 25 - 2, false}} {
		b := grubenv.New(grubenv.DefaultSize)
		b.Set("a", strings.Repeat("x", tt.size)) // 25 is the signature, 3 "a=" and the newline
		data, err := b.Bytes()
		if tt.fits != (err == nil) || tt.fits && len(data) != 1024 {
			t.Errorf("a value of %d bytes: %d bytes, %v; want that it fits: %v", tt.size, len(data), err, tt.fits)
		}
	}
}

func TestSetRemovesDuplicates(t *testing.T) {
	v := boottest.Open(t, vectors)
	b, err := grubenv.Parse(v.File(t, "grub/dup.env"))
	if err != nil {
		t.Fatal(err)
	}
	b.Set("a", "7")
	if want := map[string]string{"a": "7", "b": "2"}; !maps.Equal(b.Vars(), want) {
		t.Errorf("Vars = %q; want %q", b.Vars(), want)
	}
	b.Unset("a")
	if want := map[string]string{"b": "2"}; !maps.Equal(b.Vars(), want) {
		t.Errorf("Vars = %q; want %q", b.Vars(), want)
	}
}

func FuzzParse(f *testing.F) {
	const signature = "# GRUB Environment Block\n"
	for _, body := range []string{"", "a=1\nb=2\n####", "# c\\\nd\na=\\\\\\\n\n#\nx\ny=1\n##", "a=1###", "a=1\n\x00\x00", "a\\=b\\\n#\n##"} {
		f.Add([]byte(signature + body))
	}
	f.Add([]byte("something else"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := grubenv.Parse(data)
		if err != nil {
			return
		}
		before := b.Vars()
		stored, err := b.Bytes()
		if err != nil {
			return
		}
		if len(stored) != len(data) {
			t.Fatalf("a block of %d bytes became one of %d", len(data), len(stored))
		}
		again, err := grubenv.Parse(stored)
		if err != nil || !maps.Equal(again.Vars(), before) {
			t.Errorf("%q: Vars = %q, %v after writing; want %q", data, again.Vars(), err, before)
		}
		again.Set("flipside", "a\\\nb")
		if changed, err := again.Bytes(); err == nil {
			if b, err = grubenv.Parse(changed); err != nil || !maps.Equal(b.Vars(), again.Vars()) {
				t.Errorf("%q: Vars = %q, %v after a change; want %q", data, b.Vars(), err, again.Vars())
			}
		}
	})
}
