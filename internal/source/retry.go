package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// retries decides, for a source on a network, whether a failure is worth another try. It counts
// failures in a row; what brought enoughProgress starts anew.
type retries struct {
	parent context.Context // whose end is reported as it is
	ctx    context.Context // ends with parent, the total time, or cancel
	cancel context.CancelFunc
	o      Options
	op     string // for the error
	name   string // of the source

	at, mark int64 // bytes delivered; the same where failures was 0
	size     int64 // -1: unknown
	failures int
	reached  bool // the server gave something at least once
	begun    time.Time
}

func newRetries(ctx context.Context, o Options, op, name string) *retries {
	r := &retries{parent: ctx, o: o, op: op, name: name, size: -1, begun: time.Now()}
	if o.Timeout > 0 {
		r.ctx, r.cancel = context.WithTimeout(ctx, o.Timeout)
	} else {
		r.ctx, r.cancel = context.WithCancel(ctx)
	}
	return r
}

// after waits after a failure until it is time for another try, or returns why there is none.
func (r *retries) after(f *failure) error {
	if err := r.over(f); err != nil {
		return err
	}
	if r.at-r.mark >= enoughProgress {
		r.failures, r.mark = 0, r.at
	}
	r.failures++
	delay := r.o.Backoff(r.failures)
	switch {
	case !f.retry, r.o.Retries == 0, r.hopeless(f, 0) && r.failures == 1:
		return f.with(f.text+r.position()).as(r.op, r.name)
	case r.hopeless(f, delay):
		f = f.with(fmt.Sprintf("%s; given up after %d tries", f.text, r.failures))
		f.hint += "; --retries waits longer for a server that is coming up"
		return f.as(r.op, r.name)
	case r.failures > r.o.Retries:
		return f.with(fmt.Sprintf("%s%s; given up after %d tries", f.text, r.position(), r.failures)).as(r.op, r.name)
	}
	r.o.Notify(fmt.Sprintf("%s%s, trying again in %s", f.text, r.position(), patience(delay)))
	if sleep(r.ctx, delay) == nil {
		return nil
	}
	return r.over(f)
}

// hopeless is, for a server that was never reached, as download.hopeless.
func (r *retries) hopeless(f *failure, delay time.Duration) bool {
	if r.reached || r.o.insist {
		return false
	}
	return f.wrong || f.early && time.Since(r.begun)+delay > FirstContact
}

// over is the error if the time is over, with f as the last thing that went wrong.
func (r *retries) over(f *failure) error {
	switch {
	case r.parent.Err() != nil:
		return r.parent.Err()
	case r.ctx.Err() == nil:
		return nil
	case !errors.Is(r.ctx.Err(), context.DeadlineExceeded):
		return (&failure{text: fs.ErrClosed.Error(), err: fs.ErrClosed}).as(r.op, r.name)
	}
	text := fmt.Sprintf("not complete within %s%s", patience(r.o.Timeout), r.position())
	if !errors.Is(f, context.DeadlineExceeded) {
		text += "; last: " + f.text
	}
	return (&failure{text: text, err: context.DeadlineExceeded, retry: true, hint: "allow more time, or try again on a better connection"}).as(r.op, r.name)
}

func (r *retries) position() string {
	switch {
	case r.at == 0:
		return ""
	case r.size < 0:
		return " at " + size(r.at)
	}
	return " at " + size(r.at) + " of " + size(r.size)
}
