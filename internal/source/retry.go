package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"
)

const (
	// enoughProgress is what must arrive to start counting failures anew: a server that gives a
	// byte for each connection is not to keep us for ever.
	enoughProgress = 64 << 10
	// longestPatience is up to which Retry-After we wait.
	longestPatience = 10 * time.Minute
)

// retries decides, for a source on a network, whether a failure is worth another try. It counts
// failures in a row; what brought enoughProgress starts anew.
type retries struct {
	parent context.Context // whose end is reported as it is
	ctx    context.Context // ends with parent, the total time, or cancel
	cancel context.CancelFunc
	o      Options
	name   string // of the source

	at, mark int64        // bytes delivered; the same where failures was 0
	size     atomic.Int64 // -1: unknown
	failures int
	reached  bool // the server gave something at least once
	begun    time.Time
}

func newRetries(ctx context.Context, o Options, name string) *retries {
	r := &retries{parent: ctx, o: o, name: name, begun: time.Now()}
	r.size.Store(-1)
	if o.Timeout > 0 {
		r.ctx, r.cancel = context.WithTimeout(ctx, o.Timeout)
	} else {
		r.ctx, r.cancel = context.WithCancel(ctx)
	}
	return r
}

// Size is how many bytes the whole file has; -1: unknown.
func (r *retries) Size() int64 { return r.size.Load() }

// after waits after a failure until it is time for another try, or returns why there is none.
func (r *retries) after(f *failure) error {
	if err := r.over(f); err != nil {
		return err
	}
	if r.at-r.mark >= enoughProgress {
		r.failures, r.mark = 0, r.at
	}
	r.failures++
	delay := max(r.o.Backoff(r.failures), f.after)
	switch {
	case !f.retry, r.o.Retries == 0, r.hopeless(f, 0) && r.failures == 1:
		return r.fail(f.with(f.text + r.position()))
	case r.hopeless(f, delay):
		f = f.with(fmt.Sprintf("%s; given up after %d tries", f.text, r.failures))
		f.hint += "; --retries waits longer for a server that is coming up"
		return r.fail(f)
	case r.failures > r.o.Retries:
		return r.fail(f.with(fmt.Sprintf("%s%s; given up after %d tries", f.text, r.position(), r.failures)))
	case f.after > longestPatience:
		return r.fail(f.with(fmt.Sprintf("%s%s and wants us back in %s", f.text, r.position(), patience(f.after))))
	}
	r.o.Notify(fmt.Sprintf("%s%s, trying again in %s", f.text, r.position(), patience(delay)))
	if sleep(r.ctx, delay) == nil {
		return nil
	}
	return r.over(f)
}

// hopeless says whether the address is likely to be wrong, because nothing was ever reached there,
// so that a person had better look at it than wait for delay.
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
		return r.closed()
	}
	text := fmt.Sprintf("not complete within %s%s", patience(r.o.Timeout), r.position())
	if !errors.Is(f, context.DeadlineExceeded) {
		text += "; last: " + f.text
	}
	return r.fail(&failure{text: text, err: context.DeadlineExceeded, retry: true, hint: "allow more time, or try again on a better connection"})
}

// fail is f as the end of the source.
func (r *retries) fail(f *failure) error { return f.as("downloading", r.name) }

func (r *retries) closed() error {
	return r.fail(&failure{text: fs.ErrClosed.Error(), err: fs.ErrClosed})
}

// position is " at 20.0 MiB of 64.0 MiB", as far as that is known.
func (r *retries) position() string {
	whole := r.size.Load()
	switch {
	case r.at == 0:
		return ""
	case whole < 0:
		return " at " + size(r.at)
	}
	return " at " + size(r.at) + " of " + size(whole)
}
