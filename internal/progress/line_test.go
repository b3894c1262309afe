package progress_test

import (
	"testing"
	"time"

	"flipside/internal/progress"
)

func TestAppend(t *testing.T) {
	at := time.Date(2026, 11, 21, 5, 0, 0, 0, time.FixedZone("", 3600))
	got := string(progress.Append([]byte("before\n"), at, progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: 5, Total: 9}))
	want := "before\n" + `{"v":1,"time":"2026-11-21T04:00:00Z","event":"advance","phase":"download","done":5,"total":9}` + "\n"
	if got != want {
		t.Errorf("Append = %s; want %s", got, want)
	}
}
