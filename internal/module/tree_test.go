package module_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"flipside/artifact"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/module"
)

func TestTree(t *testing.T) {
	r := newRecorder(t)
	a := open(t, write(t, artifact.Spec{
		Name: "release-2", Group: "beta", Depends: artifact.Depends{"device_type": {"some device"}},
		Provides: artifact.Provides{"app": "2"}, Type: "recorder", MetaData: json.RawMessage(`{"a":[1,"two"]}`),
		Files: []artifact.FileSpec{artifact.FileBytes("file", nil)},
	}))
	if err := r.handler(t).Prepare(t.Context(), a.Header()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"version":                "3\n",
		"current_artifact_name":  "release-1\n",
		"current_artifact_group": "stable\n",
		"current_device_type":    "some device\n",
		"header/artifact_name":   "release-2",
		"header/artifact_group":  "beta",
		"header/payload_type":    "recorder",
	} {
		if got := string(hosttest.Read(t, filepath.Join(r.Work, name))); got != want {
			t.Errorf("%s = %q; want %q", name, got, want)
		}
	}
	for name, want := range map[string][]byte{
		"header-info": a.Header().Info,
		"type-info":   a.Header().Payloads[0].TypeInfo,
		"meta-data":   []byte(`{"a":[1,"two"]}`),
	} {
		if got := string(hosttest.Read(t, filepath.Join(r.Work, "header", name))); !sameJSON(t, []byte(got), want) {
			t.Errorf("header/%s = %s; want %s", name, got, want)
		}
	}
	var names []string
	err := filepath.WalkDir(r.Work, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(r.Work, path)
		names = append(names, rel)
		info, ierr := e.Info()
		if ierr != nil {
			return ierr
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v; want nothing for others", rel, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{".", "current_artifact_group", "current_artifact_name", "current_device_type", "header",
		"header/artifact_group", "header/artifact_name", "header/header-info", "header/meta-data",
		"header/payload_type", "header/type-info", "tmp", "version"}
	if !slices.Equal(names, want) {
		t.Errorf("tree = %q; want %q", names, want)
	}
}

// What the device or the artifact does not have.
func TestTreeOfNothing(t *testing.T) {
	r := newRecorder(t)
	r.Current = module.Current{}
	r.prepared(t)
	for name, want := range map[string]string{
		"current_artifact_name":  "",
		"current_artifact_group": "",
		"current_device_type":    "",
		"header/artifact_group":  "",
		"header/meta-data":       "null",
	} {
		if got := string(hosttest.Read(t, filepath.Join(r.Work, name))); got != want {
			t.Errorf("%s = %q; want %q", name, got, want)
		}
	}
}

func TestTreeIsBuiltAnew(t *testing.T) {
	r := newRecorder(t)
	r.prepared(t)
	for _, dir := range []string{r.Work + "/tmp/deep", r.Work + ".old/tmp"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.prepared(t)
	if got, _ := filepath.Glob(r.Work + "/tmp/*"); got != nil {
		t.Errorf("tmp holds %v; want nothing", got)
	}
	if got, _ := filepath.Glob(r.Work + ".*"); got != nil {
		t.Errorf("beside the tree there is %v; want nothing", got)
	}
}

// failingFS fails with operation number left, and with all later ones unless once is set.
type failingFS struct {
	disk.OS
	left int
	once bool
}

var errFull = errors.New("no space")

func (f *failingFS) step() error {
	f.left--
	if f.left == -1 || f.left < -1 && !f.once {
		return errFull
	}
	return nil
}

func (f *failingFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	file, err := f.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &failingFile{file, f}, nil
}

func (f *failingFS) Mkdir(name string, perm fs.FileMode) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.OS.Mkdir(name, perm)
}

func (f *failingFS) Rename(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.OS.Rename(from, to)
}

func (f *failingFS) Remove(name string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.OS.Remove(name)
}

func (f *failingFS) SyncDir(dir string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.OS.SyncDir(dir)
}

type failingFile struct {
	disk.File
	fs *failingFS
}

func (f *failingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.step(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *failingFile) Sync() error {
	if err := f.fs.step(); err != nil {
		return err
	}
	return f.File.Sync()
}

// Whatever operation fails: no part of a tree is left that could be taken for one, and with the
// trouble gone everything works.
func TestPrepareOnABadDisk(t *testing.T) {
	for n := 0; ; n++ {
		r := newRecorder(t)
		r.FS = &failingFS{left: n, once: true}
		err := r.handler(t).Prepare(t.Context(), open(t, pack(t)).Header())
		if err != nil && !errors.Is(err, errFull) {
			t.Fatal(err)
		}
		if _, serr := os.Stat(r.Work); (serr == nil) != (err == nil) {
			t.Errorf("Prepare with operation %d failing = %v; the tree: %v", n, err, serr)
		}
		r.FS = nil
		if err := r.prepared(t).Install(t.Context()); err != nil {
			t.Errorf("Install after operation %d had failed = %v; want nil", n, err)
		}
		if err == nil {
			if n < 20 {
				t.Errorf("Prepare took %d operations only; were they counted?", n)
			}
			return
		}
	}
}

// Power cuts in Cleanup: afterwards it can be repeated, and the module is never called with a part
// of its tree.
func TestCleanupAndPowerCuts(t *testing.T) {
	for n := 0; ; n++ {
		r := newRecorder(t)
		r.prepared(t)
		r.FS = &failingFS{left: n}
		first := r.handler(t).Cleanup(t.Context())
		if first != nil && !errors.Is(first, errFull) {
			t.Fatal(first)
		}
		r.FS = nil
		r.does(t, "Cleanup", "cat header/* version current_* >/dev/null")
		if err := r.handler(t).Cleanup(t.Context()); err != nil {
			t.Errorf("Cleanup after a cut before operation %d = %v; want nil", n, err)
		}
		if got, _ := filepath.Glob(r.Work + "*"); got != nil {
			t.Errorf("after a cut before operation %d: %v is left", n, got)
		}
		if first == nil {
			if n < 10 {
				t.Errorf("Cleanup took %d operations only; were they counted?", n)
			}
			return
		}
	}
}
