// Package eventlog keeps what the last runs had to tell, for whoever was not there: a technician who
// lost the connection, a script that asks later. Each run that works on a deployment has a file of
// its own, DIR/00000012.jsonl, of JSON objects, one on a line: a Head, the events as
// progress.Append writes them, and how it ended. Where that is missing, the run still works, was
// killed, or the power went.
//
// The log is a convenience, and gives way to everything else: it never fails or delays the work, is
// bounded (Keep files of MaxFile bytes), leaves room on the medium for what matters, writes little,
// and survives a power cut but for the last few seconds. It is not to be decided by.
//
//	l := eventlog.New(eventlog.Options{FS: disk.OS{}})
//	l.Begin(dir, eventlog.Head{Command: "install"})
//	l.Emit(event)
//	l.End(`{"v":1,"time":"...","event":"result",...}`)
//
// Writing is for one process at a time, the one that holds the lock. Reading is for everybody.
package eventlog

import (
	"encoding/json"
	"path/filepath"
	"time"

	"flipside/internal/progress"
)

// The bounds.
const (
	Keep    = 8         // runs
	MaxFile = 256 << 10 // bytes of each
	reserve = 1 << 20   // bytes that stay free on the medium: state files need some KiB
	// When a run ends, all that it had to record is recorded.
	reserveAtEnd = 128 << 10
	maxLine      = 8 << 10        // bytes; a longer text is cut
	forTail      = 32 << 10       // bytes for the end of what programs print
	forEnd       = 3 * maxLine    // bytes for how it ended
	MaxResult    = forEnd - 1<<10 // bytes of the line that End gets
	// What programs print, and progress, may not take the place of what happened.
	forOutput = MaxFile - forTail - forEnd - 32<<10
	forEvents = MaxFile - forTail - forEnd
)

// Kinds of lines beside those of package progress.
const (
	KindRun    progress.Kind = "run"    // the first line: a Head
	KindResult progress.Kind = "result" // the last one: how the run ended, in the form that scripts get
)

// Head says what a run is.
type Head struct {
	Command string `json:"command"`          // install, commit, rollback or resume
	Source  string `json:"source,omitempty"` // what is installed, without secrets
	Program string `json:"program"`          // "flipside 1.2.3"
	PID     int    `json:"pid"`
	TTY     string `json:"tty,omitempty"` // where a person would have seen it
}

// Line is one line of a file.
type Line struct {
	progress.Line        // Kind says what it is
	Head          *Head  // of KindRun
	Raw           []byte // as it stands in the file, without the newline
}

// IsResult says that the line, which is the last one of the run, tells how it ended: Raw has that.
func (l Line) IsResult() bool { return l.Kind == KindResult }

// parse reads a line; false if it is none, as after a power cut.
func parse(raw []byte) (Line, bool) {
	var m meta
	if json.Unmarshal(raw, &m) != nil || m.Version < 1 || m.Kind == "" {
		return Line{}, false
	}
	l := Line{Line: progress.Line{Version: m.Version, Time: m.Time, Event: progress.Event{Kind: m.Kind}}, Raw: raw}
	switch m.Kind {
	case KindResult: // it is the reader's
		return l, true
	case KindRun:
		l.Head = &Head{}
		return l, json.Unmarshal(raw, l.Head) == nil
	}
	return l, json.Unmarshal(raw, &l.Line) == nil
}

// meta is what every line has.
type meta struct {
	Version int           `json:"v"`
	Time    time.Time     `json:"time"`
	Kind    progress.Kind `json:"event"`
}

func metaOf(now time.Time, k progress.Kind) meta {
	return meta{Version: progress.LineVersion, Time: now.UTC(), Kind: k}
}

// line is v as a line; v is a struct of ours, which can always be marshalled.
func line(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(data, '\n')
}

func headLine(now time.Time, h Head) []byte {
	h.Source = cut(h.Source)
	return line(struct {
		meta
		Head
	}{metaOf(now, KindRun), h})
}

// eventLine is an event, cut if it is too long.
func eventLine(now time.Time, ev progress.Event) []byte {
	data := progress.Append(nil, now, ev)
	if len(data) > maxLine {
		ev.Text, ev.From = cut(ev.Text), cut(ev.From)
		data = progress.Append(nil, now, ev)
	}
	return data
}

// cut shortens a text so that it fits into a line, however many of its bytes have to be escaped.
func cut(text string) string {
	const most = maxLine / 8
	if len(text) <= most {
		return text
	}
	return text[:most] + " (cut)"
}

// Dir is where the log of a device is, whose state is in stateDir.
func Dir(stateDir string) string { return filepath.Join(stateDir, "log") }
