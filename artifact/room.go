package artifact

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
)

// room reports whether this machine has n bytes of memory for us: in all, and in our control groups.
// What cannot be found out is no obstacle, but that the memory of the machine can be.
func room(n int64) bool {
	info, err := os.ReadFile("/proc/meminfo")
	_, rest, ok := bytes.Cut(info, []byte("MemAvailable:"))
	fields := bytes.Fields(rest)
	if err != nil || !ok || len(fields) == 0 {
		return false
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil || kib < n>>10 {
		return false
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return true // a kernel without them
	}
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(part) < 3:
		case part[1] == "" && !groupRoom("/sys/fs/cgroup", part[2], "memory.max", n):
			return false
		case part[1] == "memory" && !groupRoom("/sys/fs/cgroup/memory", part[2], "memory.limit_in_bytes", n):
			return false
		}
	}
	return true
}

// groupRoom is room in a group and in those that it is in.
func groupRoom(root, group, limit string, n int64) bool {
	for {
		text, err := os.ReadFile(path.Join(root, group, limit))
		if v, perr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && perr == nil && v < n {
			return false
		}
		if group == "/" || group == "." {
			return true
		}
		group = path.Dir(group)
	}
}
