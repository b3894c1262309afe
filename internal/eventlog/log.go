package eventlog

import (
	"strconv"
	"sync"
	"time"

	"flipside/internal/disk"
	"flipside/internal/progress"
)

const (
	flushFirst = 100 * time.Millisecond
	flushEvery = time.Second     // what happened in between is one write
	syncEvery  = 5 * time.Second // at most, and only if a phase has changed
	endWait    = 2 * time.Second // for a medium that takes nothing any more
	maxPending = 64 << 10        // bytes that wait for the medium
	maxEarly   = 100             // lines before Begin
	patience   = 5               // writes that may fail in a row before the log is given up
)

// Options say how to write. FS must be set.
type Options struct {
	FS   disk.FS
	Free func(dir string) (int64, error) // bytes to spare on its file system; nil asks the kernel
}

// Log is the log of one run: a progress.Sink. None of its methods waits for the medium, but End, and
// that not for long. Nothing that goes wrong is told: who would want to know, reads the log.
type Log struct {
	o Options

	mu      sync.Mutex // never held while writing
	early   [][]byte   // before Begin
	began   time.Time
	dir     string // "" before Begin
	over    bool   // End or Forget was called, or the medium is given up
	forget  bool
	pending []byte    // to be written
	size    int       // of all that was taken
	durable bool      // pending, or what was written last, is worth a sync
	advance *held     // progress that is not taken yet
	next    time.Time // when it will be
	tail    tail

	quit, done chan struct{}
}

// New returns a Log that has not begun. What is emitted until then is kept, up to a bound.
func New(o Options) *Log {
	if o.Free == nil {
		o.Free = free
	}
	return &Log{o: o, quit: make(chan struct{}), done: make(chan struct{})}
}

// Begin starts writing into dir, whose parent must exist. The caller is the only one who writes
// there. End or Forget must follow. A run that takes the lock once more has begun already.
func (l *Log) Begin(dir string, h Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir != "" {
		return
	}
	l.dir, l.began = dir, time.Now()
	l.take(headLine(l.began, h), forEvents)
	for _, data := range l.early {
		l.take(data, forEvents)
	}
	l.early = nil
	go l.write() // End and Forget wait for it
}

// Emit takes an event.
func (l *Log) Emit(ev progress.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch {
	case l.over:
	case l.dir == "":
		if ev.Kind != progress.Advance && len(l.early) < maxEarly {
			l.early = append(l.early, eventLine(now, ev))
		}
	case ev.Kind == progress.Advance:
		l.advance = &held{now, ev}
		l.takeAdvance(now)
	case ev.Kind == progress.Output:
		if data := eventLine(now, ev); len(l.tail.lines) > 0 || !l.take(data, forOutput) {
			l.tail.add(data)
		}
	default:
		l.advance = nil // progress of an earlier phase
		l.durable = true
		l.take(eventLine(now, ev), forEvents)
	}
}

// held is an event, and when it happened.
type held struct {
	at time.Time
	ev progress.Event
}

// takeAdvance takes the latest progress, if it is time for that.
func (l *Log) takeAdvance(now time.Time) {
	if l.advance == nil || now.Before(l.next) {
		return
	}
	l.next = now.Add(pace(now.Sub(l.began)))
	l.take(eventLine(l.advance.at, l.advance.ev), forOutput)
	l.advance = nil
}

// pace is how far apart the lines about progress are: a long run needs no more of them than a short
// one.
func pace(since time.Duration) time.Duration {
	return min(max(since/100, 2*time.Second), 15*time.Second)
}

// take adds a line, unless the file would be longer than limit.
func (l *Log) take(data []byte, limit int) bool {
	if l.size+len(data) > limit || len(l.pending)+len(data) > maxPending {
		return false
	}
	l.size += len(data)
	l.pending = append(l.pending, data...)
	return true
}

// End writes how the run ended: a line of JSON, without its end, of the kind KindResult and of at
// most MaxResult bytes. It returns when all is on the medium, or after two seconds.
func (l *Log) End(result string) {
	l.end(func() {
		lines, lost := l.tail.rest()
		if lost > 0 {
			text := strconv.Itoa(lost) + " lines that programs printed: the log of a run is bounded"
			l.pending = append(l.pending, eventLine(time.Now(), progress.Event{Kind: progress.LeftOut, Text: text})...)
		}
		l.pending = append(l.pending, lines...)
		l.pending = append(append(l.pending, result...), '\n')
		l.durable = true
	})
}

// Forget ends a run that is not worth a place among the others, and removes what was written of it.
func (l *Log) Forget() { l.end(func() { l.forget = true }) }

func (l *Log) end(last func()) {
	l.mu.Lock()
	begun := l.dir != ""
	if begun && !l.over {
		last()
	}
	if begun {
		select {
		case <-l.quit:
		default:
			close(l.quit)
		}
	}
	l.over = true
	l.mu.Unlock()
	if !begun {
		return
	}
	t := time.NewTimer(endWait)
	defer t.Stop()
	select {
	case <-l.done:
	case <-t.C: // stuck; the process is about to end, and with it the writer
	}
}

// write writes what comes until the end.
func (l *Log) write() {
	defer close(l.done)
	w := &writer{Log: l}
	defer w.close()
	t := time.NewTimer(flushFirst)
	defer t.Stop()
	for {
		select {
		case <-l.quit:
			w.finish()
			return
		case <-t.C:
			if !w.flush(false) {
				w.giveUp()
			}
			t.Reset(flushEvery)
		}
	}
}

// tail is the end of what programs printed, where there was no room for all of it.
type tail struct {
	lines [][]byte
	size  int
	lost  int // lines before these
}

func (t *tail) add(data []byte) {
	t.lines, t.size = append(t.lines, data), t.size+len(data)
	for t.size > forTail {
		t.size -= len(t.lines[0])
		t.lines, t.lost = t.lines[1:], t.lost+1
	}
}

func (t *tail) rest() (data []byte, lost int) {
	for _, line := range t.lines {
		data = append(data, line...)
	}
	return data, t.lost
}
