package command

import (
	"runtime/debug"
	"strconv"
	"time"
)

// builtAt is when this program was built, or rather when its sources were committed, so that the same
// sources make the same program. stamp is what the build says, in seconds since 1970, "" if it says
// nothing. It is zero where nobody knows.
func builtAt(stamp string) time.Time {
	if seconds, err := strconv.ParseInt(stamp, 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC()
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value) // zero if it is none
			return t
		}
	}
	return time.Time{}
}
