package proc

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// streams are the pipes between us and a child. (The ones of os/exec cannot be waited for before
// the child is reaped.)
type streams struct {
	stdin   *stream
	outputs []*stream
	theirs  []*os.File // the child's ends: ours to close once it has them
	running sync.WaitGroup
}

// stream is our end of a pipe, and what is copied through it.
type stream struct {
	file *os.File
	copy func() error
	done chan struct{}
	err  error // what copy said
	cut  bool  // we closed it while somebody still held the other end
}

// connect makes the pipes. What is a file already goes to the child as it is; nil is /dev/null.
func (s *streams) connect(cmd *exec.Cmd, c Command) error {
	if err := s.connectAll(cmd, c); err != nil {
		s.abandon()
		return err
	}
	return nil
}

func (s *streams) connectAll(cmd *exec.Cmd, c Command) error {
	if err := s.connectStdin(cmd, c.Stdin); err != nil {
		return err
	}
	out, err := s.output(c.Stdout)
	if err != nil {
		return err
	}
	cmd.Stdout = out
	if c.Stderr != nil && sameWriter(c.Stdout, c.Stderr) {
		cmd.Stderr = out
		return nil
	}
	cmd.Stderr, err = s.output(c.Stderr)
	return err
}

func (s *streams) connectStdin(cmd *exec.Cmd, r io.Reader) error {
	if f, ok := r.(*os.File); r == nil || ok {
		if f != nil {
			cmd.Stdin = f
		}
		return nil
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin = theirs
	s.theirs = append(s.theirs, theirs)
	s.stdin = &stream{file: ours, done: make(chan struct{}), copy: func() error {
		_, _ = io.Copy(ours, r) // a child may stop reading whenever it likes
		return ours.Close()
	}}
	return nil
}

// output returns what the child writes to, as a nil interface for /dev/null.
func (s *streams) output(w io.Writer) (io.Writer, error) {
	if w == nil {
		return nil, nil
	}
	if f, ok := w.(*os.File); ok {
		return f, nil
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, theirs)
	s.outputs = append(s.outputs, &stream{file: ours, done: make(chan struct{}), copy: func() error {
		_, err := io.Copy(w, ours)
		// The writer's trouble is ours, not the child's: it may write on.
		_, _ = io.Copy(io.Discard, ours)
		return err
	}})
	return theirs, nil
}

// sameWriter compares; types that cannot be compared are different.
func sameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

func (s *streams) all() []*stream {
	if s.stdin == nil {
		return s.outputs
	}
	return append([]*stream{s.stdin}, s.outputs...)
}

// abandon closes everything where no child was started.
func (s *streams) abandon() {
	for _, f := range s.theirs {
		_ = f.Close()
	}
	for _, st := range s.all() {
		_ = st.file.Close()
	}
}

// start copies until close.
func (s *streams) start() {
	for _, f := range s.theirs {
		_ = f.Close()
	}
	for _, st := range s.all() {
		s.running.Go(func() {
			st.err = st.copy()
			close(st.done)
		})
	}
}

// drain waits until the child's output has ended, but not longer than limit.
func (s *streams) drain(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	for _, st := range s.outputs {
		select {
		case <-st.done:
		case <-t.C:
			return
		}
	}
}

// close ends all copying, whoever holds the other ends, and returns the writers' first error.
func (s *streams) close() error {
	for _, st := range s.outputs {
		select {
		case <-st.done:
		default:
			st.cut = true
		}
	}
	for _, st := range s.all() {
		_ = st.file.Close()
	}
	s.running.Wait()
	for _, st := range s.outputs {
		if st.err != nil && !st.cut {
			return st.err
		}
	}
	return nil
}
