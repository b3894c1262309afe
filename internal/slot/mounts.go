package slot

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mount is a line of /proc/self/mountinfo (proc(5)).
type mount struct {
	dev     Number
	point   string
	fstype  string
	source  string // whatever the one who mounted it said
	options string // of the file system: overlay's directories are here
}

// mounts reads the mount table. That it cannot be read is an error, never "nothing is mounted".
func (c Config) mounts() ([]mount, error) { return c.mountsOf("self") }

// mountsOf is the mount table that a process sees.
func (c Config) mountsOf(process string) ([]mount, error) {
	path := filepath.Join(c.proc(), process, "mountinfo")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("mount table: %w", err)
	}
	var all []mount
	for line := range strings.Lines(string(data)) {
		m, err := parseMount(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("mount table %s: %w", path, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// parseMount reads "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue".
// The number of fields before the dash varies.
func parseMount(line string) (mount, error) {
	front, back, ok := strings.Cut(line, " - ")
	before, after := strings.Split(front, " "), strings.Split(back, " ")
	if !ok || len(before) < 6 || len(after) < 2 {
		return mount{}, fmt.Errorf("unknown line %q", line)
	}
	dev, err := parseNumber(before[2])
	if err != nil {
		return mount{}, fmt.Errorf("unknown line %q: %w", line, err)
	}
	m := mount{dev: dev, point: unescape(before[4]), fstype: after[0], source: unescape(after[1])}
	if len(after) > 2 {
		m.options = after[2]
	}
	return m, nil
}

// unescape replaces \040 and the like, in which /proc hides blanks.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if code, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// rootMount is the file system that Config.Root shows: the last one mounted there.
func (c Config) rootMount(all []mount) (mount, bool) {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].point == filepath.Clean(c.root()) {
			return all[i], true
		}
	}
	return mount{}, false
}

// things are what a mounted file system lies on, as far as the mount table tells. btrfs and UBIFS
// have no device number of their own there; their source names it.
func (c Config) things(m mount) []identity {
	if m.dev.Major != 0 {
		return []identity{blockDevice(m.dev)}
	}
	if id, ok := c.volumeNamed(m.source); ok {
		return []identity{id}
	}
	if !strings.HasPrefix(m.source, "/") {
		return nil
	}
	if n, err := c.stat(m.source); err == nil && (n.isBlock() || n.isChar()) {
		return []identity{n.identity()}
	}
	return nil
}

// lowerDirs are the directories below an overlay: one list in which "\:" is a colon, or, from
// newer kernels, one option for each.
func (m mount) lowerDirs() []string {
	var all []string
	for option := range strings.SplitSeq(m.options, ",") {
		if dir, ok := strings.CutPrefix(option, "lowerdir+="); ok {
			all = append(all, unescape(dir))
		}
		if dirs, ok := strings.CutPrefix(option, "lowerdir="); ok {
			// The table escapes the escape: "\:" stands there as "\134:".
			dirs = strings.ReplaceAll(unescape(dirs), `\:`, "\x00")
			for dir := range strings.SplitSeq(dirs, ":") {
				all = append(all, strings.ReplaceAll(dir, "\x00", ":"))
			}
		}
	}
	return all
}

// swaps are the devices and files that the kernel swaps to.
func (c Config) swaps() (map[identity]string, error) {
	data, err := os.ReadFile(filepath.Join(c.proc(), "swaps"))
	if os.IsNotExist(err) {
		return nil, nil // a kernel without swap
	}
	if err != nil {
		return nil, fmt.Errorf("swap table: %w", err)
	}
	found := map[identity]string{}
	for line := range strings.Lines(string(data)) {
		path, _, _ := strings.Cut(line, " ")
		path = unescape(path)
		if !strings.HasPrefix(path, "/") {
			continue // the heading
		}
		// One that cannot be found here is in another mount namespace; O_EXCL will meet it.
		if n, err := c.stat(path); err == nil {
			found[n.identity()] = path
		}
	}
	return found, nil
}
