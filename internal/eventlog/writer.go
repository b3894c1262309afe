package eventlog

import (
	"path/filepath"
	"time"
)

// writer is the other side of a Log: it alone waits for the medium.
type writer struct {
	*Log
	f      *file // nil before the first write
	failed int   // writes in a row
	synced time.Time
}

// flush writes what waits. It returns false once there is no hope left.
func (w *writer) flush(last bool) bool {
	w.mu.Lock()
	if !w.over {
		w.takeAdvance(time.Now())
	}
	data, durable := w.pending, w.durable
	w.mu.Unlock()
	if len(data) > 0 {
		if !w.room(last) {
			return true // perhaps later
		}
		if err := w.append(data); err != nil {
			w.failed++
			return w.failed < patience
		}
		w.failed = 0
		w.mu.Lock()
		w.pending = w.pending[len(data):]
		w.mu.Unlock()
	}
	if w.f != nil && durable && (last || time.Since(w.synced) >= syncEvery) {
		w.synced = time.Now()
		w.f.sync()
		w.mu.Lock()
		w.durable = len(w.pending) > 0
		w.mu.Unlock()
	}
	return true
}

func (w *writer) append(data []byte) error {
	if w.f == nil {
		f, err := create(w.o.FS, w.dir)
		if err != nil {
			return err
		}
		w.f = f
	}
	return w.f.append(data)
}

// room says whether the medium has more than the reserve, or, for the end, part of it. Older runs
// give way.
func (w *writer) room(last bool) bool {
	need := int64(reserve)
	if last {
		need = reserveAtEnd
	}
	for {
		n, err := w.o.Free(filepath.Dir(w.dir))
		if err != nil || n >= need {
			return true // the write will tell
		}
		if w.f == nil || !w.f.removeOldest() {
			return false
		}
	}
}

// giveUp stops taking events that nobody will ever write.
func (w *writer) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over, w.pending = true, nil
}

// finish writes the last lines, or removes what was written.
func (w *writer) finish() {
	w.mu.Lock()
	forget := w.forget
	w.mu.Unlock()
	if !forget {
		w.flush(true)
		return
	}
	if w.f != nil {
		_ = w.o.FS.Remove(path(w.dir, w.f.number))
	}
}

func (w *writer) close() {
	if w.f != nil {
		_ = w.f.f.Close()
	}
}
