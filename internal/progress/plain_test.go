package progress_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/progress"
)

func TestPlain(t *testing.T) {
	const want = `flipside: scripts
Download_Enter_05: checking the battery
flipside: download: 48.0 MiB
flipside: download  10%  6.0/48.0 MiB  4.2 MB/s  for 0:01
flipside: download  20%  12.0/48.0 MiB  4.2 MB/s  ETA 0:09
flipside: download  31%  18.0/48.0 MiB  4.2 MB/s  ETA 0:08
flipside: connection lost at 20.0 MiB of 48.0 MiB, trying again in 2 s
flipside: download  41%  24.0/48.0 MiB  3.1 MB/s  ETA 0:08
flipside: download  50%  29.0/48.0 MiB  3.3 MB/s  ETA 0:07
flipside: download  60%  35.0/48.0 MiB  3.3 MB/s  ETA 0:05
flipside: download  71%  41.0/48.0 MiB  3.3 MB/s  ETA 0:03
flipside: download  81%  47.0/48.0 MiB  3.3 MB/s  ETA 0:01
flipside: download: complete, 48.0 MiB in 0:14
flipside: sync
flipside: read back: 48.0 MiB
flipside: read back  91%  16.0/48.0 MiB  28.0 MB/s  for 0:00
flipside: read back: complete, 48.0 MiB in 0:02
flipside: scripts
flipside: warning: the clock of this device is wrong
flipside: scripts  99%  for 0:15
flipside: boot flags
flipside: done: 48.0 MiB written, 0 B skipped in 0:44 (1.1 MB/s)
`
	var b bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		d := progress.NewPlain(&b)
		install(d)
		d.Emit(done)
		d.Close()
	})
	if got := b.String(); got != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", got, want)
	}
}

func TestQuiet(t *testing.T) {
	var b bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		d := progress.NewQuiet(&b)
		install(d)
		d.Emit(done)
		d.Close()
	})
	want := wantScreen[:strings.Index(wantScreen, "done:")]
	if got := b.String(); got != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", got, want)
	}
}

func TestPlainShowsThatItIsAlive(t *testing.T) {
	const want = `flipside: sync
flipside: sync  for 0:15
flipside: sync  for 0:30
flipside: sync  for 0:45
`
	var b bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		d := progress.NewPlain(&b)
		d.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Sync})
		time.Sleep(50 * time.Second)
		d.Close()
	})
	if got := b.String(); got != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", got, want)
	}
}

func TestOutputOfProgramsIsHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                           "m: plain\n",
		"two\nlines\n":                    "m: two\nm: lines\n",
		"windows\r\n":                     "m: windows\n",
		"10%\r20%\r30%":                   "m: 30%\n",
		"\x1b[31;1mred\x1b[0m":            "m: red\n",
		"\x1b]0;title\a\x1b[2J":           "m: ?]0;title?\n",
		"bell\a tab\t null\x00 c1\u009bA": "m: bell? tab\t null? c1?A\n",
		"broken \xff\xfe utf-8 ä":         "m: broken ?? utf-8 ä\n",
		"cut off \x1b[31":                 "m: cut off \n",
		"":                                "m: \n",
		strings.Repeat("x", 1<<20):        "m: " + strings.Repeat("x", 4096) + "\n",
	} {
		var b bytes.Buffer
		d := progress.NewPlain(&b)
		d.Emit(progress.Event{Kind: progress.Output, From: "m", Text: text})
		d.Close()
		if got := b.String(); got != want {
			t.Errorf("%.40q shown as %.80q; want %.80q", text, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	for name, test := range map[string]struct {
		events []progress.Event
		took   time.Duration
		want   string
	}{
		"written and skipped": {
			[]progress.Event{{Kind: progress.Begin, Phase: progress.Download, Total: 48 * mib}, {Kind: progress.Advance, Phase: progress.Download, Done: 48 * mib, Written: 8 * mib, Skipped: 40 * mib}},
			4 * time.Second, "done: 8.0 MiB written, 40.0 MiB skipped in 0:04 (12.6 MB/s)",
		},
		"to a module": {
			[]progress.Event{{Kind: progress.Begin, Phase: progress.Download, Total: 1000}, {Kind: progress.Advance, Phase: progress.Download, Done: 1000}},
			3723 * time.Second, "done: 1000 B in 1:02:03 (0 B/s)",
		},
		"no bytes":  {[]progress.Event{{Kind: progress.Begin, Phase: progress.Scripts}}, 61 * time.Second, "done in 1:01"},
		"at once":   {[]progress.Event{{Kind: progress.Advance, Phase: progress.Download, Done: 1 << 30, Written: 1 << 30}}, 0, "done: 1.0 GiB written, 0 B skipped in 0:00"},
		"no events": {nil, time.Hour, "done in 0:00"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			synctest.Test(t, func(*testing.T) {
				d := progress.NewBar(&b, eighty())
				for _, ev := range test.events {
					d.Emit(ev)
				}
				time.Sleep(test.took)
				d.Emit(progress.Event{Kind: progress.Done})
				d.Close()
			})
			lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\r")
			if got := strings.TrimRight(lines[len(lines)-1], " "); got != test.want {
				t.Errorf("ends with %q; want %q", got, test.want)
			}
		})
	}
}

func TestParseMode(t *testing.T) {
	for _, s := range []string{"auto", "bar", "plain", "json", "none"} {
		if m, err := progress.ParseMode(s); err != nil || string(m) != s {
			t.Errorf("ParseMode(%q) = %q, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "Bar", "fancy"} {
		if m, err := progress.ParseMode(s); err == nil || !strings.Contains(err.Error(), "auto, bar, plain, json or none") {
			t.Errorf("ParseMode(%q) = %q, %v; want an error that lists the modes", s, m, err)
		}
	}
}
