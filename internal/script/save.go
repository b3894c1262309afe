package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"flipside/artifact"
	"flipside/internal/atomicfile"
	"flipside/internal/disk"
)

// version is that of the state scripts which artifacts bring.
const version = "3"

// Save makes scripts the content of dir, all of it, durably. A power cut leaves in dir what was
// there before, or what is there after, or no dir at all; never some of each. Without scripts
// there is no dir. Beside dir, Save uses dir + ".new" and dir + ".old".
func Save(fsys disk.FS, dir string, scripts []artifact.Script) error {
	if err := checkNames(scripts); err != nil {
		return err
	}
	if err := save(fsys, filepath.Clean(dir), scripts); err != nil {
		return fmt.Errorf("storing the artifact's state scripts: %w", err)
	}
	return nil
}

// checkNames: the names become paths.
func checkNames(scripts []artifact.Script) error {
	seen := make(map[string]bool)
	for _, s := range scripts {
		n, ok := ParseName(s.Name)
		if !ok || !n.State.inArtifact() {
			return fmt.Errorf("%q is not the name of an artifact's state script", s.Name)
		}
		if seen[s.Name] {
			return fmt.Errorf("state script %s is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func save(fsys disk.FS, dir string, scripts []artifact.Script) error {
	fresh, old := dir+".new", dir+".old"
	// What a power cut left behind.
	for _, d := range []string{fresh, old} {
		if err := disk.RemoveAll(fsys, d); err != nil {
			return err
		}
	}
	if len(scripts) > 0 {
		if err := fill(fsys, fresh, scripts); err != nil {
			return err
		}
	}
	if err := moveAway(fsys, dir, old); err != nil {
		return err
	}
	if len(scripts) > 0 {
		if err := fsys.Rename(fresh, dir); err != nil {
			return err
		}
		if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return disk.RemoveAll(fsys, old)
}

// fill makes dir, with the scripts and their version.
func fill(fsys disk.FS, dir string, scripts []artifact.Script) error {
	const onlyRoot = 0o700 // scripts may hold secrets
	if err := fsys.Mkdir(dir, onlyRoot); err != nil {
		return err
	}
	for _, s := range scripts {
		if err := atomicfile.Write(fsys, filepath.Join(dir, s.Name), s.Content, onlyRoot); err != nil {
			return err
		}
	}
	return atomicfile.Write(fsys, filepath.Join(dir, "version"), []byte(version), 0o600)
}

// moveAway makes dir disappear as a whole.
func moveAway(fsys disk.FS, dir, to string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := fsys.Rename(dir, to); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(dir))
}
