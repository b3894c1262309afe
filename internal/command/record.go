package command

import (
	"os"

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
// because of another one leaves no trace. uri is what it installs, or "".
func (f *flipside) openToWork(c *cli.Context, uri string) (*device.Device, error) {
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
		tellInterruption(c, o.Sink)
	})
}

// recordEnd writes down how the run ended, before anything is printed: nobody may be there to take
// it. Asking for what is not there (commit at every boot, install every hour) is not worth a
// place in the log.
func (f *flipside) recordEnd(c *cli.Context, err error) {
	r := eventlog.Result{Artifact: f.result.Artifact, RebootRequired: f.result.RebootRequired, Lines: f.result.Summary()}
	if err != nil {
		why := report.Of(err, f.result, f.device.ArtifactName())
		lines := why.Lines()
		r.Code, r.Phase, r.Cause, r.Hint, r.Retryable = why.Code, why.Phase, why.Cause, why.Hint, why.Retryable
		r.DeviceState, r.Device = string(why.DeviceState), lines[1]
		r.Lines = append(r.Lines, lines...)
	} else if f.rebootCode(c) {
		r.Code = report.RebootRequired
	}
	if r.Code == report.NoDeployment || r.Code == report.Busy {
		f.recorder.Forget()
		return
	}
	f.recorder.End(r)
}

// rebootCode says whether success is to be told as "reboot now".
func (f *flipside) rebootCode(c *cli.Context) bool {
	return f.result.RebootRequired && c.Bool("reboot-exit-code")
}
