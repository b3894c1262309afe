package eventlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/disk"
	"flipside/internal/disk/faultdisk"
	"flipside/internal/eventlog"
	"flipside/internal/progress"
)

var head = eventlog.Head{Command: "install", Source: "next.mender", Program: "flipside 1", PID: 42, TTY: "/dev/pts/1"}

func output(format string, args ...any) progress.Event {
	return progress.Event{Kind: progress.Output, From: "module", Text: fmt.Sprintf(format, args...)}
}

func begin(p progress.Phase, total int64) progress.Event {
	return progress.Event{Kind: progress.Begin, Phase: p, Total: total}
}

// logDir is a directory for a log, in a state directory.
func logDir(t *testing.T) string { return filepath.Join(faultdisk.TempDir(t), "log") }

// run writes a log of a whole run. Time is that of the bubble that it is called in.
func run(fsys disk.FS, dir string, result string, events ...progress.Event) {
	l := eventlog.New(eventlog.Options{FS: fsys})
	l.Begin(dir, head)
	for _, ev := range events {
		l.Emit(ev)
	}
	l.End(result)
}

// ended is a line that tells how a run ended.
func ended(code int) string {
	return fmt.Sprintf(`{"v":1,"time":"2026-11-21T04:00:00Z","event":"result","code":%d}`, code)
}

