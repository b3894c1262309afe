package powerloss_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// snapshot is all that can change of a device.
type snapshot map[string]thing

// thing is a file, a directory or a symbolic link.
type thing struct {
	mode fs.FileMode
	data []byte
	link string
}

// fixed are the directories that no command changes.
var fixed = []string{"etc", "usr"}

func (r *rig) take() (snapshot, error) {
	s := snapshot{}
	err := filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == r.dir {
			return err
		}
		name := strings.TrimPrefix(path, r.dir+"/")
		if slices.Contains(fixed, name) {
			return fs.SkipDir
		}
		s[name], err = r.look(path, e)
		return err
	})
	return s, err
}

func (r *rig) look(path string, e fs.DirEntry) (t thing, err error) {
	info, err := e.Info()
	if err != nil {
		return t, err
	}
	t.mode = info.Mode()
	switch {
	case t.mode.IsRegular():
		t.data, err = os.ReadFile(path)
		if len(t.data) == r.slotSize {
			t.data = r.intern(t.data)
		}
	case t.mode.Type() == fs.ModeSymlink:
		t.link, err = os.Readlink(path)
	}
	return t, err
}

// intern saves memory: equal slots are kept once, and of those that hold no image only the first
// one, as what they hold makes no difference.
func (r *rig) intern(slot []byte) []byte {
	if name := r.identify(slot); name != "" {
		return r.images[name]
	}
	if r.torn == nil {
		r.torn = slot
	}
	return r.torn
}

// put makes the device what it was.
func (r *rig) put(s snapshot) error {
	if err := r.clear(s); err != nil {
		return err
	}
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names) // directories come before what is in them
	for _, name := range names {
		if err := s[name].make(r.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// clear removes what s does not have, and all that is not overwritten.
func (r *rig) clear(s snapshot) error {
	return filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == r.dir {
			return err
		}
		name := strings.TrimPrefix(path, r.dir+"/")
		if slices.Contains(fixed, name) {
			return fs.SkipDir
		}
		if was, known := s[name]; known && was.mode.Type() == e.Type() && !(was.link != "") {
			return nil
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

func (t thing) make(path string) error {
	switch {
	case t.mode.IsDir():
		if err := os.Mkdir(path, t.mode.Perm()); err != nil && !os.IsExist(err) {
			return err
		}
		return nil
	case t.link != "":
		return os.Symlink(t.link, path)
	case !t.mode.IsRegular():
		return nil // a pipe that a killed module has left
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, t.data) {
		return nil
	}
	return os.WriteFile(path, t.data, t.mode.Perm())
}

// fingerprint is equal for two states of a device that only differ in what makes no difference:
// random names, times, how often something was written, what is in a slot without an image, what
// is in the older state file, which is the next one to be replaced, and what is in a work tree
// that no deployment uses.
func (r *rig) fingerprint(s snapshot) string {
	state, busy := newestState(s)
	lines := []string{state}
	for name, t := range s {
		if strings.Contains(name, "/tree") && !busy && !t.mode.IsDir() {
			continue
		}
		if text, counts := r.describe(name, t); counts {
			lines = append(lines, name+": "+text)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (r *rig) describe(name string, t thing) (text string, counts bool) {
	switch base := filepath.Base(name); {
	case base == "lock", base == "fw_printenv.lock", base == "boot_id", strings.HasPrefix(base, "state-"):
		return "", false
	case t.mode.IsDir():
		return "directory", true
	case t.link != "":
		return t.link, true
	case strings.HasSuffix(base, ".new"):
		return "left over", true // it will be overwritten, whatever it has
	case base == "uboot-env":
		return normalEnv(t.data), true
	case len(t.data) == r.slotSize:
		return r.identify(t.data), true
	}
	return fmt.Sprintf("%x", sha256.Sum256(t.data)), true
}

// stateFile is a state file as far as it is looked at here.
type stateFile struct {
	Sequence uint64         `json:"sequence"`
	State    map[string]any `json:"state"`
}

// newestState is the state that counts, without what is random, and how many files there are. It
// is busy if a deployment is in progress.
func newestState(s snapshot) (text string, busy bool) {
	var newest stateFile
	files := 0
	for i := range 2 {
		var f stateFile
		if err := json.Unmarshal(s[fmt.Sprintf("var/lib/mender/flipside/state-%d.json", i)].data, &f); err != nil {
			continue
		}
		files++
		if f.Sequence > newest.Sequence {
			newest = f
		}
	}
	d, busy := newest.State["deployment"].(map[string]any)
	if busy {
		delete(d, "id")
		delete(d, "started")
		if m, ok := d["memory"].(map[string]any); ok {
			m["boot_id"] = m["boot_id"] == strings.TrimSpace(string(s["run/boot_id"].data))
		}
	}
	state, err := json.Marshal(newest.State)
	if err != nil {
		return err.Error(), busy
	}
	return fmt.Sprintf("%d state files: %s", files, state), busy
}

// normalEnv is an environment with two copies: what each of them says, if it is valid, and which
// one is newer. How often it was written makes no difference.
func normalEnv(data []byte) string {
	half := len(data) / 2
	first, second := data[:half], data[half:]
	return fmt.Sprintf("%s; %s; newer by %d", normalCopy(first), normalCopy(second), int8(second[flagsPos]-first[flagsPos]))
}

// flagsPos is where the number of a copy is, behind its checksum.
const flagsPos = 4

func normalCopy(data []byte) string {
	vars := data[flagsPos+1:]
	if binary.NativeEndian.Uint32(data) != crc32.ChecksumIEEE(vars) {
		return "not valid"
	}
	return strings.ReplaceAll(strings.TrimRight(string(vars), "\x00"), "\x00", " ")
}
