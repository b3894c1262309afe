package proc

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// group is the process group that a child leads, by its ID. It may be signalled as long as the
// leader was not reaped: until then the kernel gives its ID to nobody else.
type group int

// awaitLeader returns when the leader has exited, without reaping it.
func (g group) awaitLeader() {
	for {
		err := unix.Waitid(unix.P_PID, int(g), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// terminate asks all members to end. A stopped one hears it only when it goes on.
func (g group) terminate() {
	_ = syscall.Kill(-int(g), syscall.SIGTERM)
	_ = syscall.Kill(-int(g), syscall.SIGCONT)
}

// kill ends all members, and waits for at most limit until they are gone.
func (g group) kill(limit time.Duration) {
	_ = syscall.Kill(-int(g), syscall.SIGKILL)
	t := time.NewTimer(limit)
	defer t.Stop()
	g.awaitEmpty(t.C)
}

// awaitEmpty returns when no member is alive, or with over.
func (g group) awaitEmpty(over <-chan time.Time) {
	const interval = 10 * time.Millisecond // the kernel has no notification for this
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for g.alive() {
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}

// alive says whether a member is running. A zombie is not, even where nobody reaps it, as is usual
// in containers. Where /proc cannot tell, nothing is alive: the members were signalled anyway.
func (g group) alive() bool {
	proc, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		if s := readStat("/proc/" + name + "/stat"); s.pgrp == int(g) && s.state != 'Z' && s.state != 'X' {
			return true
		}
	}
	return false
}

// stat is what is needed of a process.
type stat struct {
	state      byte
	ppid, pgrp int
}

// readStat is the zero value if the process is gone.
func readStat(name string) stat {
	data, err := os.ReadFile(name)
	if err != nil {
		return stat{}
	}
	// "PID (COMMAND) STATE PPID PGRP ..."; only the last parenthesis is certainly not COMMAND's.
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 3 {
		return stat{}
	}
	ppid, err := strconv.Atoi(string(f[1]))
	if err != nil {
		return stat{}
	}
	pgrp, err := strconv.Atoi(string(f[2]))
	if err != nil {
		return stat{}
	}
	return stat{f[0][0], ppid, pgrp}
}
