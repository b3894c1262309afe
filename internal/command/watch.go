package command

import (
	"context"
	"os"
	"syscall"
	"time"

	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/eventlog"
	"flipside/internal/report"
)

const (
	watchEvery = 200 * time.Millisecond // nothing tells when a file has grown, everywhere
	lastWords  = 5 * time.Second        // for a process that has given up its lock, to say how it ended
)

// await shows what the log of h's run has, and what comes, until the run has ended, and returns how;
// nil if it did not say. The error is that nobody wants to watch any more.
func (f *flipside) await(ctx context.Context, d *device.Device, h *deployment.Holder) (*report.Result, error) {
	w := &watcher{f: f, d: d, h: h}
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		over := w.over() // before looking: what was written before the end is seen
		if end := w.look(); end != nil || over {
			return end, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-t.C:
		}
	}
}

type watcher struct {
	f     *flipside
	d     *device.Device
	h     *deployment.Holder
	tail  *eventlog.Tail // nil: it has written nothing yet
	freed time.Time      // when the lock was seen to be free
}

// look shows what is new, and returns how the run ended.
func (w *watcher) look() *report.Result {
	if w.tail == nil {
		run, ok := eventlog.Of(w.d.LogDir(), w.h.PID, w.h.Since)
		if !ok {
			return nil
		}
		w.tail = run.Tail(w.d.LogDir())
	}
	lines, _ := w.tail.Next() // best effort: whether it has ended is seen elsewhere too
	for _, l := range lines {
		w.f.show(l)
		if l.IsResult() {
			return readResult(l)
		}
	}
	return nil
}

// over says whether nothing more will come.
func (w *watcher) over() bool {
	if now := deployment.Working(w.d.StateDir()); now != nil && now.PID == w.h.PID {
		return false
	}
	if w.freed.IsZero() {
		w.freed = time.Now()
	}
	gone := w.h.PID <= 0 || syscall.Kill(w.h.PID, 0) == syscall.ESRCH
	return gone || time.Since(w.freed) > lastWords
}

// show passes an event on, to the display or as it is.
func (f *flipside) show(l eventlog.Line) {
	switch {
	case f.json:
		_, _ = os.Stdout.Write(append(l.Raw, '\n'))
	case l.Head == nil && !l.IsResult():
		for _, display := range f.displays {
			display.EmitAt(l.Time, l.Event)
		}
	}
}
