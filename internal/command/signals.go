package command

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"flipside/internal/proc"
	"flipside/internal/progress"
)

// interruption is the operator's wish that a run ends: Ctrl-C, SIGTERM, `flipside cancel`.
type interruption struct{}

func (interruption) Error() string         { return "interrupted" }
func (interruption) Is(target error) bool  { return target == context.Canceled }
func interrupted(ctx context.Context) bool { return errors.Is(context.Cause(ctx), interruption{}) }

// listen takes signals until the function that it returns is called. The first SIGINT or SIGTERM
// ends the run in good order, by interrupt; the second one kills. SIGUSR1 runs a waiting state
// script again. A terminal that is gone (SIGHUP) or a reader that is gone (SIGPIPE) must not stop
// an update half way; a run that only looks is over without them. They are taken, not ignored: what
// is ignored would be ignored by scripts and modules too.
func (f *flipside) listen(interrupt context.CancelCauseFunc) (stop func()) {
	nohup := signal.Ignored(syscall.SIGHUP) // asked for by whoever started us
	signals := make(chan os.Signal, 8)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		defer close(done)
		asked := false
		for s := range signals {
			switch s {
			case os.Interrupt, syscall.SIGTERM:
				if asked {
					die(s.(syscall.Signal))
				}
				asked = true
				interrupt(interruption{})
			case syscall.SIGUSR1:
				select {
				case f.wake <- struct{}{}:
				default: // it is awake already
				}
			default:
				if !f.working.Load() && !(s == syscall.SIGHUP && nohup) {
					interrupt(interruption{})
				}
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// die ends the process at once, as the signal does where nobody takes it. What is on the disk says
// how to go on; what was started must not.
func die(s syscall.Signal) {
	proc.KillChildren()
	signal.Reset(s)
	_ = syscall.Kill(os.Getpid(), s)
}

// tellInterruption says, as soon as that is so, that the wish was understood. The function that it
// returns ends that; what was to be said is said then, however quickly the run has ended.
func tellInterruption(c *cli.Context, sink progress.Sink) (end func()) {
	ctx, said := c.Context, make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(said)
		if interrupted(ctx) {
			sink.Emit(progress.Event{Kind: progress.Note, Text: "interrupted: ending in good order; interrupted once more, it ends at once"})
		}
	})
	return func() {
		if !stop() {
			<-said
		}
	}
}
