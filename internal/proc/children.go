package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// KillChildren kills all that Run has started in this process and that is still there, with its
// group. It does not wait, and is for a process that is about to end by a signal: the kernel would
// then kill its children, but not theirs.
func KillChildren() {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range files {
		s := readStat(name)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && s.ppid == os.Getpid() && s.pgrp == pid {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
}
