package progress

import (
	"io"
	"sync"
	"sync/atomic"
)

// Tally is a Sink that keeps the sums: for the one line that says how a run ended.
type Tally struct {
	mu     sync.Mutex
	before Totals // earlier payloads
	now    Totals
}

// Totals are bytes.
type Totals struct {
	In      int64 `json:"in"`      // taken from the source, compressed
	Written int64 `json:"written"` // to the medium, or to an update module
	Skipped int64 `json:"skipped"` // not written, because they were there already
	Zeroed  int64 `json:"zeroed"`  // made zero by the medium itself
}

// Emit counts.
func (t *Tally) Emit(ev Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ev.Kind == Begin && ev.Phase == Download {
		t.before.Written += t.now.Written
		t.before.Skipped += t.now.Skipped
		t.before.Zeroed += t.now.Zeroed
		t.now.Written, t.now.Skipped, t.now.Zeroed = 0, 0, 0
	}
	t.now.In = max(t.now.In, ev.In)
	t.now.Written, t.now.Skipped, t.now.Zeroed = max(t.now.Written, ev.Written), max(t.now.Skipped, ev.Skipped), max(t.now.Zeroed, ev.Zeroed)
}

// Totals are the sums so far.
func (t *Tally) Totals() Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Totals{
		In:      t.now.In,
		Written: t.before.Written + t.now.Written,
		Skipped: t.before.Skipped + t.now.Skipped,
		Zeroed:  t.before.Zeroed + t.now.Zeroed,
	}
}

// Input counts what is taken from a source, and tells it with the events of those who work with
// what comes out of it, and do not know how much went in.
type Input struct{ n atomic.Int64 }

// Reader is r, counted.
func (i *Input) Reader(r io.Reader) io.Reader { return counted{r, &i.n} }

// Taken is how much was taken so far.
func (i *Input) Taken() int64 { return i.n.Load() }

type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// Sink is s, where each event of the download says how much was taken from the source.
func (i *Input) Sink(s Sink) Sink { return withInput{s, &i.n} }

type withInput struct {
	Sink
	n *atomic.Int64
}

func (w withInput) Emit(ev Event) {
	if ev.Phase == Download && (ev.Kind == Begin || ev.Kind == Advance || ev.Kind == End) {
		ev.In = max(ev.In, w.n.Load())
	}
	w.Sink.Emit(ev)
}
