package command

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/eventlog"
	"flipside/internal/progress"
	"flipside/internal/report"
)

// printLog needs no device that can be opened: it may tell why that is so.
func (f *flipside) printLog(c *cli.Context) error {
	o, err := f.deviceOptions(c)
	if err != nil {
		return err
	}
	stateDir := device.Dissect(o).StateDir
	runs, err := eventlog.Read(eventlog.Dir(stateDir))
	if err != nil {
		return err
	}
	all := !c.Bool("last") && !c.Args().Present()
	if !all {
		if runs, err = pick(c, runs); err != nil {
			return err
		}
	}
	var b strings.Builder
	for _, r := range runs {
		switch {
		case f.json:
			for _, l := range r.Lines {
				b.Write(append(l.Raw, '\n'))
			}
		case all:
			b.WriteString(inShort(r, deployment.Working(stateDir)))
		default:
			b.WriteString(inFull(r))
		}
	}
	if len(runs) == 0 && !f.json {
		b.WriteString("nothing was recorded yet\n")
	}
	f.given = true
	_, err = io.WriteString(os.Stdout, b.String())
	return err
}

// pick leaves the run that was asked for, or none if there was none yet.
func pick(c *cli.Context, runs []eventlog.Run) ([]eventlog.Run, error) {
	if c.NArg() > 1 || c.Bool("last") && c.Args().Present() {
		return nil, usage("log takes the number of one run, or --last")
	}
	if c.Bool("last") {
		return runs[max(len(runs)-1, 0):], nil
	}
	n, err := strconv.Atoi(c.Args().First())
	for _, r := range runs {
		if err == nil && r.Number == n {
			return []eventlog.Run{r}, nil
		}
	}
	return nil, usage("there is no run %s: `flipside log` lists them", c.Args().First())
}

// inShort is a line of the list.
func inShort(r eventlog.Run, at *deployment.Holder) string {
	first, last := r.Lines[0].Time, r.Lines[len(r.Lines)-1].Time
	what := "?"
	if h := r.Head(); h != nil {
		what = harmless(strings.TrimSpace(h.Command + " " + h.Source))
	}
	return fmt.Sprintf("%4d  %s  %s: %s\n", r.Number, first.Local().Format(time.DateTime), what, howItEnded(r, at, last.Sub(first)))
}

func howItEnded(r eventlog.Run, at *deployment.Holder, took time.Duration) string {
	after := " after " + max(took, 0).Round(time.Second).String()
	switch end, h := endOf(r), r.Head(); {
	case end == nil && h != nil && at != nil && at.PID == h.PID:
		return fmt.Sprintf("at work, process %d", h.PID)
	case end == nil:
		return "cut short" + after + " or later: it was killed, or the power went"
	case end.Cause != "":
		return harmless(fmt.Sprintf("exit code %d%s: %s", end.Code, after, oneLine(end.Cause)))
	case end.Artifact != "" && len(end.Text) > 0:
		return harmless(fmt.Sprintf("done%s: %s: %s", after, end.Artifact, end.Text[0]))
	}
	return "done" + after
}

// inFull is every line of a run, with its time; progress itself is left out.
func inFull(r eventlog.Run) string {
	var b strings.Builder
	for _, l := range r.Lines {
		for _, text := range wordsIn(l) {
			fmt.Fprintf(&b, "%s  %s\n", l.Time.Local().Format(time.DateTime), text)
		}
	}
	if _, ended := r.Result(); !ended {
		b.WriteString("(here it ends: the run goes on, was killed, or the power went)\n")
	}
	return b.String()
}

func wordsIn(l eventlog.Line) []string {
	switch {
	case l.Head != nil:
		text := fmt.Sprintf("%s, process %d", strings.TrimSpace(l.Head.Command+" "+l.Head.Source), l.Head.PID)
		if l.Head.TTY != "" {
			text += " on " + l.Head.TTY
		}
		return []string{harmless(text + ", " + l.Head.Program)}
	case l.IsResult():
		var lines []string
		end := readResult(l)
		for _, line := range end.Words() {
			lines = append(lines, harmless(line))
		}
		return append(lines, fmt.Sprintf("exit code %d", end.Code))
	}
	return progress.Words(l.Event)
}

// endOf is how the run ended; nil if it did not, or nobody knows.
func endOf(r eventlog.Run) *report.Result {
	if l, ended := r.Result(); ended {
		return readResult(l)
	}
	return nil
}

// readResult reads a line of ours. What is not as we write it tells nothing.
func readResult(l eventlog.Line) *report.Result {
	r, err := report.ParseResult(l.Raw)
	if err != nil {
		return &report.Result{Report: report.Report{Code: report.Failed, Cause: "its result cannot be read"}}
	}
	return &r
}

// oneLine joins lines, also those within a text.
func oneLine(lines ...string) string {
	return strings.ReplaceAll(strings.Join(lines, " "), "\n", "; ")
}