func read(t *testing.T, dir string) []eventlog.Run {
	t.Helper()
	runs, err := eventlog.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// texts are what a run's lines say, in short.
func texts(r eventlog.Run) string {
	var all []string
	for _, l := range r.Lines {
		text := string(l.Kind)
		if l.Text != "" {
			text += " " + l.Text
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestLog(t *testing.T) {
	dir := logDir(t)
	l := eventlog.New(eventlog.Options{FS: disk.OS{}})
	l.Emit(progress.Event{Kind: progress.Warning, Text: "early"})
	start := time.Now()
	l.Begin(dir, head)
	l.Emit(begin(progress.Download, 100))
	l.Begin(dir, head) // it takes the lock once more
	l.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: 40, Total: 100})
	l.End(ended(8))
	l.Emit(output("too late"))
	l.End(ended(0))

	runs := read(t, dir)
	if len(runs) != 1 {
		t.Fatalf("%d runs; want 1", len(runs))
	}
	r := runs[0]
	if got, want := texts(r), "run, warning early, begin, advance, result"; got != want {
		t.Errorf("lines: %s; want %s", got, want)
	}
	if h := r.Head(); h == nil || *h != head {
		t.Errorf("head is %+v; want %+v", h, head)
	}
	if end, ok := r.Result(); !ok || string(end.Raw) != ended(8) {
		t.Errorf("result is %s, %v; want that of End", end.Raw, ok)
	}
	if at := r.Position(); at.Phase != progress.Download || at.Percent < 1 {
		t.Errorf("position is %+v; want the middle of the download", at)
	}
	if _, ok := eventlog.Of(dir, 42, start); !ok {
		t.Error("the run of process 42 is not found")
	}
	for pid, since := range map[int]time.Time{43: start, 42: time.Now()} {
		if r, ok := eventlog.Of(dir, pid, since); ok {
			t.Errorf("Of(%d, %v) = run %d; want none", pid, since, r.Number)
		}
	}
}

func TestForgottenRunsLeaveNothing(t *testing.T) {
	dir := logDir(t)
	synctest.Test(t, func(t *testing.T) {
		l := eventlog.New(eventlog.Options{FS: disk.OS{}})
		l.Begin(dir, head)
		l.Forget()
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a run that was forgotten at once: %v; want no directory", err)
		}
		l = eventlog.New(eventlog.Options{FS: disk.OS{}})
		l.Begin(dir, head)
		time.Sleep(time.Minute)
		if n := len(read(t, dir)); n != 1 {
			t.Errorf("%d runs after a minute; want 1", n)
		}
		l.Forget()
	})
	if n := len(read(t, dir)); n != 0 {
		t.Errorf("%d runs; want none", n)
	}
	// One that never began: nobody waits for it.
	l := eventlog.New(eventlog.Options{FS: disk.OS{}})
	l.Emit(output("x"))
	l.End(ended(0))
}

func TestBounds(t *testing.T) {
	dir := logDir(t)
	synctest.Test(t, func(t *testing.T) {
		for i := range eventlog.Keep + 3 {
			l := eventlog.New(eventlog.Options{FS: disk.OS{}})
			l.Begin(dir, head)
			const lines = 3000
			for n := range lines {
				l.Emit(output("%d %s", n, strings.Repeat("\x01<&", n%200)))
				if n%10 == 0 {
					l.Emit(begin(progress.Scripts, 0))
					time.Sleep(time.Millisecond)
				}
			}
			line := ended(i)
			l.End(line + strings.Repeat(" ", eventlog.MaxResult-len(line)))
		}
	})
	runs := read(t, dir)
	if len(runs) != eventlog.Keep || runs[0].Number != 4 {
		t.Fatalf("%d runs from number %d; want the last %d", len(runs), runs[0].Number, eventlog.Keep)
	}
	for _, r := range runs {
		info, err := os.Stat(filepath.Join(dir, fmt.Sprintf("%08d.jsonl", r.Number)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > eventlog.MaxFile {
			t.Errorf("run %d has %d bytes; want at most %d", r.Number, info.Size(), eventlog.MaxFile)
		}
		if end, ok := r.Result(); !ok || !bytes.HasPrefix(end.Raw, []byte(ended(r.Number-1))) {
			t.Fatalf("run %d ends with %.100s, %v; want its result", r.Number, end.Raw, ok)
		}
		// The end of what programs print says more than the middle.
		last, note := r.Lines[len(r.Lines)-2].Text, 0
		for _, l := range r.Lines {
			if n, _ := strconv.Atoi(strings.Fields(l.Text + " x")[0]); l.Kind == progress.LeftOut && n > 1000 {
				note++
			}
		}
		if !strings.HasPrefix(last, "2999 ") || note != 1 {
			t.Errorf("run %d: %d notes of lines left out, last line of output %.20q; want 1, and the last one", r.Number, note, last)
		}
	}
}

// TestFewWrites: hours of progress, ten times a second, are some hundred writes, and syncs that can be
// counted with one hand.
func TestFewWrites(t *testing.T) {
	parent := faultdisk.TempDir(t)
	dir := filepath.Join(parent, "log")
	d, err := faultdisk.New(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const hours = 3
	synctest.Test(t, func(t *testing.T) {
		l := eventlog.New(eventlog.Options{FS: d})
		l.Begin(dir, head)
		l.Emit(begin(progress.Download, hours*3600*10))
		for i := range int64(hours * 3600 * 10) {
			l.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: i})
			time.Sleep(100 * time.Millisecond)
		}
		l.End(ended(0))
	})
	kinds := map[faultdisk.Kind]int{}
	for _, op := range d.Ops() {
		kinds[op.Kind]++
	}
	if kinds[faultdisk.Write] < 300 || kinds[faultdisk.Write] > 1200 || kinds[faultdisk.Sync] > 3 {
		t.Errorf("%d writes and %d syncs in %d hours; want 300 to 1200, and 3", kinds[faultdisk.Write], kinds[faultdisk.Sync], hours)
	}
}

// TestLastProgressIsKept: a transfer that stands still shows how far it came.
func TestLastProgressIsKept(t *testing.T) {
	dir := logDir(t)
	synctest.Test(t, func(t *testing.T) {
		l := eventlog.New(eventlog.Options{FS: disk.OS{}})
		l.Begin(dir, head)
		l.Emit(begin(progress.Download, 100))
		for i := range int64(50) {
			l.Emit(progress.Event{Kind: progress.Advance, Phase: progress.Download, Done: i + 1, Total: 100})
		}
		time.Sleep(5 * time.Second)
		runs := read(t, dir)
		if lines := runs[0].Lines; lines[len(lines)-1].Done != 50 {
			t.Errorf("the last line is %s; want 50 of 100", lines[len(lines)-1].Raw)
		}
		l.End(ended(0))
	})
}

// TestPowerCuts: wherever the power goes, what is left can be read, and the runs before are there.
func TestPowerCuts(t *testing.T) {
	story := func(fsys disk.FS, dir string) {
		run(fsys, dir, ended(1), begin(progress.Download, 10), output("one"), output("two"))
	}
	for cut := 1; ; cut++ {
		for _, seed := range []uint64{faultdisk.LoseAll, faultdisk.KeepAll, uint64(cut)} {
			parent := faultdisk.TempDir(t)
			dir := filepath.Join(parent, "log")
			for range eventlog.Keep {
				story(disk.OS{}, dir)
			}
			d, err := faultdisk.New(parent)
			if err != nil {
				t.Fatal(err)
			}
			d.Cut(cut, nil)
			story(d, dir)
			over := !d.Off()
			if _, err := d.Settle(seed); err != nil {
				t.Fatal(err)
			}
			runs := read(t, dir)
			if len(runs) < eventlog.Keep-1 || len(runs) > eventlog.Keep {
				t.Fatalf("cut %d, seed %d: %d runs", cut, seed, len(runs))
			}
			for _, r := range runs[:eventlog.Keep-1] {
				if got, want := texts(r), "run, begin, output one, output two, result"; got != want {
					t.Fatalf("cut %d, seed %d, run %d: %s; want %s", cut, seed, r.Number, got, want)
				}
			}
			story(disk.OS{}, dir)
			runs = read(t, dir)
			if _, ok := runs[len(runs)-1].Result(); !ok {
				t.Fatalf("cut %d, seed %d: the next run has no result", cut, seed)
			}
			if over {
				if cut < 5 {
					t.Fatalf("only %d cuts", cut)
				}
				return
			}
		}
	}
}

// TestFaults: what fails, fails quietly, and in no time.
func TestFaults(t *testing.T) {
	for _, errno := range []error{syscall.EROFS, syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
		for n := 1; n < 12; n++ {
			parent := faultdisk.TempDir(t)
			d, err := faultdisk.New(parent)
			if err != nil {
				t.Fatal(err)
			}
			d.FailFrom(n, errno)
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				run(d, filepath.Join(parent, "log"), ended(0), output("x"))
				if took := time.Since(start); took > 0 {
					t.Errorf("%v from operation %d on: took %s", errno, n, took)
				}
				l := eventlog.New(eventlog.Options{FS: d})
				l.Begin(filepath.Join(parent, "log"), head)
				for range 100 {
					l.Emit(output("x"))
					time.Sleep(time.Second)
				}
				l.End(ended(0))
			})
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestItGivesWay: where the medium is nearly full, older runs go first, and then the log waits.
func TestItGivesWay(t *testing.T) {
	dir := logDir(t)
	synctest.Test(t, func(t *testing.T) {
		for range 5 {
			run(disk.OS{}, dir, ended(0))
		}
		var space atomic.Int64
		space.Store(100 << 20)
		l := eventlog.New(eventlog.Options{FS: disk.OS{}, Free: func(string) (int64, error) {
			return space.Load() - int64(len(read(t, dir))), nil
		}})
		l.Begin(dir, head)
		l.Emit(output("with room"))
		time.Sleep(2 * time.Second)
		space.Store(1 << 20) // less the runs
		l.Emit(output("without"))
		time.Sleep(2 * time.Second)
		runs := read(t, dir)
		if len(runs) != 1 || texts(runs[0]) != "run, output with room" {
			t.Errorf("%d runs on a full medium, the last: %s; want one, which waits", len(runs), texts(runs[len(runs)-1]))
		}
		space.Store(2 << 20)
		time.Sleep(2 * time.Second)
		if r := read(t, dir)[0]; texts(r) != "run, output with room, output without" {
			t.Errorf("when there is room again: %s; want all", texts(r))
		}
		l.End(ended(0))
	})
	run(disk.OS{}, dir, ended(0))
	if !eventlog.GiveWay(disk.OS{}, dir) || len(read(t, dir)) != 1 || eventlog.GiveWay(disk.OS{}, dir) {
		t.Errorf("GiveWay leaves %d runs; want the newest one, and then nothing to remove", len(read(t, dir)))
	}
}

// TestStuckMedium: a medium that takes nothing holds up nobody.
func TestStuckMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := eventlog.New(eventlog.Options{FS: stuck{release: release}})
		start := time.Now()
		l.Begin("nowhere", head)
		time.Sleep(time.Second)
		for i := range 100000 {
			l.Emit(output("%d", i))
			l.Emit(begin(progress.Scripts, 0))
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("emitting took %s; want no waiting", took-time.Second)
		}
		l.End(ended(0))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("ending took %s", took)
		}
		close(release)
	})
}

