package source

import (
	"context"
	"time"
)

// limiter keeps a reader to an average speed without saving up for bursts.
type limiter struct {
	rate int64     // bytes per second; 0: no limit
	next time.Time // when the next byte may be taken
}

// cut returns the part of p that may be read at once: a tenth of a second's worth, to be smooth.
func (l *limiter) cut(p []byte) []byte {
	if l.rate <= 0 {
		return p
	}
	return p[:min(int64(len(p)), max(l.rate/10, 1))]
}

// wait returns when bytes may be read, or ctx is done.
func (l *limiter) wait(ctx context.Context) error {
	if l.rate <= 0 {
		return nil
	}
	return sleep(ctx, time.Until(l.next))
}

// took accounts for n bytes.
func (l *limiter) took(n int) {
	if l.rate <= 0 {
		return
	}
	if now := time.Now(); l.next.Before(now) {
		l.next = now
	}
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
}

// sleep returns after d, or with ctx's error when ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
