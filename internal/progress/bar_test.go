package progress_test

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/progress"
)

const mib = 1 << 20

// install emits what installing 48 MiB emits, at 4 MiB a second.
func install(s progress.Sink) {
	begin := func(p progress.Phase, total int64) {
		s.Emit(progress.Event{Kind: progress.Begin, Phase: p, Total: total})
	}
	end := func(p progress.Phase) { s.Emit(progress.Event{Kind: progress.End, Phase: p}) }

	begin(progress.Scripts, 0)
	time.Sleep(3 * time.Second)
	s.Emit(progress.Event{Kind: progress.Output, From: "Download_Enter_05", Text: "checking the \x1b[1mbattery\x1b[0m\r"})
	end(progress.Scripts)
	begin(progress.Download, 48*mib)
	for done := int64(0); done <= 48*mib; done += mib {
		s.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: done, Total: 48 * mib, Written: done})
		if done == 20*mib {
			s.Emit(progress.Event{Kind: progress.Note, Text: "connection lost at 20.0 MiB of 48.0 MiB, trying again in 2 s"})
			time.Sleep(2 * time.Second)
		}
		time.Sleep(250 * time.Millisecond)
	}
	end(progress.Download)
	begin(progress.Sync, 0)
	time.Sleep(4 * time.Second)
	end(progress.Sync)
	begin(progress.ReadBack, 48*mib)
	for done := int64(0); done <= 48*mib; done += 16 * mib {
		s.Emit(progress.Event{Kind: progress.Advance, Phase: progress.ReadBack, Done: done})
		time.Sleep(600 * time.Millisecond)
	}
	end(progress.ReadBack)
	begin(progress.Scripts, 0)
	s.Emit(progress.Event{Kind: progress.Warning, Text: "the clock of this device is wrong"})
	time.Sleep(20 * time.Second)
	end(progress.Scripts)
	begin(progress.BootFlags, 0)
	time.Sleep(time.Second)
	end(progress.BootFlags)
}

var done = progress.Event{Kind: progress.Done, Written: 48 * mib}

const wantScreen = `Download_Enter_05: checking the battery
flipside: connection lost at 20.0 MiB of 48.0 MiB, trying again in 2 s
flipside: warning: the clock of this device is wrong
done: 48.0 MiB written, 0 B skipped in 0:44 (1.1 MB/s)
`

// shortSummary is the last line where the whole does not fit.
var shortSummary = map[uint16]string{40: "done: 48.0 MiB in 0:44", 30: "done: 48.0 MiB in 0:44", 20: "done in 0:44", 7: "done"}

// TestBarTellsBytes: what came in, was written and skipped, as far as the terminal is wide enough:
// 80 columns are.
func TestBarTellsBytes(t *testing.T) {
	download := func(total, in, written, skipped int64) progress.Event {
		return progress.Event{
			Kind: progress.Advance, Phase: progress.Download, Done: (written + skipped) * mib, Total: total * mib,
			In: in * mib, Written: written * mib, Skipped: skipped * mib,
		}
	}
	for _, c := range []struct {
		columns int
		ev      progress.Event
		want    string
	}{
		{112, download(48, 5, 12, 8), `download  34% [==>........]  20.0/48.0 MiB  10.5 MB/s  ETA 0:03  in 5.0 MiB, written 12.0 MiB, skipped 8.0 MiB`},
		{100, download(48, 5, 12, 8), `download  34% [=====>............]  in 5.0, written 12, skipped 8.0 of 48 MiB  10 MB/s  ETA 0:03`},
		{80, download(48, 5, 12, 8), `download  34% [>...]  in 5.0, written 12, skipped 8.0 MiB  10 MB/s  ETA 0:03`},
		{80, download(512, 120, 130, 200), `download  53% [=>..]  in 120, written 130, skipped 200 MiB  173 MB/s  ETA 0:02`},
		{80, download(1000, 600, 999, 0), `download  83% [==>.]  in 600, written 999, skipped 0.0 MiB  524 MB/s  ETA 0:01`},
		{70, download(48, 5, 12, 8), `download  34%  in 5.0, written 12, skipped 8.0 MiB  10 MB/s  ETA 0:03`},
		{60, download(48, 5, 12, 8), `download  34%  20.0/48.0 MiB  10.5 MB/s  ETA 0:03`},
	} {
		w := &frames{}
		synctest.Test(t, func(*testing.T) {
			d := progress.NewBar(w, progress.Terminal{Width: func() int { return c.columns }})
			d.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: c.ev.Total})
			time.Sleep(2 * time.Second)
			d.Emit(c.ev)
			d.Close()
		})
		lines := strings.Split(strings.TrimRight(w.b.String(), " \n"), "\r")
		if last := strings.TrimRight(lines[len(lines)-1], " "); last != c.want || len(last) >= c.columns {
			t.Errorf("on %d columns: %q; want %q", c.columns, last, c.want)
		}
	}
}

