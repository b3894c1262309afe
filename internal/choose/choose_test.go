package choose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"flipside/artifact"
	"flipside/internal/choose"
	"flipside/internal/source"
)

// mender is an artifact for device type "board".
func mender(t *testing.T, name string, depends artifact.Depends) []byte {
	t.Helper()
	s := artifact.Spec{Name: name, Type: "app", Depends: artifact.Depends{artifact.KeyDeviceType: {"board"}}}
	for key, values := range depends {
		s.Depends[key] = values
	}
	s.Files = []artifact.FileSpec{artifact.FileBytes("file", []byte(name))}
	var b bytes.Buffer
	if err := artifact.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fits is a device of type "board" with artifact old.
func fits(h *artifact.Header) error {
	return h.Depends.Satisfied(artifact.Provides{artifact.KeyDeviceType: "board", "artifact_name": "old"})
}

// open opens a directory, and returns the name of what was chosen and what was noted.
func open(t *testing.T, dir string, change func(*choose.Options)) (name string, notes string, err error) {
	t.Helper()
	var all []string
	o := choose.Options{Fits: fits, Note: func(text string) { all = append(all, text) }}
	if change != nil {
		change(&o)
	}
	src, err := source.Open(t.Context(), dir, source.Options{
		Choose: func(ctx context.Context, where string, entries []source.Entry) (source.Entry, error) {
			return choose.From(ctx, where, entries, o)
		},
	})
	if err == nil {
		name = filepath.Base(src.Name())
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
	return name, strings.Join(all, "\n"), err
}

func TestJunkIsSkippedAndSaid(t *testing.T) {
	dir := t.TempDir()
	good := mender(t, "release-2", nil)
	for name, data := range map[string][]byte{
		"good.mender":       good,
		"._good.mender":     []byte("\x00\x05\x16\x07 what macOS writes"),
		".hidden.mender":    good,
		"half.mender.part":  good[:1000],
		"half.mender":       good[:700],
		"empty.mender":      nil,
		"text.mender":       []byte("hello"),
		"broken.mender":     slices.Concat(good[:1540], []byte("x"), good[1541:]),
		"other.mender":      mender(t, "release-9", artifact.Depends{artifact.KeyDeviceType: {"plank"}}),
		"later.mender":      mender(t, "release-3", artifact.Depends{"artifact_name": {"release-2"}}),
		"README.txt":        []byte("hello"),
		"esc\x1b[2J.mender": []byte("hello"),
	} {
		write(t, dir, name, data)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory.mender"), 0o700); err != nil {
		t.Fatal(err)
	}
	name, notes, err := open(t, dir, nil)
	if err != nil || name != "good.mender" {
		t.Fatalf("chose %q, %v; want good.mender; notes:\n%s", name, err, notes)
	}
	for _, want := range []string{
		"/._good.mender: not an artifact, but what macOS keeps beside one",
		"/.hidden.mender: hidden file",
		"/half.mender.part: the copy or download is not complete",
		"/half.mender: the artifact ends after 700 bytes: it is not complete",
		"/empty.mender: empty file",
		"/text.mender: ",
		"/broken.mender: ",
		`/other.mender: artifact depends on device_type "plank", the device has "board"`,
		`/later.mender: artifact depends on artifact_name "release-2", the device has "old"`,
		`/esc\x1b[2J.mender": `,
		"taking good.mender (release-2) from " + dir,
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("not noted: %q", want)
		}
	}
	for _, never := range []string{"README", "directory", "\x1b"} {
		if strings.Contains(notes, never) {
			t.Errorf("%q is in the notes:\n%s", never, notes)
		}
	}
}

func TestNothingFits(t *testing.T) {
	good := mender(t, "release-2", nil)
	other := mender(t, "release-2", artifact.Depends{artifact.KeyDeviceType: {"plank"}})
	var depends *artifact.DependsError
	isDepends := func(err error) bool { return errors.As(err, &depends) }
	isRefused := func(err error) bool { return errors.Is(err, artifact.ErrRefused) }
	isNothing := func(err error) bool {
		return errors.Is(err, source.ErrNothing) && errors.Is(err, source.ErrUsage)
	}
	for name, test := range map[string]struct {
		files map[string][]byte
		is    func(error) bool
		words string
	}{
		"empty":           {nil, isNothing, "there is no artifact in it"},
		"no artifacts":    {map[string][]byte{"a.txt": good}, isNothing, "there is no artifact in it"},
		"junk":            {map[string][]byte{"._a.mender": good}, isNothing, "skipped ._a.mender: not an artifact"},
		"partial":         {map[string][]byte{"a.mender.part": good}, isNothing, "the copy or download is not complete"},
		"damaged":         {map[string][]byte{"a.mender": good[:900], "._a.mender": good}, isRefused, "a.mender: the artifact ends after 900 bytes: it is not complete (and 1 more skipped)"},
		"for another":     {map[string][]byte{"a.mender": other}, isDepends, `a.mender: artifact depends on device_type "plank"`},
		"another, broken": {map[string][]byte{"a.mender": good[:900], "b.mender": other}, isDepends, "b.mender"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range test.files {
				write(t, dir, name, data)
			}
			_, _, err := open(t, dir, nil)
			if !test.is(err) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v; want another kind, or %q in it", err, test.words)
			}
		})
	}
}

