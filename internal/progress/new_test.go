package progress_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"flipside/internal/progress"
)

func TestModesOnAFile(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("COLUMNS", "30")
	for mode, want := range map[progress.Mode]string{
		progress.Auto:  "flipside: download: 48.0 MiB\nflipside: a note\n",
		progress.Plain: "flipside: download: 48.0 MiB\nflipside: a note\n",
		progress.Bar:   "flipside: a note\ndownload   0%  0.0/48.0 MiB\n", // whoever asks for it gets it
		progress.None:  "flipside: a note\n",
	} {
		t.Run(string(mode), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "log")
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(*testing.T) {
				d := progress.New(f, mode)
				d.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: 48 * mib})
				d.Emit(progress.Event{Kind: progress.Note, Text: "a note"})
				d.Close()
			})
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("wrote %q; want %q", got, want)
			}
		})
	}
}