func TestBarOnTerminals(t *testing.T) {
	for _, test := range []struct {
		term, lang string
		columns    uint16
		bar        string // what a download at 42 % of the whole looks like
		ascii      bool
	}{
		{"vt100", "", 80, `download  4\d% \[=+>\.+\]  \d+\.\d/48.0 MiB  \d\.\d MB/s  ETA 0:\d\d`, true},
		{"xterm-256color", "de_DE.UTF-8", 80, `download  4\d% \|█+ +\|  \d+\.\d/48.0 MiB  \d\.\d MB/s  ETA 0:\d\d`, false},
		{"xterm-256color", "C", 132, `download  4\d% \[=+>\.+\]  \d+\.\d/48.0 MiB  \d\.\d MB/s  ETA 0:\d\d`, true},
		{"linux", "en_US.UTF-8", 0, `download  4\d% \[=+>\.+\]  \d+\.\d/48.0 MiB  \d\.\d MB/s  ETA 0:\d\d`, true},
		{"vt220", "", 56, `download  4\d%  \d+\.\d/48.0 MiB  \d\.\d MB/s  ETA 0:\d\d`, true},
		{"vt100", "", 40, `download  4\d%  \d+\.\d/48.0 MiB  ETA 0:\d\d`, true},
		{"vt100", "", 30, `download  4\d%  \d+\.\d/48.0 MiB`, true},
		{"vt100", "", 20, `download  4\d%`, true},
		{"vt100", "", 7, `downlo`, true},
	} {
		t.Run(fmt.Sprintf("%s,%s,%d", test.term, test.lang, test.columns), func(t *testing.T) {
			t.Setenv("TERM", test.term)
			t.Setenv("LC_ALL", "")
			t.Setenv("LC_CTYPE", "")
			t.Setenv("LANG", test.lang)
			t.Setenv("COLUMNS", "")
			master, slave := openPTY(t, test.columns)
			synctest.Test(t, func(*testing.T) {
				d := progress.New(slave, progress.Auto)
				install(d)
				d.Emit(done)
				d.Close()
			})
			out := hangUp(t, master, slave)

			columns := int(test.columns)
			if columns == 0 {
				columns = 80
			}
			s := &screen{t: t, columns: columns}
			if columns < 80 { // messages wrap there; only the bar has to fit
				s.columns = 80
			}
			s.write(out)
			want := wantScreen
			if short, ok := shortSummary[test.columns]; ok {
				want = want[:strings.Index(want, "done:")] + short + "\n"
			}
			if got := s.text(); got != want {
				t.Errorf("screen at the end:\n%s\nwant:\n%s", got, want)
			}
			bar, found := regexp.MustCompile("^"+test.bar+"$"), false
			for _, line := range s.states {
				found = found || bar.MatchString(line)
				if n := len([]rune(line)); n >= columns && !strings.Contains(wantScreen, line) {
					t.Errorf("%d characters on %d columns: %q", n, columns, line)
				}
				if strings.Contains(line, "100%") {
					t.Errorf("100%% before all is done: %q", line)
				}
				if test.ascii && strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
					t.Errorf("more than ASCII: %q", line)
				}
			}
			if !found {
				t.Errorf("no line like %q in\n%s", test.bar, strings.Join(s.states, "\n"))
			}
		})
	}
}

func TestAutoIsPlainWhereNothingCanBeDrawnOver(t *testing.T) {
	for _, term := range []string{"dumb", "", "unknown"} {
		t.Run("TERM="+term, func(t *testing.T) {
			t.Setenv("TERM", term)
			master, slave := openPTY(t, 80)
			d := progress.New(slave, progress.Auto)
			d.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Sync})
			d.Close()
			if got, want := hangUp(t, master, slave), "flipside: sync\r\n"; got != want {
				t.Errorf("wrote %q; want %q", got, want)
			}
		})
	}
}

