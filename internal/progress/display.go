package progress

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	redraw    = 500 * time.Millisecond // a serial console of 9600 baud shows 480 characters in that time
	maxLines  = 1000                   // that wait for a terminal that takes none
	closeWait = 2 * time.Second        // for a terminal that takes nothing at all
)

// Display is a Sink that shows what it gets. Its writer may be slow, stuck or broken: whoever emits
// does not notice. Lines that cannot be shown in time are left out, and that is shown.
type Display struct {
	w     io.Writer
	style style

	mu      sync.Mutex // never held while writing
	track   tracker
	lines   []string // to be shown
	dropped int      // lines left out
	closed  bool

	wake    chan struct{} // there are lines; holds one
	quit    chan struct{} // closed by Close
	painted chan struct{} // closed when the painter has ended
	pulse   atomic.Int64  // grows whenever the writer took something
}

// forPeople is what the styles for people have in common.
type forPeople struct{}

func (forPeople) message(ev Event) []string { return message(ev) }
func (forPeople) leftOut(n int) string      { return leftOut(n) }
func (forPeople) room() int                 { return maxLines }

// style is how a Display looks. All methods are called with the lock held.
type style interface {
	// lines is what ev, already in t, has to say beside its message.
	lines(t *tracker, ev Event, now time.Time) []string
	// frame is what to write now: the lines and whatever else is due. last: there will be no other.
	frame(t *tracker, lines []string, now time.Time, last bool) string
	// message is what ev says in words.
	message(ev Event) []string
	// leftOut stands where n lines are missing.
	leftOut(n int) string
	// room is how many lines may wait.
	room() int
	// prompt says whether lines are written at once instead of with the next frame.
	prompt() bool
}

func newDisplay(w io.Writer, s style) *Display {
	d := &Display{
		w: w, style: s,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), painted: make(chan struct{}),
	}
	go d.paint() // Close waits for it
	return d
}

// Emit takes an event; it never waits for the writer. After Close it does nothing.
func (d *Display) Emit(ev Event) { d.EmitAt(time.Now(), ev) }

// EmitAt is Emit for an event that happened earlier: one that somebody kept.
func (d *Display) EmitAt(now time.Time, ev Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.track.apply(ev, now)
	d.lines = append(d.lines, d.style.message(ev)...)
	d.lines = append(d.lines, d.style.lines(&d.track, ev, now)...)
	if over := len(d.lines) - d.style.room(); over > 0 {
		d.lines = d.lines[over:]
		d.dropped += over
	}
	if len(d.lines) > 0 && d.style.prompt() {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// Close shows what is still to be shown and ends the display. It returns when all is written, or
// the writer took nothing for two seconds.
func (d *Display) Close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.quit)
	}
	d.mu.Unlock()
	pulse := d.pulse.Load()
	t := time.NewTicker(closeWait)
	defer t.Stop()
	for {
		select {
		case <-d.painted:
			return
		case <-t.C:
			if d.pulse.Load() == pulse {
				return // stuck; the process is about to end, and with it the painter
			}
			pulse = d.pulse.Load()
		}
	}
}

// paint writes frames until Close.
func (d *Display) paint() {
	defer close(d.painted)
	t := time.NewTicker(redraw)
	defer t.Stop()
	for last := false; !last; {
		select {
		case <-d.quit:
			last = true
		case <-d.wake:
		case <-t.C:
		}
		d.write(d.frame(last))
	}
}

func (d *Display) frame(last bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	if d.dropped > 0 {
		lines = append([]string{d.style.leftOut(d.dropped)}, lines...)
	}
	d.lines, d.dropped = nil, 0
	return d.style.frame(&d.track, lines, time.Now(), last)
}

// write gives the text to the writer in pieces, to see whether it still takes any. Errors are
// ignored: a closed terminal is no reason to stop.
func (d *Display) write(text string) {
	const piece = 256
	for len(text) > 0 {
		n := min(len(text), piece)
		_, _ = io.WriteString(d.w, text[:n])
		d.pulse.Add(1)
		text = text[n:]
	}
}
