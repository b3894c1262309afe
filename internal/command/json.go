package command

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"flipside/internal/cmdline"
	"flipside/internal/progress"
	"flipside/internal/report"
	"flipside/internal/source"
)

// answer is how this run answers to programs: lines of JSON, each stream of which ends with the
// result. See docs/json.md.
type answer struct {
	command string
	json    bool // results are for programs, on standard output
	quiet   bool // standard error is for programs too
	given   bool // a document was printed, which is the answer

	result  *progress.Display // standard output, if json
	events  []progress.Sink   // streams that get the events
	streams []*progress.Display
	tally   progress.Tally
	began   time.Time

	text []string // for people, instead of printing it
	next []string // what to do now
	more func(*report.Result)
}

// noJSON are the commands whose answer is a text.
var noJSON = map[string]bool{"demo": true, "completion": true, "man": true}

// documents are the commands that answer with one document: events would be in its way.
var documents = map[string]bool{"status": true, "doctor": true, "inspect": true, "log": true}

// open finds out how to answer. It must work with command lines that the library refuses.
func (a *answer) open(seen cmdline.Seen) error {
	a.command, a.began = source.Redact(seen.Command), time.Now() // it may be an address that stands where a command should
	for _, help := range []string{"help", "h", "version", "v"} {
		if _, ok := seen.Options[help]; ok {
			return nil
		}
	}
	a.json, _ = strconv.ParseBool(seen.Options["json"]) // the library says what is wrong with it
	if a.json {
		a.result = a.stream(os.Stdout)
	}
	if seen.Options["progress"] == string(progress.JSON) {
		a.quiet = true
		a.events = append(a.events, a.stream(os.Stderr))
	}
	if n, ok := seen.Options["progress-fd"]; ok {
		f, err := inherited(n)
		if err != nil {
			return usage("--progress-fd %s: %w", n, err)
		}
		a.events = append(a.events, a.stream(f))
	} else if a.json && !documents[seen.Command] {
		a.events = append(a.events, a.result)
	}
	if a.json && noJSON[seen.Command] {
		return usage("%s is for people: it cannot answer with JSON", seen.Command)
	}
	return nil
}

func (a *answer) stream(f *os.File) *progress.Display {
	d := progress.NewStream(f)
	a.streams = append(a.streams, d)
	return d
}

// inherited is the open file that the caller gave us under a number. Those that the Go runtime
// opens for itself are closed on exec, which an inherited one cannot have been.
func inherited(number string) (*os.File, error) {
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%q is not the number of an open file", number)
	}
	flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil, fmt.Errorf("no file is open under this number: in a shell, say %d>FILE", n)
	}
	mode, err := unix.FcntlInt(uintptr(n), unix.F_GETFL, 0)
	if err != nil || mode&unix.O_ACCMODE == unix.O_RDONLY {
		return nil, fmt.Errorf("the file is not open for writing")
	}
	switch n {
	case 1:
		return os.Stdout, nil
	case 2:
		return os.Stderr, nil
	}
	unix.CloseOnExec(int(n)) // scripts and modules have no business with it, and must not hold it open
	return os.NewFile(uintptr(n), "--progress-fd "+number), nil
}

// conclude ends all streams with the result. A reader that takes nothing for two seconds does not
// get it.
func (f *flipside) conclude(r report.Report) {
	a := &f.answer
	line := f.resultOf(r).Line(time.Now())
	for _, d := range a.streams {
		if !a.given || d != a.result {
			d.Print(line)
		}
		d.Close()
	}
	a.streams, a.events = nil, nil
}

// resultOf is r with all that is known of the run.
func (f *flipside) resultOf(r report.Report) report.Result {
	a := &f.answer
	result := report.Result{
		Command: a.command, Report: r, Bytes: a.tally.Totals(), ElapsedMS: time.Since(a.began).Milliseconds(),
		Text: a.text, Next: a.next,
	}
	if f.result != nil {
		result.Artifact, result.InProgress = f.result.Artifact, f.result.Kept
	}
	if f.device != nil {
		result.DeviceArtifact = f.device.ArtifactName()
		result.Bytes.In = max(result.Bytes.In, f.device.Taken())
	}
	if a.more != nil {
		a.more(&result)
	}
	return result
}

// print writes a line of the result for people, to standard output.
func (f *flipside) print(line string) {
	if f.json {
		f.text = append(f.text, line)
		return
	}
	fmt.Println(line)
}

// document prints the one JSON document that answers a question, instead of a result.
func (f *flipside) document(v any) error {
	f.given = true
	return printJSON(v)
}
