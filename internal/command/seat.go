package command

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/urfave/cli/v2"

	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/progress"
	"flipside/internal/report"
)

// seat are the commands of an operator who was away, or is elsewhere.
func (f *flipside) seat() []*cli.Command {
	return []*cli.Command{
		{Name: "cancel", Usage: "end the install that another flipside is at, in good order", Action: f.cancel},
		{
			Name: "log", ArgsUsage: "[NUMBER]", Usage: "list the last runs that changed the device, or print one of them", Action: f.printLog,
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "last", Usage: "print all of the last one"},
				&cli.BoolFlag{Name: "json", Usage: "print the events as they were kept, one JSON object on a line"},
			},
		},
	}
}

func followFlag() cli.Flag {
	return &cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "show the progress of the flipside that is at work, until it ends"}
}

// told is an end that is not about the device's state.
type told struct{ report.Report }

func (t told) Error() string { return t.Cause }

// tell is the end of a command that is not about the device's state, in the usual lines.
func (f *flipside) tell(code int, hint, format string, args ...any) error {
	return told{report.Report{Code: code, Cause: fmt.Sprintf(format, args...), Hint: hint, DeviceState: deployment.DeviceUnchanged}}
}

func (f *flipside) nobodyWorks() error {
	return f.tell(report.NoDeployment, "`flipside log --last` tells how the last run ended, `flipside status` where the device stands", "no flipside is at work")
}

// cancel ends the run of another process, and tells what it left. It is done (0) if that run has
// ended without having installed or committed anything.
func (f *flipside) cancel(c *cli.Context) error {
	d, err := f.openAlone(c)
	if err != nil {
		return err
	}
	h := d.Working()
	if h == nil {
		return f.nobodyWorks()
	}
	if why := tooLate(d); why != "" {
		return f.tell(report.Busy, "wait until process "+strconv.Itoa(h.PID)+" has ended; `flipside status --follow` shows it", "%s", why)
	}
	if err := interrupt(d, h); err != nil {
		return f.tell(report.Failed, "if it is in another container, run `flipside cancel` there", "%v", err)
	}
	d.Note("asked %v to end", h)
	end, err := f.await(c.Context, d, h)
	if err != nil {
		return f.tell(report.Interrupted, "`flipside status --follow` shows it", "process %d was asked to end, and is not waited for any longer", h.PID)
	}
	return f.cancelled(h, end)
}

// interrupt sends the signal to whoever holds the lock, and to nobody else.
func interrupt(d *device.Device, h *deployment.Holder) error {
	p, err := h.Process(d.StateDir(), "/proc")
	if errors.Is(err, deployment.ErrStranger) && deployment.Working(d.StateDir()) == nil {
		return nil // it has just ended
	}
	if err != nil {
		return err
	}
	defer p.Release()
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("process %d: %w", h.PID, err)
	}
	return nil
}

// tooLate says why the deployment in progress cannot be cancelled any more; "" if it can.
func tooLate(d *device.Device) string {
	switch state := d.State(); state {
	case deployment.Confirmed, deployment.Committed:
		return "too late to cancel: the commit took effect"
	case deployment.RollingBack, deployment.Failing:
		return "the update is being taken back already: that cannot be cancelled"
	case deployment.Cleaning:
		return "the update is about to end: that cannot be cancelled"
	}
	return ""
}

// cancelled says what became of the wish.
func (f *flipside) cancelled(h *deployment.Holder, end *report.Result) error {
	f.closeSink()
	const ask = "`flipside status` tells where the device stands and what to do now"
	switch {
	case end == nil:
		return f.tell(report.Failed, ask, "process %d has ended, and did not say how", h.PID)
	case end.Code == report.Done || end.Code == report.RebootRequired:
		return f.tell(report.Failed, ask, "too late to cancel: process %d has done its work", h.PID)
	case end.Code == report.Inconsistent:
		f.say("%s", end.Device)
		return told{report.Report{Code: end.Code, Cause: end.Cause, Hint: end.Hint, DeviceState: end.DeviceState}}
	}
	f.print("Cancelled.")
	if end.Code != report.Interrupted {
		f.say("process %d has ended by itself: %s", h.PID, oneLine(end.Cause))
	}
	f.say("%s", end.Device)
	return nil
}

// follow shows the run of another process until it ends.
func (f *flipside) follow(c *cli.Context, d *device.Device) error {
	h := d.Working()
	if h == nil {
		return f.nobodyWorks()
	}
	if !f.json {
		d.Note("%v", h)
	}
	end, err := f.await(c.Context, d, h)
	if err != nil {
		return f.tell(report.Interrupted, "`flipside status --follow` shows it again", "process %d is not watched any longer; it goes on", h.PID)
	}
	f.closeSink()
	if end == nil {
		return f.tell(report.Failed, "`flipside status` tells where the device stands and what to do now",
			"process %d has ended, and did not say how: it was killed, or its log could not be written", h.PID)
	}
	if f.json {
		f.given = true // the other run's result
		return nil
	}
	for _, line := range end.Words() {
		fmt.Println(harmless(line))
	}
	f.say("process %d has ended with exit code %d", h.PID, end.Code)
	return nil
}

// harmless is a text of a file without what a terminal would obey.
func harmless(text string) string {
	return oneLine(progress.Words(progress.Event{Kind: progress.Note, Text: text})...)
}
