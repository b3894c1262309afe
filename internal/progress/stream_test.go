package progress_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/progress"
)

// events runs the story against a stream, and returns the lines, read again.
func events(t *testing.T, story func(d *progress.Display)) (all []progress.Line) {
	t.Helper()
	var b bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		d := progress.NewStream(&b)
		story(d)
		d.Close()
	})
	for line := range strings.Lines(b.String()) {
		var l progress.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, l)
	}
	return all
}

// TestStream: all events arrive, in order, as they were; only advances are thinned out.
func TestStream(t *testing.T) {
	var emitted []progress.Event
	var advances int
	got := events(t, func(d *progress.Display) {
		install(sinkFunc(func(ev progress.Event) {
			if ev.Kind == progress.Advance {
				advances++
			} else {
				emitted = append(emitted, ev)
			}
			d.Emit(ev)
		}))
	})
	last := map[progress.Phase]time.Time{}
	kept := 0
	for _, l := range got {
		if l.Version != progress.LineVersion || l.Time.IsZero() {
			t.Errorf("line %+v has no version or time", l)
		}
		if l.Kind == progress.Advance {
			kept++
			if since := l.Time.Sub(last[l.Phase]); since < 500*time.Millisecond {
				t.Errorf("%s: two advances within %s", l.Phase, since)
			}
			last[l.Phase] = l.Time
			continue
		}
		if len(emitted) == 0 || l.Event != emitted[0] {
			t.Fatalf("got %+v; want %+v", l.Event, emitted)
		}
		emitted = emitted[1:]
	}
	if len(emitted) > 0 || kept < advances/3 {
		t.Errorf("%d events are missing, %d of %d advances were told", len(emitted), kept, advances)
	}
}

type sinkFunc func(progress.Event)

func (f sinkFunc) Emit(ev progress.Event) { f(ev) }

// TestStreamOfASlowReader: who reads nothing for long finds a mark where lines are missing, and what
// was printed last.
func TestStreamOfASlowReader(t *testing.T) {
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		d := progress.NewStream(w)
		d.Emit(progress.Event{Kind: progress.Note, Text: "the first"})
		synctest.Wait() // nobody takes it: the lines that follow have to wait for it
		const all = 20_000
		for range all {
			d.Emit(progress.Event{Kind: progress.Output, Text: strings.Repeat("x", 100)})
		}
		d.Print(`{"event":"result"}`)
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(&out, r)
		}()
		d.Close()
		_ = w.Close()
		<-read
	})
	text := out.String()
	if n := strings.Count(text, `"event":"left-out","text":"`); n != 1 {
		t.Errorf("%d marks of missing lines; want 1", n)
	}
	if !strings.HasSuffix(text, "\n{\"event\":\"result\"}\n") {
		t.Errorf("the last line is not there, but %q", text[max(0, len(text)-100):])
	}
}

func TestTally(t *testing.T) {
	var tally progress.Tally
	var input progress.Input
	s := input.Sink(&tally)
	for range 2 { // payloads
		s.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: 100})
		if _, err := io.Copy(io.Discard, input.Reader(strings.NewReader("compressed"))); err != nil {
			t.Fatal(err)
		}
		s.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: 50, Written: 30, Skipped: 20})
		s.Emit(progress.Event{Kind: progress.End, Phase: progress.Download, Done: 100, Written: 60, Skipped: 40})
	}
	s.Emit(progress.Event{Kind: progress.End, Phase: progress.ReadBack, Done: 100})
	if got, want := tally.Totals(), (progress.Totals{In: 20, Written: 120, Skipped: 80}); got != want {
		t.Errorf("totals %+v; want %+v", got, want)
	}
}
