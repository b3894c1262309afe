package deployment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the lock's file, in the directory of the state files.
const lockName = "lock"

// Holder is the process that works on a deployment.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	TTY     string    `json:"tty,omitempty"`

	Waiting *Waiting `json:"waiting,omitempty"` // the state script that asked to be run later

	// Where the work stands, for whoever looks; it is not in the lock file.
	Phase   string `json:"phase,omitempty"`   // "" between two phases, or if it is not known
	Percent *int   `json:"percent,omitempty"` // of the whole; nil: there is nothing to measure
}

// at is where the work stands, as a part of a sentence: ", download 42%".
func (h *Holder) at() string {
	if h.Phase == "" {
		return ""
	}
	if h.Percent == nil {
		return ", " + h.Phase
	}
	return fmt.Sprintf(", %s %d%%", h.Phase, *h.Percent)
}

// String says who it is, from where, at what, and since when.
func (h *Holder) String() string {
	where := ""
	if h.TTY != "" {
		where = " on " + h.TTY
	}
	return fmt.Sprintf("process %d%s, %q%s, since %s", h.PID, where, h.Command, h.at(), h.Since.Format(time.DateTime))
}

// Waiting is a state script that asked to be run again later.
type Waiting struct {
	Script string    `json:"script"`
	Since  time.Time `json:"since"` // when it asked first
	Until  time.Time `json:"until"` // when it will be given up
}

// Wake makes the holder run its waiting script again at once.
func (h *Holder) Wake() error {
	if err := unix.Kill(h.PID, unix.SIGUSR1); err != nil {
		return fmt.Errorf("waking process %d: %w", h.PID, err)
	}
	return nil
}

// BusyError means that something else is in the way: another flipside (Holder), another updater
// (Other, in words), or a deployment that waits for a decision (Record).
type BusyError struct {
	Holder *Holder
	Other  string
	Record *Record
}

func (e *BusyError) Error() string {
	if e.Holder != nil {
		return "another flipside is at work: " + e.Holder.String()
	}
	if e.Other != "" {
		return e.Other
	}
	return fmt.Sprintf("update already in progress: %s is %s", e.Record.Artifact.Name, e.Record.State)
}

// Lock is held for a whole transaction. The kernel drops it when the process dies, however it
// dies, so no lock is ever stale; the file itself stays.
type Lock struct {
	f      *os.File
	holder Holder // as in the file
}

// Acquire takes the lock in dir, making dir if it is missing, or returns a *BusyError that names
// the holder. It does not wait.
func Acquire(dir, command string) (*Lock, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, &BusyError{Holder: readHolder(f)}
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	l := &Lock{f: f, holder: Holder{PID: os.Getpid(), Command: command, Since: time.Now(), TTY: Terminal()}}
	if err := l.describe(); err != nil {
		return nil, errors.Join(err, l.Release())
	}
	return l, nil
}

// SetWaiting tells others which state script waits, or with nil that none does any more.
func (l *Lock) SetWaiting(w *Waiting) error {
	l.holder.Waiting = w
	return l.describe()
}

// describe writes the holder with blanks behind it, so that a reader finds whole JSON also while a
// longer text is replaced by a shorter one.
func (l *Lock) describe() error {
	data, err := json.Marshal(l.holder)
	if err != nil {
		return err
	}
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	if rest := int(info.Size()) - len(data); rest > 0 {
		data = append(data, strings.Repeat(" ", rest)...)
	}
	_, err = l.f.WriteAt(data, 0)
	return err
}

// Terminal is where a person would see this process, or "".
func Terminal() string {
	name, err := os.Readlink("/proc/self/fd/2")
	if err != nil || !strings.HasPrefix(name, "/dev/tty") && !strings.HasPrefix(name, "/dev/pts/") {
		return ""
	}
	return name
}

// readHolder is best effort: the holder may be writing at this moment.
func readHolder(f *os.File) *Holder {
	var h Holder
	data, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		h = Holder{Command: "unknown"}
	}
	return &h
}

// Working returns who holds the lock in dir, or nil. It only asks: to take the lock, if only for a
// moment, would be in the way of somebody who wants it in that moment.
func Working(dir string) *Holder {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return nil
	}
	defer f.Close()
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &held); err != nil || held.Type == unix.F_UNLCK {
		return nil
	}
	return readHolder(f)
}

// Release lets others work.
func (l *Lock) Release() error { return l.f.Close() }
