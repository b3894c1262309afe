package script

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"flipside/internal/progress"
)

// found is a script to be run.
type found struct {
	name, path string
}

// find returns the scripts of one state and action in the order of their names. What is named
// like a script but cannot be run is left out, with a warning. A directory without such scripts
// is none of our business, whatever its version.
func (r *Runner) find(dir string, s State, a Action) ([]found, error) {
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var scripts []found
	for _, e := range entries {
		n, ok := ParseName(e.Name())
		if !ok || n.State != s || n.Action != a {
			continue
		}
		f := found{name: e.Name(), path: filepath.Join(dir, e.Name())}
		if err := runnable(f.path); err != nil {
			r.emit(progress.Event{Kind: progress.Warning, Phase: progress.Scripts, From: f.name,
				Text: fmt.Sprintf("state script %s is skipped: %v", f.path, err)})
			continue
		}
		scripts = append(scripts, f)
	}
	if len(scripts) == 0 {
		return nil, nil
	}
	return scripts, checkVersion(filepath.Join(dir, "version"))
}

func runnable(path string) error {
	info, err := os.Stat(path) // what a symbolic link leads to
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case info.Mode().Perm()&0o111 == 0:
		return errors.New("not executable")
	}
	return nil
}

// checkVersion: without a version file it is ours; versions 2 and 3 differ in nothing that is
// done here.
func checkVersion(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	const enough = 100
	data, err := io.ReadAll(io.LimitReader(f, enough))
	if err != nil {
		return err
	}
	words := strings.Fields(string(data))
	if len(words) == 0 {
		return fmt.Errorf("%s is empty; want 2 or 3", path)
	}
	if words[0] != "2" && words[0] != "3" {
		return fmt.Errorf("%s says %q; want 2 or 3", path, words[0])
	}
	return nil
}
