package eventlog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"flipside/internal/progress"
)

// Run is one run, as far as its file can be read.
type Run struct {
	Number int
	Lines  []Line // what a power cut has torn is left out
}

// Read reads the runs in dir, the oldest first. A directory that is not there has none.
func Read(dir string) ([]Run, error) {
	var runs []Run
	for _, n := range numbers(dir) {
		t := Tail{path: path(dir, n)}
		lines, err := t.Next()
		switch {
		case errors.Is(err, os.ErrNotExist): // it gave way in the meantime
		case err != nil:
			return runs, err
		case len(lines) > 0:
			runs = append(runs, Run{n, lines})
		}
	}
	return runs, nil
}

// Of finds the run that the process pid has begun at since, or right after.
func Of(dir string, pid int, since time.Time) (Run, bool) {
	all := numbers(dir)
	if len(all) == 0 {
		return Run{}, false
	}
	n := all[len(all)-1]
	lines, _ := (&Tail{path: path(dir, n)}).Next()
	r := Run{n, lines}
	h := r.Head()
	return r, h != nil && h.PID == pid && !r.Lines[0].Time.Before(since)
}

// Head says what the run is; nil if that line is lost.
func (r Run) Head() *Head {
	if len(r.Lines) == 0 {
		return nil
	}
	return r.Lines[0].Head
}

// Result is the line that tells how the run ended; false if it did not, or nobody knows.
func (r Run) Result() (Line, bool) {
	if len(r.Lines) == 0 {
		return Line{}, false
	}
	last := r.Lines[len(r.Lines)-1]
	return last, last.IsResult()
}

// Position is where the work stood when the run wrote its last line.
func (r Run) Position() progress.Position {
	var m progress.Meter
	for _, l := range r.Lines {
		if l.Head == nil && !l.IsResult() {
			m.Apply(l.Time, l.Event)
		}
	}
	return m.Position()
}

// Tail returns the run's lines, and then those that are still to come.
func (r Run) Tail(dir string) *Tail { return &Tail{path: path(dir, r.Number)} }

// Tail reads a file that grows.
type Tail struct {
	path   string
	offset int64
}

// Next returns the lines that have come since the last call.
func (t *Tail) Next() ([]Line, error) {
	f, err := os.Open(t.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Nobody but us writes there, but the memory is bounded anyway.
	data, err := io.ReadAll(io.NewSectionReader(f, t.offset, 2*MaxFile))
	if err != nil {
		return nil, err
	}
	var lines []Line
	for {
		raw, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return lines, nil
		}
		data, t.offset = rest, t.offset+int64(len(raw))+1
		if l, ok := parse(raw); ok {
			lines = append(lines, l)
		}
	}
}
