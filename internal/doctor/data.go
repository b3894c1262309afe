package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"flipside/artifact"
	"flipside/internal/deployment"
	"flipside/internal/disk"
	"flipside/internal/slot"
)

// Space is what there is on the file system of a directory.
type Space struct {
	Free     int64 // bytes
	Files    int64 // that can still be made; -1: as many as fit
	ReadOnly bool
	Volatile bool // it is in memory: lost when the power is
}

// How much the state files need, with a new copy beside the two, and what makes a device
// uncomfortable: scripts and small payloads of update modules are stored there too.
const (
	leastSpace  = 256 << 10
	littleSpace = 4 << 20
	leastFiles  = 16
)

// dataDirectory: where all state is.
func (e *examination) dataDirectory(context.Context) {
	dir := e.Options.Datastore
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		e.problem(DataDirectory, "make it, on a partition that both systems share; or name another one with --datastore", "%s: %v", dir, disk.Cause(err))
		return
	}
	e.space(dir)
	e.lasting(dir)
}

func (e *examination) space(dir string) {
	space, err := e.how.Space(dir)
	switch {
	case err != nil:
		e.problem(DataDirectory, "see to it that its partition is mounted and sound", "%s: %v", dir, disk.Cause(err))
	case space.ReadOnly:
		e.problem(DataDirectory, "mount it writable: see /etc/fstab, and the kernel's log for errors of its file system", "%s is on a file system that is mounted read-only", dir)
	case unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		e.problem(DataDirectory, "run flipside as root, or give the directory to the user that runs it", "%s cannot be written by this user", dir)
	case space.Free < leastSpace:
		e.problem(DataDirectory, "make room there", "%s is full: there is room for %s", dir, size(space.Free))
	case space.Files >= 0 && space.Files < leastFiles:
		e.problem(DataDirectory, "remove some of the many small files there", "%s is full: there is room for %s", dir, counted(int(space.Files), "file"))
	case space.Free < littleSpace:
		e.warn(DataDirectory, "make room there: scripts and payloads of update modules are stored there too", "%s has room for %s only", dir, size(space.Free))
	default:
		e.ok(DataDirectory, "%s has room for %s", dir, size(space.Free))
	}
	if err == nil && space.Volatile && !e.Options.FileSlots {
		e.problem(DataDirectory, "mount a partition there that both systems share", "%s is in memory: the next reboot loses what is installed and what is in progress", dir)
	}
}

// lasting: what lies in a slot is replaced with it, and the other system has never seen it.
func (e *examination) lasting(dir string) {
	if !e.hasSlots() || e.Options.FileSlots {
		return // nothing is ever replaced there; or all of it is made of files
	}
	data, err := e.how.Stat(dir)
	if err != nil {
		return // it was found a moment ago: no longer our business
	}
	const fix = "put it on a third partition that both systems mount, and move there what it holds"
	if root, err := e.how.Stat(e.Options.Root); err == nil && root.Dev == data.Dev {
		e.problem(DataDirectory, fix, "%s is on the same file system as %s: an update replaces it, and the new system finds no state", dir, e.Options.Root)
		return
	}
	for _, part := range []string{e.Config.RootfsPartA, e.Config.RootfsPartB} {
		if n, err := e.how.Stat(part); err == nil && n.Mode.Type() == fs.ModeDevice && n.Rdev == data.Dev {
			e.problem(DataDirectory, fix, "%s is on %s, which is a slot: an update replaces it", dir, part)
			return
		}
	}
	e.ok(DataDirectory, "%s is on a file system of its own, which outlives updates", dir)
}

func (e *examination) deviceType(context.Context) {
	name, err := e.Type()
	if err != nil {
		e.problem(DeviceType, "write the line device_type=NAME to "+e.TypeFile, "%v", err)
		return
	}
	e.ok(DeviceType, "%s", name)
}

func (e *examination) openStore() (*deployment.Store, error) {
	none := func() (artifact.Provides, error) { return nil, nil }
	return deployment.OpenStore(e.Options.FS, e.StateDir, none)
}

// state: what flipside remembers, and the deployment in progress.
func (e *examination) state(context.Context) {
	store, err := e.openStore()
	switch {
	case errors.Is(err, deployment.ErrStateLost):
		e.problem(State, "keep both files for whoever looks into it, then remove them: the device forgets what it has and what is in progress", "%v", err)
		return
	case err != nil:
		e.problem(State, "install the flipside that wrote it, or see to it that it can be read", "%v", err)
		return
	}
	for _, w := range store.Warnings {
		e.warn(State, "the next update writes it anew; if it happens again, the medium is failing", "%s", w)
	}
	if name := store.Provides()["artifact_name"]; name != "" {
		e.ok(State, "the device has %s", name)
	} else {
		e.ok(State, "nothing was recorded yet")
	}
	if e.holder = deployment.Working(e.StateDir); e.holder != nil {
		e.ok(Deployment, "another flipside is at work: process %d, %q", e.holder.PID, e.holder.Command)
	}
	if record, err := store.Record(); err == nil {
		e.record = &record
		e.inProgress()
	}
}

func (e *examination) inProgress() {
	r := e.record
	if e.holder != nil {
		return
	}
	switch r.State.Recovery() {
	case deployment.Wait:
		e.warn(Deployment, "`flipside status` says what it waits for: a reboot, `flipside commit`, `flipside resume` or `flipside rollback`",
			"the update to %s is %s and waits for a decision", r.Artifact.Name, r.State)
	case deployment.CleanUp:
		e.warn(Deployment, "`flipside resume` cleans it up, and so does the next install", "the update to %s was interrupted while it was %s; nothing was activated", r.Artifact.Name, r.State)
	default:
		e.warn(Deployment, "`flipside resume` brings it to an end", "the update to %s was interrupted while it was %s", r.Artifact.Name, r.State)
	}
}

// leftovers are what a power cut leaves behind. All of it is harmless.
func (e *examination) leftovers(context.Context) {
	if e.holder != nil {
		return // they are in use
	}
	suspects := []string{
		filepath.Join(e.StateDir, "state-0.json.new"), filepath.Join(e.StateDir, "state-1.json.new"),
		e.ArtifactScripts + ".new", e.ArtifactScripts + ".old", e.WorkTree + ".old",
	}
	if e.record == nil {
		suspects = append(suspects, e.WorkTree)
	}
	for _, path := range suspects {
		if _, err := os.Lstat(path); err == nil {
			e.warn(Leftovers, "nothing has to be done: the next update of its kind removes it; or rm -r "+path, "%s is left from a run that was cut short", path)
		}
	}
}

func kernelStat(path string) (slot.Node, error) {
	info, err := os.Stat(path)
	if err != nil {
		return slot.Node{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return slot.Node{}, errors.ErrUnsupported
	}
	number := func(n uint64) slot.Number { return slot.Number{Major: unix.Major(n), Minor: unix.Minor(n)} }
	// Dev and Rdev have 32 bits on MIPS.
	return slot.Node{Mode: info.Mode().Type(), Rdev: number(uint64(st.Rdev)), Dev: number(uint64(st.Dev)), Ino: st.Ino}, nil
}

func kernelSpace(dir string) (Space, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return Space{}, err
		}
	}
	s := Space{Free: int64(st.Bavail) * int64(st.Bsize), Files: -1, ReadOnly: st.Flags&unix.ST_RDONLY != 0}
	if st.Files > 0 {
		s.Files = int64(st.Ffree)
	}
	switch uint32(st.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		s.Volatile = true
	}
	return s, nil
}
