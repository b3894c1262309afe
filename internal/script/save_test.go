package script_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"flipside/artifact"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/script"
)

func scripts(kv ...string) []artifact.Script {
	var list []artifact.Script
	for i := 0; i < len(kv); i += 2 {
		list = append(list, artifact.Script{Name: kv[i], Content: []byte(kv[i+1])})
	}
	return list
}

const enter, leave = "ArtifactInstall_Enter_00_x", "ArtifactRollbackReboot_Leave_99"

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scripts")
	for _, tc := range []struct {
		scripts []artifact.Script
		want    map[string]string
	}{
		{nil, nil},
		{scripts(enter, "1"), map[string]string{enter: "1", "version": "3"}},
		{scripts(leave, "", enter, "2"), map[string]string{leave: "", enter: "2", "version": "3"}},
		{scripts(enter, "3"), map[string]string{enter: "3", "version": "3"}},
		{nil, nil},
	} {
		if err := script.Save(disk.OS{}, dir+"/", tc.scripts); err != nil {
			t.Fatalf("Save(%q) = %v", tc.scripts, err)
		}
		if got := hosttest.Files(t, dir); !maps.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
			t.Errorf("Save(%q) left %q; want %q", tc.scripts, got, tc.want)
		}
		if len(tc.scripts) > 0 {
			info, err := os.Stat(filepath.Join(dir, enter))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode(); got != 0o700 {
				t.Errorf("mode = %v; want %v", got, fs.FileMode(0o700))
			}
		}
		if rest, _ := filepath.Glob(dir + ".*"); rest != nil {
			t.Errorf("Save(%q) left %v", tc.scripts, rest)
		}
	}
}

func TestSavedScriptsRun(t *testing.T) {
	d := newDevice(t)
	if err := script.Save(disk.OS{}, d.ArtifactDir, scripts(enter, "#!/bin/sh\necho "+enter+" >>"+d.log)); err != nil {
		t.Fatal(err)
	}
	d.mustRun(t, script.ArtifactInstall, script.Enter, enter)
}

// A directory of somebody else's making is replaced too, and a link is not followed.
func TestSaveReplacesWhatIsThere(t *testing.T) {
	base := t.TempDir()
	elsewhere := filepath.Join(base, "elsewhere")
	for _, d := range []string{"scripts.old/deep", "scripts.new/deep", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(elsewhere, "file"), "mine", 0o600)
	dir := filepath.Join(base, "scripts")
	if err := os.Symlink(elsewhere, dir); err != nil {
		t.Fatal(err)
	}
	if err := script.Save(disk.OS{}, dir, scripts(enter, "1")); err != nil {
		t.Fatal(err)
	}
	if got, want := hosttest.Files(t, dir), map[string]string{enter: "1", "version": "3"}; !maps.Equal(got, want) {
		t.Errorf("scripts = %q; want %q", got, want)
	}
	if got, want := hosttest.Files(t, elsewhere), map[string]string{"file": "mine"}; !maps.Equal(got, want) {
		t.Errorf("elsewhere = %q; want %q", got, want)
	}
}

func TestSaveRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scripts")
	for title, list := range map[string][]artifact.Script{
		"a path":            scripts("../ArtifactInstall_Enter_00", ""),
		"a path in a label": scripts("ArtifactInstall_Enter_00_/../../../x", ""),
		"a device's script": scripts("Download_Enter_00", ""),
		"something else":    scripts("version", "3"),
		"the same twice":    scripts(enter, "1", enter, "2"),
	} {
		if err := script.Save(disk.OS{}, dir, list); err == nil {
			t.Errorf("Save(%s) = nil; want an error", title)
		}
		if got := hosttest.Files(t, dir); got != nil {
			t.Errorf("Save(%s) left %q", title, got)
		}
	}
}

var errCut = errors.New("power cut")

// cutFS is a file system whose power is cut before operation number left.
type cutFS struct {
	disk.OS
	left int
}

func (c *cutFS) step() error {
	if c.left == 0 {
		return errCut
	}
	c.left--
	return nil
}

func (c *cutFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	f, err := c.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &cutFile{f, c}, nil
}

func (c *cutFS) Mkdir(name string, perm fs.FileMode) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.OS.Mkdir(name, perm)
}

func (c *cutFS) Rename(from, to string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.OS.Rename(from, to)
}

func (c *cutFS) Remove(name string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.OS.Remove(name)
}

func (c *cutFS) SyncDir(dir string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.OS.SyncDir(dir)
}

type cutFile struct {
	disk.File
	c *cutFS
}

func (f *cutFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.c.step(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *cutFile) Sync() error {
	if err := f.c.step(); err != nil {
		return err
	}
	return f.File.Sync()
}

func TestSaveAndPowerCuts(t *testing.T) {
	before := map[string]string{enter: "1", "version": "3"}
	for title, tc := range map[string]struct {
		scripts []artifact.Script
		want    map[string]string
	}{
		"replacing": {scripts(leave, "2", enter, "2"), map[string]string{leave: "2", enter: "2", "version": "3"}},
		"removing":  {nil, nil},
	} {
		t.Run(title, func(t *testing.T) {
			for cut := 0; ; cut++ {
				dir := filepath.Join(t.TempDir(), "scripts")
				if err := script.Save(disk.OS{}, dir, scripts(enter, "1")); err != nil {
					t.Fatal(err)
				}
				err := script.Save(&cutFS{left: cut}, dir, tc.scripts)
				if err != nil && !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				if got := hosttest.Files(t, dir); got != nil && !maps.Equal(got, before) && !maps.Equal(got, tc.want) {
					t.Errorf("after %d operations: %q; want the old, the new, or nothing", cut, got)
				}
				if again := script.Save(disk.OS{}, dir, tc.scripts); again != nil {
					t.Errorf("after %d operations: Save = %v", cut, again)
				}
				if got := hosttest.Files(t, dir); !maps.Equal(got, tc.want) {
					t.Errorf("after %d operations and once more: %q; want %q", cut, got, tc.want)
				}
				if err == nil {
					if cut < 3 {
						t.Errorf("Save took %d operations only; were they counted?", cut)
					}
					return
				}
			}
		})
	}
}
