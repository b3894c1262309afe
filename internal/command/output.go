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
	f.displays = append(f.displays, progress.New(os.Stderr, mode))
	sink := progress.Sink(f.displays[0])
	if name := c.String("log-file"); name != "" {
		file, err := os.Create(name) // as Mender's client: one file a run
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		f.log = file
		f.displays = append(f.displays, progress.New(file, progress.Plain))
		sink = progress.Tee(sink, f.displays[1])
	}
	f.watch = progress.AtLevel(sink, level)
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
	fmt.Fprint(os.Stderr, line)
	if f.log != nil {
		fmt.Fprint(f.log, line)
	}
}

// fail says what err means, and returns the exit code.
func (f *flipside) fail(err error) int {
	f.closeSink()
	switch {
	case errors.Is(err, errReboot):
		return report.RebootRequired
	case errors.Is(err, errUnhealthy):
		return report.Failed
	}
	if ended := (told{}); errors.As(err, &ended) {
		return ended.code
	}
	if wrong := (usageError{}); errors.As(err, &wrong) {
		f.say("error: %v", wrong)
		f.say("hint: `flipside --help` lists commands and options")
		return report.Failed
	}
	running := ""
	switch {
	case f.device != nil:
		running = f.device.ArtifactName()
	case f.opening:
		running = device.UnknownName
	}
	r := report.Of(err, f.result, running)
	for _, line := range r.Lines() {
		f.say("%s", line)
	}
	return r.Code
}