// frames is a writer that remembers when it was called.
type frames struct {
	mu sync.Mutex
	b  bytes.Buffer
	at []time.Time
}

func (f *frames) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.at); n == 0 || f.at[n-1] != time.Now() {
		f.at = append(f.at, time.Now())
	}
	return f.b.Write(p)
}

func eighty() progress.Terminal { return progress.Terminal{Width: func() int { return 80 }} }

func TestBarKeepsUpWithASerialConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &frames{}
		d := progress.NewBar(w, eighty())
		start := time.Now()
		d.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: 1 << 30})
		const steps = 20000
		for i := range int64(steps) { // a millisecond each
			d.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: i << 15})
			if i%100 == 0 {
				d.Emit(progress.Event{Kind: progress.Output, From: "x", Text: "line"})
			}
			time.Sleep(time.Millisecond)
		}
		took := time.Since(start)
		d.Close()
		if most := int(took/(500*time.Millisecond)) + 1; len(w.at) > most {
			t.Errorf("drawn %d times in %s; want at most %d", len(w.at), took, most)
		}
		const perSecond = 960 // 9600 baud
		if most := int(took.Seconds() * perSecond); w.b.Len() > most {
			t.Errorf("wrote %d bytes in %s; a console of 9600 baud takes %d", w.b.Len(), took, most)
		}
		if n := strings.Count(w.b.String(), "x: line"); n != steps/100 {
			t.Errorf("%d lines of output shown; want %d", n, steps/100)
		}
	})
}

// TestBarLeavesRoomOnASerialConsole: however fast the work is, the bar alone takes a sixth of 9600
// baud; the rest is for scripts and for whoever types.
func TestBarLeavesRoomOnASerialConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &frames{}
		d := progress.NewBar(w, eighty())
		const seconds, total = 30, 1 << 30
		d.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Download, Total: total})
		for i := range int64(seconds * 1000) {
			done := i * total / (seconds * 1000)
			d.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: done, Total: total, In: done / 3, Written: done / 2, Skipped: done / 2})
			time.Sleep(time.Millisecond)
		}
		d.Close()
		if perSecond := w.b.Len() / seconds; perSecond > 960/6+4 || perSecond < 100 {
			t.Errorf("wrote %d bytes a second; want two lines of 80", perSecond)
		}
	})
}

var percentage = regexp.MustCompile(`(\d+)%`)

// percentages runs the story against a bar and returns the numbers that were shown.
func percentages(t *testing.T, story func(s progress.Sink)) (shown []int, out string) {
	t.Helper()
	w := &frames{}
	synctest.Test(t, func(*testing.T) {
		d := progress.NewBar(w, eighty())
		story(d)
		time.Sleep(time.Second)
		d.Close()
	})
	for _, m := range percentage.FindAllStringSubmatch(w.b.String(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, n)
	}
	return shown, w.b.String()
}

func TestPercentageOnlyGrowsAndWaitsForDone(t *testing.T) {
	phase := func(p progress.Phase, total int64, step int64) func(progress.Sink) {
		return func(s progress.Sink) {
			s.Emit(progress.Event{Kind: progress.Begin, Phase: p, Total: total})
			for done := int64(0); done < total+3*step; done += step { // more than there should be
				s.Emit(progress.Event{Kind: progress.Advance, Phase: p, Done: done})
				time.Sleep(time.Second)
			}
			time.Sleep(time.Second)
			s.Emit(progress.Event{Kind: progress.End, Phase: p})
			time.Sleep(time.Second)
		}
	}
	for name, story := range map[string]struct {
		parts []func(progress.Sink)
		last  int // percentage at the end, without Done
	}{
		"all":           {[]func(progress.Sink){phase("verify source", 100, 30), phase("download", 100, 10), phase("sync", 0, 1), phase("read back", 100, 50), phase("boot flags", 0, 1)}, 99},
		"stream":        {[]func(progress.Sink){phase("download", 100, 10), phase("sync", 0, 1), phase("scripts", 0, 1)}, 99},
		"module":        {[]func(progress.Sink){phase("scripts", 0, 1), phase("download", 1000, 333), phase("scripts", 0, 1)}, 99},
		"two payloads":  {[]func(progress.Sink){phase("download", 100, 10), phase("download", 300, 10), phase("sync", 0, 1), phase("boot flags", 0, 1)}, 99},
		"download only": {[]func(progress.Sink){phase("download", 100, 10)}, 83},
		"verify":        {[]func(progress.Sink){phase("verify", 100, 10)}, 99},
		"half of it": {[]func(progress.Sink){func(s progress.Sink) {
			s.Emit(progress.Event{Kind: progress.Advance, Phase: "verify", Done: 50, Total: 100})
		}}, 50},
		"size unknown": {[]func(progress.Sink){phase("download", 0, 10), phase("sync", 0, 1)}, 83},
		"without a Begin": {[]func(progress.Sink){func(s progress.Sink) {
			s.Emit(progress.Event{Kind: progress.Advance, Phase: "download", Done: 50, Total: 100})
		}}, 41},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(s progress.Sink) {
				for _, part := range story.parts {
					part(s)
				}
			}
			shown, out := percentages(t, run)
			for i, n := range shown {
				if n > 99 || i > 0 && n < shown[i-1] {
					t.Fatalf("percentages %v; want them to grow up to 99", shown)
				}
			}
			if len(shown) == 0 || shown[len(shown)-1] != story.last {
				t.Errorf("percentages %v; want the last to be %d, in\n%q", shown, story.last, out)
			}
		})
	}
}

