package progress

import (
	"encoding/json"
	"time"
)

// LineVersion is the version of what scripts and the event log get. Within one version fields and
// kinds of events are only added.
const LineVersion = 1

// Line is an Event as scripts and the event log get it: one JSON object on a line of its own.
type Line struct {
	Version int       `json:"v"`
	Time    time.Time `json:"time"` // RFC 3339, UTC
	Event
}

// Append appends ev, which happened at now, as one line of JSON to b.
func Append(b []byte, now time.Time, ev Event) []byte {
	line, err := json.Marshal(Line{Version: LineVersion, Time: now.UTC(), Event: ev})
	if err != nil {
		panic(err) // strings and numbers alone: it cannot fail before the year 10000
	}
	return append(append(b, line...), '\n')
}
