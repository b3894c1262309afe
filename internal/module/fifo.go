package module

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// errGone says that the module has ended while it was waited for.
var errGone = errors.New("the update module has ended")

func makeFIFO(path string) error {
	if err := syscall.Mkfifo(path, uint32(fileMode)); err != nil {
		return &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return nil
}

// openForReader opens a named pipe for writing once somebody opens it for reading. An open that
// waits could not be called off where the module has removed the pipe's name, so it is polled.
func openForReader(path string, gone <-chan struct{}) (*os.File, error) {
	const first, longest = time.Millisecond, 50 * time.Millisecond
	for pause := first; ; pause = min(2*pause, longest) {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, syscall.ENXIO) { // no reader
			return f, err
		}
		t := time.NewTimer(pause)
		select {
		case <-gone:
			t.Stop()
			return nil, errGone
		case <-t.C:
		}
	}
}

// announcer is the named pipe stream-next: whoever opens and reads it learns of one stream, or,
// by reading nothing, that there are no more.
type announcer struct {
	path string
}

func newAnnouncer(tree string) (announcer, error) {
	a := announcer{filepath.Join(tree, "stream-next")}
	return a, makeFIFO(a.path)
}

// await waits for a visitor, who then waits for tell. Closing the visitor tells it: no more.
func (a announcer) await(gone <-chan struct{}) (visitor *os.File, err error) {
	return openForReader(a.path, gone)
}

// tell gives text to a visitor. The next one gets a new pipe: a visitor that is slow to see the
// end of this one must not get what is meant for its next visit.
func (a announcer) tell(visitor *os.File, text string) error {
	defer visitor.Close()
	// The pipe's buffer has room for it. That a visitor went away without reading is told by
	// what it does next.
	if _, err := visitor.WriteString(text); err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	fresh := a.path + ".new"
	if err := makeFIFO(fresh); err != nil {
		return err
	}
	return os.Rename(fresh, a.path)
}