func TestNoPercentageWithoutAnythingToMeasure(t *testing.T) {
	shown, out := percentages(t, func(s progress.Sink) {
		s.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Scripts})
		time.Sleep(75 * time.Second) // and one more in percentages
	})
	if len(shown) > 0 || !strings.HasSuffix(out, "\rscripts  1:16\n") {
		t.Errorf("wrote %q; want no percentage, and the time since the scripts began", out)
	}
}

// stuck is a terminal that takes nothing until it is released.
type stuck struct{ release chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.release; return len(p), nil }

func TestStuckTerminalDelaysNobody(t *testing.T) {
	for name, open := range map[string]func(io.Writer) *progress.Display{
		"bar":   func(w io.Writer) *progress.Display { return progress.NewBar(w, eighty()) },
		"plain": progress.NewPlain,
		"quiet": progress.NewQuiet,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := stuck{make(chan struct{})}
				d := open(w)
				start := time.Now()
				for i := range int64(100000) {
					d.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: i, Total: 100000})
					d.Emit(progress.Event{Kind: progress.Note, Text: "a note"})
				}
				synctest.Wait() // the painter is stuck now, if it ever is
				if took := time.Since(start); took != 0 {
					t.Errorf("emitting took %s; want no waiting", took)
				}
				d.Close()
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("closing took %s", took)
				}
				close(w.release)
			})
		})
	}
}

// slow takes a piece in a second, forever making progress.
type slow struct{ b *bytes.Buffer }

func (s slow) Write(p []byte) (int, error) { time.Sleep(time.Second); return s.b.Write(p) }

func TestCloseWaitsForASlowTerminalAndTellsWhatWasLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		d := progress.NewPlain(slow{&b})
		for i := range 5000 {
			d.Emit(progress.Event{Kind: progress.Note, Text: fmt.Sprint("note ", i)})
		}
		d.Close()
		out := b.String()
		if !strings.HasSuffix(out, "flipside: note 4999\n") || !strings.Contains(out, "lines left out)\n") {
			t.Errorf("ends with %q; want the last note, and how many lines are missing", out[max(0, len(out)-200):])
		}
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBrokenWriterIsIgnored(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		d := progress.NewBar(broken{}, eighty())
		install(d)
		d.Close()
		d.Close()
		d.Emit(done)
	})
}

func TestEmitFromManyGoroutines(t *testing.T) {
	var b bytes.Buffer
	d := progress.NewBar(&b, eighty())
	plain := progress.NewPlain(io.Discard)
	sink := progress.Tee(d, plain, progress.Discard)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range int64(500) {
				sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Phase(fmt.Sprint("phase", g)), Total: 500})
				sink.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: i, Total: 500})
				sink.Emit(progress.Event{Kind: progress.Output, From: "script", Text: "line"})
				sink.Emit(progress.Event{Kind: progress.End, Phase: progress.Phase(fmt.Sprint("phase", g))})
			}
		})
	}
	wg.Wait()
	sink.Emit(done)
	d.Close()
	plain.Close()
	if !strings.Contains(b.String(), "done: 48.0 MiB written") {
		t.Errorf("ends with %q; want the summary", b.String()[max(0, b.Len()-100):])
	}
}
