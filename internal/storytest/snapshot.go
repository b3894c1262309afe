package storytest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"
)

// snapshot is everything below some directories: by path what it is, when it was changed last, and
// its bytes or where it leads.
func snapshot(dirs []string) (map[string]string, error) {
	all := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			content, err := contentOf(path, info)
			all[path] = fmt.Sprintf("%s, %d bytes, changed %s, %s", info.Mode(), info.Size(), info.ModTime(), content)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func contentOf(path string, info fs.FileInfo) (string, error) {
	switch info.Mode().Type() {
	case 0:
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		h := sha256.New()
		_, err = io.Copy(h, f)
		return fmt.Sprintf("%x", h.Sum(nil)), err
	case fs.ModeSymlink:
		return os.Readlink(path)
	}
	return "", nil
}

func cmdSnapshot(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "snapshot NAME DIR...")
	s := storyOf(ts)
	for _, dir := range args[1:] {
		s.watched[args[0]] = append(s.watched[args[0]], ts.MkAbs(dir))
	}
	all, err := snapshot(s.watched[args[0]])
	ts.Check(err)
	s.snapshots[args[0]] = all
}

func cmdUntouched(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "untouched NAME")
	s := storyOf(ts)
	before, ok := s.snapshots[args[0]]
	if !ok {
		ts.Fatalf("there is no snapshot %s", args[0])
	}
	after, err := snapshot(s.watched[args[0]])
	ts.Check(err)
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] != after[path] {
			ts.Fatalf("%s is %s; want %q", path, after[path], before[path])
		}
		delete(before, path)
	}
	if len(before) > 0 {
		ts.Fatalf("missing: %q", slices.Sorted(maps.Keys(before)))
	}
	s.snapshots[args[0]] = after
}
