package progress

import (
	"math"
	"time"
)

// weights say how much of the whole each phase is likely to take, in the order in which they come.
// Those that are not listed (scripts, boot flags) take a time that nobody can foretell: while they
// run, the percentage stands still and the clock goes on. Verify comes alone.
var weights = [...]struct {
	phase  Phase
	weight float64
}{
	{VerifySource, 10}, // reading from the source only
	{Download, 75},     // writing, the slowest
	{Sync, 3},          // most was synced while writing
	{ReadBack, 12},     // reading, several times as fast as writing
}

const (
	rateWindow  = 10 * time.Second       // speed is averaged over so much of the past,
	sampleEvery = 500 * time.Millisecond // from samples so far apart
)

// stage is what is known of one phase.
type stage struct {
	phase       Phase
	done, total int64 // total 0: unknown or none
	before      int64 // bytes of earlier rounds: a second payload begins the same phase again
	began       time.Time
	open        bool
	samples     []sample
}

type sample struct {
	at   time.Time
	done int64
}

// tracker makes one picture of all events. The caller locks.
type tracker struct {
	stages           []*stage // in the order in which they began last
	downloaded       bool     // Download ended
	past             bool     // after the download something began that moves no bytes
	finished         bool     // Done was seen
	best             int      // the highest percentage shown: it never goes back
	began, ended     time.Time
	in               int64 // taken from the source
	written, skipped int64
	zeroed           int64
	moved            int64 // payload bytes of the download
}

func (t *tracker) apply(ev Event, now time.Time) {
	if t.began.IsZero() {
		t.began = now
	}
	t.in = max(t.in, ev.In)
	t.written, t.skipped = max(t.written, ev.Written), max(t.skipped, ev.Skipped)
	t.zeroed = max(t.zeroed, ev.Zeroed)
	switch ev.Kind {
	case Begin:
		t.begin(ev, now)
	case Advance:
		s := t.find(ev.Phase)
		if s == nil || !s.open {
			s = t.begin(ev, now)
		}
		s.advance(ev, now)
	case End:
		if s := t.find(ev.Phase); s != nil && s.open {
			s.open = false
			s.done = max(s.done, s.total)
		}
		t.downloaded = t.downloaded || ev.Phase == Download
	case Done:
		t.finished, t.ended = true, now
	}
	if s := t.find(Download); s != nil {
		t.moved = s.before + s.done
	}
}

func (t *tracker) find(p Phase) *stage {
	for _, s := range t.stages {
		if s.phase == p {
			return s
		}
	}
	return nil
}

// begin makes a stage the current one.
func (t *tracker) begin(ev Event, now time.Time) *stage {
	s := &stage{phase: ev.Phase, total: ev.Total, began: now, open: true, samples: []sample{{now, 0}}}
	if old := t.find(ev.Phase); old != nil {
		s.before = old.before + old.done
		t.remove(old)
	}
	t.stages = append(t.stages, s)
	t.past = t.past || t.downloaded && (ev.Phase == Scripts || ev.Phase == BootFlags)
	return s
}

func (t *tracker) remove(old *stage) {
	var rest []*stage
	for _, s := range t.stages {
		if s != old {
			rest = append(rest, s)
		}
	}
	t.stages = rest
}

// current is the phase that began last and is not over.
func (t *tracker) current() *stage {
	for i := len(t.stages) - 1; i >= 0; i-- {
		if t.stages[i].open {
			return t.stages[i]
		}
	}
	return nil
}

func (s *stage) advance(ev Event, now time.Time) {
	if ev.Total > 0 {
		s.total = ev.Total
	}
	s.done = max(s.done, ev.Done) // events of two goroutines may overtake each other
	if s.total > 0 {
		s.done = min(s.done, s.total)
	}
	if now.Sub(s.samples[len(s.samples)-1].at) >= sampleEvery {
		s.samples = append(s.samples, sample{now, s.done})
	}
	s.forget(now)
}

// forget drops samples older than the window, but one: a speed needs a beginning.
func (s *stage) forget(now time.Time) {
	for len(s.samples) > 1 && now.Sub(s.samples[0].at) > rateWindow {
		s.samples = s.samples[1:]
	}
}

// fraction is how much of the phase is over, 0 to 1.
func (s *stage) fraction() float64 {
	switch {
	case !s.open:
		return 1
	case s.total <= 0:
		return 0
	}
	return float64(s.before+s.done) / float64(s.before+s.total)
}

// rate is the speed of late in bytes per second.
func (s *stage) rate(now time.Time) float64 {
	s.forget(now)
	since := now.Sub(s.samples[0].at).Seconds()
	if since <= 0 {
		return 0
	}
	return float64(s.done-s.samples[0].done) / since
}

// percent is how much of the whole is done: -1 if nothing with a weight began yet, at most 99 until
// Done was seen, and never less than it was before.
func (t *tracker) percent() int {
	if t.finished {
		return 100
	}
	if s := t.find(Verify); s != nil { // it is all that there is
		t.best = min(max(t.best, int(s.fraction()*100)), 99)
		return t.best
	}
	var done, all float64
	known := false
	later := t.past // something later began: what did not begin before it will not
	for i := len(weights) - 1; i >= 0; i-- {
		s := t.find(weights[i].phase)
		if s == nil {
			if !later {
				all += weights[i].weight
			}
			continue
		}
		known, later = true, true
		all += weights[i].weight
		done += weights[i].weight * s.fraction()
	}
	if !known {
		return -1
	}
	t.best = min(max(t.best, int(done/all*100)), 99)
	return t.best
}

// status is the picture at one moment.
type status struct {
	phase       Phase // "" if none is open
	percent     int   // of the whole; -1 unknown
	done, total int64 // of the phase
	rate        float64
	elapsed     time.Duration // in the phase

	in, written, skipped int64 // of the download
}

func (t *tracker) status(now time.Time) status {
	s := t.current()
	if s == nil {
		return status{percent: t.percent()}
	}
	percent := t.percent()
	if s.total <= 0 && percent == 0 {
		percent = -1 // it would stand at 0 until the phase is over
	}
	return status{
		phase: s.phase, percent: percent, done: s.done, total: s.total,
		rate: s.rate(now), elapsed: now.Sub(s.began),
		in: t.in, written: t.written, skipped: t.skipped,
	}
}

// left is the time until the phase is over at the present speed; false if that says nothing yet.
func (s status) left() (time.Duration, bool) {
	if s.total <= 0 || s.rate <= 0 || s.elapsed < 2*time.Second {
		return 0, false
	}
	left := float64(s.total-s.done) / s.rate
	const absurd = 100 * 3600
	return time.Duration(math.Ceil(left)) * time.Second, left < absurd
}
