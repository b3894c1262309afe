package command

import (
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/eventlog"
	"flipside/internal/progress"
	"flipside/internal/report"
	"flipside/internal/source"
)

// openToWork opens the device for a command that changes it, and keeps the events of the run from
// the moment on at which it holds the lock: so each log has one writer, and a run that was refused
// because of another one leaves no trace. uri is what it installs, or "". A dry run only looks.
func (f *flipside) openToWork(c *cli.Context, uri string) (*device.Device, error) {
	if c.Bool("dry-run") {
		return f.open(c)
	}
	f.working.Store(true)
	return f.openWith(c, func(o *device.Options) {
		f.recorder = eventlog.New(eventlog.Options{FS: o.FS})
		o.Sink = progress.Tee(o.Sink, f.recorder)
		f.watch = o.Sink // the source tells of its troubles there
		o.Locked = func() {
			f.recorder.Begin(f.device.LogDir(), eventlog.Head{
				Command: c.Command.Name,
				Source:  source.Redact(uri),
				Program: "flipside " + f.Version,
				PID:     os.Getpid(),
				TTY:     deployment.Terminal(),
			})
		}
		f.interruptionTold = tellInterruption(c, o.Sink)
	})
}

// recordEnd writes down how the run ended, before anything is printed: nobody may be there to take
// it. Asking for what is not there (commit at every boot, install every hour) is not worth a
// place in the log.
func (f *flipside) recordEnd(err error) {
	r := f.resultOf(f.report(err))
	if r.Code == report.NoDeployment || r.Code == report.Busy {
		f.recorder.Forget()
		return
	}
	r.Text = f.result.Summary()
	line := r.Line(time.Now())
	if len(line) > eventlog.MaxResult {
		line = r.Short().Line(time.Now())
	}
	f.recorder.End(line)
}
