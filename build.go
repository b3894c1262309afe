package main

import (
	"runtime/debug"
	"strconv"
	"time"
)

// built may be set when a release is built, to seconds since 1970: -ldflags "-X main.built=1767225600".
var built string

// buildTime is when this program was built, or rather when its sources were committed, so that the
// same sources make the same program. It is zero where nobody knows.
func buildTime() time.Time {
	if seconds, err := strconv.ParseInt(built, 10, 64); err == nil {
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
