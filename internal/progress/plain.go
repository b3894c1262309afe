package progress

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

const (
	plainStep  = 10 // percent from line to line
	plainEvery = 15 * time.Second
)

// NewPlain returns a Display for logs, files and terminals that cannot go back in a line: a line for
// each phase, for each tenth of the whole, and at least every 15 seconds while a phase is open, so
// that nobody takes a long phase for a hang.
func NewPlain(w io.Writer) *Display { return newDisplay(w, &plain{}) }

// NewQuiet returns a Display that shows notes, warnings and the output of programs, no progress.
func NewQuiet(w io.Writer) *Display { return newDisplay(w, quiet{}) }

type plain struct {
	forPeople
	shown int       // tenth of the whole that was written last
	at    time.Time // of the last line about progress
}

func (p *plain) prompt() bool { return true }

func (p *plain) lines(t *tracker, ev Event, now time.Time) []string {
	switch ev.Kind {
	case Begin:
		s := t.status(now)
		p.shown, p.at = max(s.percent/plainStep, 0), now
		return []string{"flipside: " + heading(ev)}
	case Advance:
		if s := t.status(now); s.percent/plainStep > p.shown {
			return p.line(s, now)
		}
	case End:
		return ended(t, ev.Phase, now)
	case Done:
		return []string{"flipside: " + t.summary(math.MaxInt)}
	}
	return nil
}

func (p *plain) line(s status, now time.Time) []string {
	p.shown, p.at = max(s.percent/plainStep, 0), now
	fields := []string{string(s.phase)}
	if s.percent >= 0 {
		fields = append(fields, fmt.Sprintf("%d%%", s.percent))
	}
	if s.total > 0 || s.done > 0 {
		fields = append(fields, amount(s.done, s.total), speed(s.rate))
	}
	if left, ok := s.left(); ok {
		fields = append(fields, "ETA "+clock(left))
	} else {
		fields = append(fields, "for "+clock(s.elapsed))
	}
	return []string{"flipside: " + strings.Join(fields, "  ")}
}

func (p *plain) frame(t *tracker, lines []string, now time.Time, last bool) string {
	if s := t.status(now); s.phase != "" && !t.finished && !last && now.Sub(p.at) >= plainEvery {
		lines = append(lines, p.line(s, now)...)
	}
	return joined(lines)
}

// ended says what a phase did that moved bytes, so that nobody takes its last percentage, which is
// that of the whole, for an end in the middle.
func ended(t *tracker, phase Phase, now time.Time) []string {
	s := t.find(phase)
	if s == nil || s.done <= 0 {
		return nil
	}
	line := fmt.Sprintf("flipside: %s: complete, %s", phase, size(s.done))
	if phase == Download && t.in > 0 {
		line += fmt.Sprintf(" (%s from the source, %s written, %s skipped)", size(t.in), size(t.written), size(t.skipped))
	}
	return []string{line + " in " + clock(now.Sub(s.began))}
}

type quiet struct{ forPeople }

func (quiet) prompt() bool                                                 { return true }
func (quiet) lines(*tracker, Event, time.Time) []string                    { return nil }
func (quiet) frame(_ *tracker, lines []string, _ time.Time, _ bool) string { return joined(lines) }

// joined ends each line with a newline.
func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