func TestMoreThanOneFits(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"release-9", "release-10", "release-10-rc1"} {
		write(t, dir, name+".mender", mender(t, name, nil))
	}
	_, _, err := open(t, dir, nil)
	var many *choose.ManyError
	if !errors.As(err, &many) || !strings.Contains(err.Error(), "3 artifacts fit this device: release-10.mender (release-10), release-10-rc1.mender") ||
		!strings.Contains(many.Hint(), "--yes takes the newest, release-10.mender") {
		t.Errorf("error %v; want a list of three", err)
	}
	name, notes, err := open(t, dir, func(o *choose.Options) { o.Yes = true })
	if name != "release-10.mender" || err != nil || !strings.Contains(notes, "taking release-10.mender (release-10)") {
		t.Errorf("with Yes: %q, %v; want release-10.mender", name, err)
	}
	name, _, err = open(t, dir, func(o *choose.Options) {
		o.Ask = func(_ context.Context, q choose.Question) (int, error) { return 2, nil }
	})
	if name != "release-9.mender" || err != nil {
		t.Errorf("asked for the third: %q, %v; want release-9.mender", name, err)
	}
	_, _, err = open(t, dir, func(o *choose.Options) {
		o.Ask = func(context.Context, choose.Question) (int, error) { return 0, choose.ErrDeclined }
	})
	if !errors.Is(err, choose.ErrDeclined) {
		t.Errorf("declined: %v", err)
	}
}

func TestKeys(t *testing.T) {
	pem, err := os.ReadFile("../../testdata/artifacts/keys/demo.pub")
	if err != nil {
		t.Fatal(err)
	}
	key, err := artifact.ParsePublicKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "unsigned-9.mender", mender(t, "unsigned-9", nil))
	change := func(o *choose.Options) {
		o.Keys, o.Fits = []artifact.PublicKey{key}, func(*artifact.Header) error { return nil }
	}
	if _, _, err := open(t, dir, change); !errors.Is(err, artifact.ErrUnsigned) {
		t.Errorf("only an unsigned one: %v; want ErrUnsigned", err)
	}
	for _, name := range []string{"rootfs-rsa.mender", "rootfs-xz.mender"} {
		data, err := os.ReadFile("../../testdata/artifacts/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, data)
	}
	name, notes, err := open(t, dir, change)
	if name != "rootfs-xz.mender" || err != nil || !strings.Contains(notes, "not signed") || !strings.Contains(notes, "signature matches no key") {
		t.Errorf("chose %q, %v; want rootfs-xz.mender; notes:\n%s", name, err, notes)
	}
}

func TestNewest(t *testing.T) {
	t0 := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, others := range map[string][]string{ // name@hours, the newest is the key
		"release-10":                      {"release-9@2", "release-1"},
		"release-2.0":                     {"release-2.0-rc1@9", "release-2.0~beta2@9", "release-1.9.9", "release-2.0-alpha"},
		"v1.10":                           {"1.9@5", "v1.2.100"},
		"release-2.0.1":                   {"release-2.0", "release-2.0-hotfix"},
		"2026.11.2":                       {"2026.2.28@7"},
		"app-1@3":                         {"base-2@2", "app-0@1"},
		"stable@3":                        {"release-9@2"},
		"r100000000000000000000000000001": {"r99999999999999999999999999999"},
	} {
		t.Run(want, func(t *testing.T) {
			dir := t.TempDir()
			for i, s := range append(others, want) {
				name, hours, _ := strings.Cut(s, "@")
				file := fmt.Sprintf("%d.mender", i)
				write(t, dir, file, mender(t, name, nil))
				at := t0
				if hours != "" {
					at = at.Add(time.Duration(hours[0]-'0') * time.Hour)
				}
				if err := os.Chtimes(filepath.Join(dir, file), at, at); err != nil {
					t.Fatal(err)
				}
			}
			got, notes, err := open(t, dir, func(o *choose.Options) { o.Yes = true })
			if got != fmt.Sprintf("%d.mender", len(others)) || err != nil {
				t.Errorf("chose %q, %v; want the last; %s", got, err, notes)
			}
		})
	}
}

func TestVersionsAreInOrder(t *testing.T) {
	sorted := []string{"r-0.9", "r-1.0-alpha", "r-1.0-dev", "r-1.0-rc1", "r-1.0-rc2", "r-1.0-rc10", "r-1.0~x", "r-1.0", "r-1.0-fix", "r-1.0.1", "r-1.0.1.1", "r-1.1", "r-1.10", "r-2"}
	dir := t.TempDir()
	for i, name := range sorted { // file names are in another order
		write(t, dir, fmt.Sprintf("%c.mender", 'z'-i), mender(t, name, nil))
	}
	_, _, err := open(t, dir, func(o *choose.Options) {
		o.Ask = func(_ context.Context, q choose.Question) (int, error) {
			for i, c := range q.Fits {
				if want := sorted[len(sorted)-1-i]; c.Artifact != want {
					t.Errorf("number %d is %s; want %s", i+1, c.Artifact, want)
				}
			}
			return 0, nil
		}
	})
	if err != nil {
		t.Error(err)
	}
}
