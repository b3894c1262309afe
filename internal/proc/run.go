// Package proc runs child processes: state scripts, update modules, boot environment tools.
//
// A child gets a process group of its own and never outlives the Run that started it: Run returns
// when the child has exited, and whatever is then left of its group is killed, so that nothing
// goes on in parallel with what comes next. A program that wants to leave something running has
// to give it a session of its own (setsid), as daemons do.
//
//	out := proc.NewLines(func(line string) { ... })
//	err := proc.Run(ctx, proc.Command{Path: script, Stdout: out, Timeout: time.Hour})
//	out.Flush()
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// DefaultKillAfter is how long a process that was told to terminate may take.
const DefaultKillAfter = 10 * time.Second

// maxDrain bounds how long Run waits for output after the process has exited, for what a child in
// the background has still to say; and once more after the group was killed, for what is in the
// pipes, where only a daemon can keep them open any longer.
const maxDrain = 2 * time.Second

// maxDying bounds how long Run waits for killed members of the group to be gone. It takes no time,
// but on a busy machine they have to be scheduled once more; only one that is held up in the
// kernel lasts longer, and no signal changes that.
const maxDying = 10 * time.Second

// ErrTimeout says that the process was stopped because Command.Timeout was over.
var ErrTimeout = errors.New("timed out")

// ExitError says how a process ended that did not exit with status 0.
type ExitError struct {
	Code   int            // exit status; -1 if a signal ended it
	Signal syscall.Signal // the signal, 0 if it exited by itself
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Command describes a process. Only Path is needed.
type Command struct {
	Path string   // a program; looked up in PATH if it has no slash
	Args []string // its arguments, without its name
	Dir  string   // "" = as the caller
	Env  []string // "NAME=value"; nil = as the caller

	// Stdin is /dev/null if nil, so that no program waits for a terminal. A Read of anything but
	// an *os.File must not block for ever: Run waits for it.
	Stdin io.Reader
	// Stdout and Stderr are /dev/null if nil. If they are the same, they share a pipe and their
	// order is kept; otherwise they are written to from two goroutines.
	Stdout, Stderr io.Writer

	Timeout   time.Duration // 0 = none
	KillAfter time.Duration // from SIGTERM to SIGKILL; 0 = DefaultKillAfter
}

// Run starts a process and returns when it has exited. If ctx is done first or the Timeout is
// over, the process group gets SIGTERM, and SIGKILL after KillAfter. The error is that of ctx,
// ErrTimeout, an *ExitError, what starting said, or what writing to Stdout or Stderr said.
func Run(ctx context.Context, c Command) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	// The parent in "kill me when my parent dies" is this thread, not this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	p, err := start(c)
	if err != nil {
		return err
	}
	stopped := p.wait(ctx, c)
	if stopped == nil {
		p.streams.drain(min(c.killAfter(), maxDrain))
	}
	p.group.kill(maxDying)
	<-p.exited
	p.streams.drain(maxDrain)
	streamErr := p.streams.close()
	exitErr := exitError(p.cmd.Wait())
	switch {
	case stopped != nil:
		return stopped
	case exitErr != nil:
		return exitErr
	}
	return streamErr
}

func (c Command) killAfter() time.Duration {
	if c.KillAfter > 0 {
		return c.KillAfter
	}
	return DefaultKillAfter
}

// process is a started Command.
type process struct {
	cmd     *exec.Cmd
	group   group
	streams streams
	exited  chan struct{} // closed when it is a zombie: gone, but its process ID is still ours
}

func start(c Command) (*process, error) {
	p := &process{cmd: exec.Command(c.Path, c.Args...), exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = c.Dir, c.Env
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true,
		// If we are killed, our lock is free: the next of us must not meet this child at work.
		Pdeathsig: syscall.SIGKILL,
	}
	if err := p.streams.connect(p.cmd, c); err != nil {
		return nil, fmt.Errorf("making pipes: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		p.streams.abandon()
		return nil, err
	}
	p.group = group(p.cmd.Process.Pid)
	p.streams.start()
	go func() {
		p.group.awaitLeader()
		close(p.exited)
	}()
	return p, nil
}

// wait returns nil when the process has exited by itself, or why it was told to stop after it
// and its group are gone or KillAfter is over.
func (p *process) wait(ctx context.Context, c Command) error {
	var timeout <-chan time.Time
	if c.Timeout > 0 {
		t := time.NewTimer(c.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	var why error
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-timeout:
		why = fmt.Errorf("%w after %s", ErrTimeout, c.Timeout)
	}
	p.group.terminate()
	grace := time.NewTimer(c.killAfter())
	defer grace.Stop()
	select {
	case <-p.exited:
		// A shell dies of the signal at once, but the program that it was waiting for may
		// need its time to end in good order.
		p.group.awaitEmpty(grace.C)
	case <-grace.C:
	}
	return why
}

func exitError(err error) error {
	var e *exec.ExitError
	if !errors.As(err, &e) {
		return err
	}
	if s, ok := e.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return &ExitError{Code: -1, Signal: s.Signal()}
	}
	return &ExitError{Code: e.ExitCode()}
}
