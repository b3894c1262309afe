package command

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"flipside/internal/device"
	"flipside/internal/progress"
	"flipside/internal/report"
)

// sink is where events go: to the terminal, and to the log file if there is one.
func (f *flipside) sink(c *cli.Context) (progress.Sink, error) {
	mode, err := progress.ParseMode(c.String("progress"))
	if err != nil {
		return nil, usage("%w", err)
	}
	level, err := progress.ParseLevel(c.String("log-level"))
	if err != nil {
		return nil, usage("%w", err)
	}
	var sinks []progress.Sink
	if mode != progress.JSON { // that one is open already
		f.displays = append(f.displays, progress.New(os.Stderr, mode))
		sinks = append(sinks, f.displays[0])
	}
	if name := c.String("log-file"); name != "" {
		file, err := os.Create(name) // as Mender's client: one file a run
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		f.log = file
		d := progress.New(file, progress.Plain)
		f.displays, sinks = append(f.displays, d), append(sinks, d)
	}
	sinks = []progress.Sink{progress.AtLevel(progress.Tee(sinks...), level), &f.tally}
	f.watch = progress.Tee(append(sinks, f.events...)...)
	return f.watch, nil
}

// closeSink ends the display, so that what is printed next stands on a line of its own.
func (f *flipside) closeSink() {
	for _, d := range f.displays {
		d.Close()
	}
	f.displays = nil
}

// say writes one line for people; results go to standard output, everything else here.
func (f *flipside) say(format string, args ...any) {
	line := fmt.Sprintf("flipside: "+format+"\n", args...)
	if !f.quiet {
		fmt.Fprint(os.Stderr, line)
	}
	if f.log != nil {
		fmt.Fprint(f.log, line)
	}
}

// end says how the run ended, to programs first: a terminal may be stuck. It returns the exit code.
func (f *flipside) end(err error) int {
	f.closeSink()
	r := f.report(err)
	f.conclude(r)
	for _, step := range f.next {
		f.say("next: %s", step)
	}
	if r.Cause != "" {
		for _, line := range r.Lines() {
			f.say("%s", line)
		}
	}
	return r.Code
}

// report says what err means.
func (f *flipside) report(err error) report.Report {
	good := report.Good(f.result)
	switch {
	case err == nil:
		return good
	case errors.Is(err, errReboot):
		good.Code = report.RebootRequired
		return good
	case errors.Is(err, errUnhealthy):
		good.Code = report.Failed
		return good
	}
	if ended := (told{}); errors.As(err, &ended) {
		return ended.Report
	}
	if wrong := (usageError{}); errors.As(err, &wrong) {
		return report.Wrong(wrong)
	}
	running := ""
	switch {
	case f.device != nil:
		running = f.device.ArtifactName()
	case f.opening:
		running = device.UnknownName
	}
	return report.Of(err, f.result, running)
}
