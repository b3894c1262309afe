package progress

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// advanceEvery is how often at most a Stream tells how far one phase is.
const advanceEvery = 500 * time.Millisecond

// NewStream returns a Display for programs: a Line for each event. How far a phase has come is told
// at most twice a second; its End tells the rest. Nothing else is left out, unless the reader is so
// far behind that the lines that wait for it are too many: then the oldest go, and a LeftOut event
// stands where they were.
func NewStream(w io.Writer) *Display { return newDisplay(w, &stream{advanced: map[Phase]time.Time{}}) }

type stream struct {
	advanced map[Phase]time.Time // when that was told last
}

func (*stream) prompt() bool           { return true }
func (*stream) room() int              { return 5 * maxLines }
func (*stream) message(Event) []string { return nil }

func (*stream) leftOut(n int) string {
	return line(time.Now(), Event{Kind: LeftOut, Text: plural(n, "line")})
}

func (s *stream) lines(_ *tracker, ev Event, now time.Time) []string {
	if ev.Kind == Advance {
		if last, ok := s.advanced[ev.Phase]; ok && now.Sub(last) < advanceEvery {
			return nil
		}
		s.advanced[ev.Phase] = now
	}
	return []string{line(now, ev)}
}

func (*stream) frame(_ *tracker, lines []string, _ time.Time, _ bool) string { return joined(lines) }

// line is ev as a Line, without its end.
func line(now time.Time, ev Event) string {
	return strings.TrimSuffix(string(Append(nil, now, ev)), "\n")
}

// Print shows text, which is one line, after all that was emitted so far.
func (d *Display) Print(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.lines = append(d.lines, text)
	}
}

// leftOut is what people read where lines are missing.
func leftOut(n int) string { return fmt.Sprintf("(%s left out)", plural(n, "line")) }
