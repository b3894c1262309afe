// Package menderclient finds Mender's own client at work on the device: mender-update (versions 4
// and 5), mender-client and mender (up to 3), as the user's command or as the daemon, which on most
// devices is the service mender-updated or mender-client. Two updaters that write to the same slot
// ruin it, and neither of them asks the other's lock.
//
// It only looks at processes. What the client has recorded is for package menderstore.
package menderclient

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Process is a process of Mender's client.
type Process struct {
	PID     int    `json:"pid"`
	Program string `json:"program"` // as it was called
	Action  string `json:"action"`  // "daemon", or one of those that change the device
}

// Daemon says that it may begin an update at any time, but need not be at one.
func (p Process) Daemon() bool { return p.Action == daemon }

// String never has the process's other arguments: they may be URLs with secrets.
func (p Process) String() string {
	return fmt.Sprintf("process %d, %s %s", p.PID, filepath.Base(p.Program), p.Action)
}

const daemon = "daemon"

// programs are the names of the client, and actions what matters of its commands. Versions up to 2
// wrote them as options: mender -install.
var (
	programs = [...]string{"mender-update", "mender-client", "mender"}
	actions  = [...]string{daemon, "install", "commit", "rollback", "resume"}
)

// Running returns the processes of Mender's client that change the device now, or may do so at any
// time, in no particular order. proc is where the kernel shows its processes, /proc.
func Running(proc string) []Process {
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline"))
	var found []Process
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		words := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		if action := actionOf(words); action != "" {
			found = append(found, Process{PID: pid, Program: words[0], Action: action})
		}
	}
	return found
}

// actionOf is what a command line is for, if it is one of the client's; else "".
func actionOf(words []string) string {
	if !slices.Contains(programs[:], filepath.Base(words[0])) {
		return ""
	}
	for _, word := range words[1:] {
		if action := strings.TrimLeft(word, "-"); slices.Contains(actions[:], action) {
			return action
		}
	}
	return ""
}