// stuck is a file system whose first operation does not return until it is released.
type stuck struct {
	disk.OS
	release chan struct{}
}

func (s stuck) Mkdir(string, fs.FileMode) error { <-s.release; return syscall.EIO }

func TestReadSkipsWhatIsNoLine(t *testing.T) {
	dir := t.TempDir()
	text := strings.Join([]string{
		`{"v":1,"time":"2026-11-21T04:00:00Z","event":"run","command":"install","pid":1}`,
		"\x00\x00\x00\x00", `{"v":1,"ti`, "[]", "null", `{"v":0,"event":"note"}`, `{"v":1}`, "",
		`{"v":1,"time":"2026-11-21T04:00:01Z","event":"of the future","text":"x"}`,
		`{"v":1,"time":"2026-11-21T04:00:02Z","event":"note","text":"torn`,
	}, "\n")
	for name, data := range map[string]string{"00000007.jsonl": text, "7.jsonl": text, "x.jsonl": text, "00000008.jsonl": "", "00000009.jsonl.new": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runs := read(t, dir)
	if len(runs) != 1 || runs[0].Number != 7 || texts(runs[0]) != "run, of the future x" {
		t.Errorf("%d runs; want one of two lines: %v", len(runs), runs)
	}
	if n := len(read(t, filepath.Join(dir, "nowhere"))); n != 0 {
		t.Errorf("%d runs where there is no directory", n)
	}
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "00000001.jsonl")
	add := func(text string) {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	add(`{"v":1,"event":"note","text":"one"}` + "\n" + `{"v":1,"event":"no`)
	tail := read(t, dir)[0].Tail(dir)
	for _, want := range []string{"one", "", "two three", ""} {
		lines, err := tail.Next()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range lines {
			got = append(got, l.Text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("Next: %q; want %q", got, want)
		}
		if want == "" && len(lines) == 0 {
			add(`te","text":"two"}` + "\n" + `{"v":1,"event":"note","text":"three"}` + "\n")
		}
	}
}
