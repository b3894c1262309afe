package progress

import (
	"strings"
	"time"
)

// Position is where the work stands.
type Position struct {
	Phase   Phase // "" between two phases
	Percent int   // of the whole; -1 if there is nothing to measure
}

// Meter finds the Position from events that somebody kept. Its zero value is ready for use by one
// goroutine.
type Meter struct{ track tracker }

// Apply takes an event that happened at that time, in the order of the events.
func (m *Meter) Apply(at time.Time, ev Event) { m.track.apply(ev, at) }

// Position is where the work stood after the last event.
func (m *Meter) Position() Position {
	s := m.track.status(time.Time{})
	return Position{Phase: s.phase, Percent: s.percent}
}

// Words are what ev says to somebody who reads it later, line by line; nil if that is nothing. What
// programs printed is harmless in them.
func Words(ev Event) []string {
	switch ev.Kind {
	case Begin:
		return []string{heading(ev)}
	case Done:
		return []string{"done"}
	}
	var lines []string
	for _, line := range message(ev) {
		lines = append(lines, strings.TrimPrefix(line, "flipside: "))
	}
	return lines
}
