// Package script runs Mender's state scripts: programs that an artifact brings, or a device has,
// to run before and after each step of a deployment. It also stores an artifact's scripts so that
// they outlive a reboot (Save).
//
// The scripts of one state and action run in the order of their names. One that exits with 21
// wants to be run again later: so products wait for a person, or for a maintenance window.
//
//	r := &script.Runner{RootfsDir: "/etc/mender/scripts", ArtifactDir: "/var/lib/mender/scripts"}
//	err := r.Run(ctx, script.ArtifactInstall, script.Enter)
package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"flipside/internal/proc"
	"flipside/internal/progress"
)

// What the times of a Runner mean if they are zero: Mender's defaults.
const (
	DefaultTimeout       = time.Hour
	DefaultRetryInterval = time.Minute
	DefaultRetryTimeout  = 30 * time.Minute
)

// retryLater is the exit status of a script that wants to be run again later.
const retryLater = 21

// ErrRetryTimeout says that a script asked to be run again until RetryTimeout was over.
var ErrRetryTimeout = errors.New("still asked to be run later")

// RunError is a script that failed.
type RunError struct {
	Script string // its name
	Err    error  // an *proc.ExitError, proc.ErrTimeout, ErrRetryTimeout, the context's, …
	Stderr string // the end of what it wrote to its standard error, at most 10 KiB
}

func (e *RunError) Error() string { return fmt.Sprintf("state script %s: %v", e.Script, e.Err) }
func (e *RunError) Unwrap() error { return e.Err }

// Wait is a script that asked to be run again later.
type Wait struct {
	Script string
	Since  time.Time // when it asked first
	Until  time.Time // when it will be given up
}

// Runner runs state scripts. It keeps nothing from one Run to the next.
type Runner struct {
	RootfsDir   string // where the device's scripts are
	ArtifactDir string // where Save put the artifact's

	Timeout       time.Duration // for one run of one script
	RetryInterval time.Duration // from one run to the next of a script that asked for it
	RetryTimeout  time.Duration // for a script that keeps asking, from its first time on

	// Sink gets the lines that scripts print, as they come, and when scripts begin and when all have
	// run; nil for nobody.
	Sink progress.Sink
	// Waiting, if set, is called when a script begins to wait for its next run, and with nil when
	// its waiting is over, whatever came of it.
	Waiting func(*Wait)
	// Wake ends the interval before the next run of a waiting script. It may be nil.
	Wake <-chan struct{}
}

// Run runs the scripts of one state and action. When it returns, none of them is running.
//
// Scripts before a step, and after it while it can still be given up, stop at the first that
// fails. All others run to the last one: on the way back, and after the decision, every script is
// worth running; the error then holds all failures. Errors are *RunErrors, or tell why
// the scripts could not be looked for.
func (r *Runner) Run(ctx context.Context, s State, a Action) error {
	dir := r.ArtifactDir
	if !s.inArtifact() {
		dir = r.RootfsDir
	}
	scripts, err := r.find(dir, s, a)
	if err != nil {
		return fmt.Errorf("looking for %s_%s scripts: %w", s, a, err)
	}
	if len(scripts) == 0 {
		return nil
	}
	r.emit(progress.Event{Kind: progress.Begin, Phase: progress.Scripts, Text: fmt.Sprintf("%s_%s", s, a)})
	var errs []error
	for _, f := range scripts {
		if err := r.runUntilDone(ctx, f); err != nil {
			errs = append(errs, err)
			if stopsAtFirst(s, a) || ctx.Err() != nil {
				return oneOrAll(errs)
			}
		}
	}
	r.emit(progress.Event{Kind: progress.End, Phase: progress.Scripts})
	return oneOrAll(errs)
}

func oneOrAll(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func stopsAtFirst(s State, a Action) bool {
	switch a {
	case Enter:
		return s == Download || s == ArtifactInstall || s == ArtifactCommit
	case Leave:
		return s == Download || s == ArtifactInstall
	}
	return false
}

// runUntilDone runs a script, again and again if it asks for that. A run that has begun before
// RetryTimeout is over may go to its end.
func (r *Runner) runUntilDone(ctx context.Context, f found) error {
	var wait *Wait
	for {
		err := r.runOnce(ctx, f)
		var exit *proc.ExitError
		if !errors.As(err, &exit) || exit.Code != retryLater {
			return err
		}
		if wait == nil {
			wait = r.beginWait(f.name)
			defer r.waiting(nil)
		}
		if cause := r.pause(ctx, wait.Until); cause != nil {
			var failed *RunError
			errors.As(err, &failed)
			failed.Err = cause
			return failed
		}
	}
}

func (r *Runner) runOnce(ctx context.Context, f found) error {
	var tail proc.Tail
	out, errOut := r.lines(f.name), r.lines(f.name)
	err := proc.Run(ctx, proc.Command{
		Path:    f.path,
		Stdout:  out,
		Stderr:  io.MultiWriter(errOut, &tail),
		Timeout: orDefault(r.Timeout, DefaultTimeout),
	})
	out.Flush()
	errOut.Flush()
	if err != nil {
		return &RunError{Script: f.name, Err: err, Stderr: tail.String()}
	}
	return nil
}

func (r *Runner) lines(from string) *proc.Lines {
	return proc.NewLines(func(line string) {
		r.emit(progress.Event{Kind: progress.Output, Phase: progress.Scripts, Text: line, From: from})
	})
}

func (r *Runner) beginWait(name string) *Wait {
	now := time.Now()
	w := &Wait{Script: name, Since: now, Until: now.Add(orDefault(r.RetryTimeout, DefaultRetryTimeout))}
	r.emit(progress.Event{Kind: progress.Note, Phase: progress.Scripts, From: name, Text: fmt.Sprintf(
		"state script %s asked to be run again: every %s, for at most %s",
		name, orDefault(r.RetryInterval, DefaultRetryInterval), orDefault(r.RetryTimeout, DefaultRetryTimeout))})
	r.waiting(w)
	return w
}

func (r *Runner) waiting(w *Wait) {
	if r.Waiting != nil {
		r.Waiting(w)
	}
}

// pause returns nil when it is time for the next run, or why there is none.
func (r *Runner) pause(ctx context.Context, until time.Time) error {
	left := time.Until(until)
	interval := orDefault(r.RetryInterval, DefaultRetryInterval)
	t := time.NewTimer(min(interval, left))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.Wake:
		return nil
	case <-t.C:
	}
	if left <= interval {
		return fmt.Errorf("%w after %s", ErrRetryTimeout, orDefault(r.RetryTimeout, DefaultRetryTimeout))
	}
	return nil
}

func (r *Runner) emit(e progress.Event) {
	if r.Sink != nil {
		r.Sink.Emit(e)
	}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
