package e2e_test

import (
	"math/rand/v2"
	"sync"
)

const sectorBytes = 512

// disk is a disk with a volatile write cache, and a log of all that was written to it.
type disk struct {
	mu    sync.Mutex
	now   *blob // what the guest sees
	start *blob // what it was when the log began; nil: there is no log
	log   []event
	phase string

	awaited int64         // offset
	reached chan struct{} // closed when that is written to; nil: nobody waits
}

// event is one request of the guest.
type event struct {
	phase  string // what the host was doing with the device
	flush  bool   // everything before it is on the medium
	forced bool   // a write that is on the medium when it is answered
	offset int64
	data   []byte
}

func newDisk(content *blob) *disk { return &disk{now: content} }

// record begins a log, or a new one.
func (d *disk) record() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.start, d.log = d.now.clone(), nil
}

// written is closed when the guest writes to offset. Only one can wait.
func (d *disk) written(offset int64) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.awaited, d.reached = offset, make(chan struct{})
	return d.reached
}

func (d *disk) setPhase(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase = name
}

func (d *disk) readAt(p []byte, offset int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.readAt(p, offset)
}

func (d *disk) writeAt(p []byte, offset int64, forced bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.writeAt(p, offset)
	if d.reached != nil && offset <= d.awaited && d.awaited < offset+int64(len(p)) {
		close(d.reached)
		d.reached = nil
	}
	d.note(event{phase: d.phase, forced: forced, offset: offset, data: p})
}

func (d *disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(event{phase: d.phase, flush: true})
}

func (d *disk) note(e event) {
	if d.start != nil {
		d.log = append(d.log, e)
	}
}

// content is what the guest sees now.
func (d *disk) content() *blob {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now.clone()
}

// recording is what was written to a disk up to now.
func (d *disk) recording() recording {
	d.mu.Lock()
	defer d.mu.Unlock()
	return recording{start: d.start.clone(), log: d.log}
}

// recording can be played up to any instant.
type recording struct {
	start *blob
	log   []event
}

// epochs are the indices of the log between which nothing is flushed: [0] to the first flush, and
// so on. Those in which nothing is written are left out.
func (r recording) epochs() (list [][2]int) {
	from := 0
	for i, e := range r.log {
		if !e.flush {
			continue
		}
		if i > from {
			list = append(list, [2]int{from, i})
		}
		from = i + 1
	}
	if from < len(r.log) {
		list = append(list, [2]int{from, len(r.log)})
	}
	return list
}

// losses are how likely a sector that was not flushed is on the medium nonetheless.
var losses = []float64{0, 0.1, 0.5, 0.5, 0.9, 1}

// cut is what is on the medium when the power goes while event n is on its way: all that was
// flushed, and of the rest some sectors, in any order; of event n, as little as nothing or as much
// as all.
func (r recording) cut(n int, random *rand.Rand) *blob {
	medium := r.start.clone()
	flushed := 0
	for i, e := range r.log[:n] {
		if e.flush {
			r.settle(medium, flushed, i)
			flushed = i + 1
		}
	}
	keep := losses[random.IntN(len(losses))]
	for i := flushed; i <= n && i < len(r.log); i++ {
		switch e := r.log[i]; {
		case e.flush:
		case e.forced && i < n:
			medium.writeAt(e.data, e.offset)
		default:
			tear(medium, e, keep, random)
		}
	}
	return medium
}

func (r recording) settle(medium *blob, from, to int) {
	for _, e := range r.log[from:to] {
		if !e.flush {
			medium.writeAt(e.data, e.offset)
		}
	}
}

// tear writes some sectors of e: each with a chance of its own, or all up to some place.
func tear(medium *blob, e event, keep float64, random *rand.Rand) {
	sectors := len(e.data) / sectorBytes
	if random.IntN(3) == 0 {
		n := random.IntN(sectors + 1)
		medium.writeAt(e.data[:n*sectorBytes], e.offset)
		return
	}
	for i := range sectors {
		if random.Float64() < keep {
			medium.writeAt(e.data[i*sectorBytes:(i+1)*sectorBytes], e.offset+int64(i*sectorBytes))
		}
	}
}
