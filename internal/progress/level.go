package progress

import "fmt"

// Level is how important something must be to be told. Progress itself is not a matter of levels.
type Level int

const (
	Errors   Level = iota // nothing that an Event tells; errors are the caller's to print
	Warnings              // warnings
	All                   // notes, warnings, and what programs print
)

// ParseLevel reads a Level, by the names that Mender's client knows.
func ParseLevel(s string) (Level, error) {
	switch s {
	case "trace", "debug", "info":
		return All, nil
	case "warning":
		return Warnings, nil
	case "error", "fatal":
		return Errors, nil
	}
	return 0, fmt.Errorf("%q is not a log level: trace, debug, info, warning, error or fatal", s)
}

// AtLevel is s without what is less important than level.
func AtLevel(s Sink, level Level) Sink { return atLevel{s, level} }

type atLevel struct {
	Sink
	level Level
}

func (a atLevel) Emit(e Event) {
	switch e.Kind {
	case Warning:
		if a.level < Warnings {
			return
		}
	case Note, Output:
		if a.level < All {
			return
		}
	}
	a.Sink.Emit(e)
}
