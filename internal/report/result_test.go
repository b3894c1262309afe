package report_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"flipside/internal/deployment"
	"flipside/internal/eventlog"
	"flipside/internal/progress"
	"flipside/internal/report"
)

func TestResultIsReadAsItWasWritten(t *testing.T) {
	r := report.Result{
		Command: "install", Artifact: "next", DeviceArtifact: "old", InProgress: true, ElapsedMS: 7,
		Report: report.Report{Code: 1, Phase: "boot flags", Cause: "<no> space", Hint: "make room", Device: "it still runs old", DeviceState: deployment.SlotInvalid},
		Bytes:  progress.Totals{In: 1, Written: 2, Skipped: 3, Zeroed: 4},
		Text:   []string{"Installing artifact..."},
	}
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	got, err := report.ParseResult([]byte(r.Line(now)))
	if err != nil {
		t.Fatal(err)
	}
	r.Version, r.Time, r.Event = 1, now, "result"
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read %+v; want %+v", got, r)
	}
	want := []string{"Installing artifact...", "error: <no> space", "it still runs old", "hint: make room"}
	if words := got.Words(); !slices.Equal(words, want) {
		t.Errorf("words are %q; want %q", words, want)
	}
}

// TestShortResultsFitTheLog: whatever the texts in them are.
func TestShortResultsFitTheLog(t *testing.T) {
	long := strings.Repeat("\x00", 1<<16)
	r := report.Result{
		Command: "install", Artifact: long, DeviceArtifact: long, Text: []string{long}, Next: []string{long},
		Report: report.Report{Code: 1, Cause: long, Hint: long, Device: long},
	}
	if line := r.Short().Line(time.Now()); len(line) > eventlog.MaxResult || !strings.Contains(line, `(cut)`) {
		t.Errorf("%d bytes; want at most %d: %.200s", len(line), eventlog.MaxResult, line)
	}
}
